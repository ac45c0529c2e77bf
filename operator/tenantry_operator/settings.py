"""What the operator can be told: where the API server is, and where to answer probes."""

from collections.abc import Mapping
from dataclasses import dataclass

from tenantry.settings import Environment

__all__ = ["Settings"]

HELP = """\
environment:
  KUBECONFIG     path of a kubeconfig file; in a pod, leave it unset
  TENANTRY_BIND  HOST:PORT that answers GET /healthz (default 0.0.0.0:8080)
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings. `kubeconfig` is None in a pod."""

    kubeconfig: str | None
    bind: tuple[str, int]

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> "Settings":
        """Read the settings; raise SettingsError for the first wrong one."""
        environment = Environment(values)
        return cls(
            kubeconfig=environment.text("KUBECONFIG") or None, bind=environment.bind("TENANTRY_BIND", "0.0.0.0:8080")
        )
