"""Settings come from environment variables, and a wrong one ends the process with one line that says how to mend it."""

from collections.abc import Collection, Mapping
from pathlib import Path

from tenantry.errors import SettingsError
from tenantry.names import is_dns_label

__all__ = ["Environment", "pod_namespace"]

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Environment:
    """Reads typed values out of environment variables; an empty variable counts as unset.

    Every method raises SettingsError, naming the variable, what it held and what it accepts.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        """Return the value as it is."""
        return self._values.get(name) or default

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`."""
        held = self._values.get(name)
        if not held:
            return default
        if not held.isascii() or not held.isdigit() or not low <= int(held) <= high:
            raise SettingsError(name, held, f"a whole number from {low} to {high}")
        return int(held)

    def listing(self, name: str, default: str, *, choices: Collection[str] | None = None) -> tuple[str, ...]:
        """Return a comma-separated list without repetitions; with `choices`, of those words only."""
        held = self.text(name, default)
        words = tuple(dict.fromkeys(word.strip() for word in held.split(",") if word.strip()))
        if choices is not None and (not words or not set(words) <= set(choices)):
            raise SettingsError(name, held, f"one or more of {', '.join(sorted(choices))}, separated by commas")
        return words

    def directory(self, name: str) -> Path | None:
        """Return an existing directory, or None when unset."""
        held = self._values.get(name)
        if not held:
            return None
        if not Path(held).is_dir():
            raise SettingsError(name, held, "the path of an existing directory")
        return Path(held)

    def namespace(self, name: str) -> str | None:
        """Return the name of a namespace, or None when unset."""
        held = self._values.get(name)
        if not held:
            return None
        if not is_dns_label(held):
            raise SettingsError(name, held, "the name of a namespace")
        return held

    def bind(self, name: str, default: str) -> tuple[str, int]:
        """Return (host, port) of a listening address such as `0.0.0.0:4355` or `[::]:4355`."""
        held = self.text(name, default)
        host, _, port = held.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise SettingsError(name, held, "HOST:PORT, for example 0.0.0.0:4355")
        return host.strip("[]"), int(port)


def pod_namespace() -> str | None:
    """Return the namespace of the pod that this process runs in; None outside a pod, or without a ServiceAccount."""
    return _POD_NAMESPACE.read_text().strip() if _POD_NAMESPACE.is_file() else None
