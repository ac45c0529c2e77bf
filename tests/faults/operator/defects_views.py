"""Mistakes in how the operator takes in what it sees, for tests/faults/mutant.py."""

from typing import Any

from tenantry.kube import Kube
from tenantry.reflector import Reflector
from tenantry.resources import NAMESPACES
from tenantry_operator import execute
from tenantry_operator.live import Live

__all__ = ["deletes_unseen", "keeps_what_lists_lack", "lists_once", "trusts_namespaces", "trusts_silence"]

_NEVER = 1e6


def deletes_unseen() -> None:
    """Delete a namespace by its name, without another look at it or at the Tenant."""

    async def delete(kube: Any, entry: Any, action: Any, memory: Any) -> None:
        await kube.delete(NAMESPACES, action.target)

    async def confirm(self: Any, entry: Any, action: Any) -> None: ...

    _replace(execute, "_delete", delete)
    _replace(Live, "confirm", confirm)


def trusts_namespaces() -> None:
    """Delete what is in a namespace without a look at that."""

    async def confirm(self: Any, entry: Any, name: str) -> None: ...

    _replace(Live, "_confirm_namespace", confirm)


def lists_once() -> None:
    """Never list anything a second time while its watches go well."""
    listed = Reflector._list

    async def list_once(self: Any) -> None:
        await listed(self)
        self._list_due += _NEVER

    _replace(Reflector, "_list", list_once)


def keeps_what_lists_lack() -> None:
    """Take from a list what is new in it, and keep what it lacks."""

    def replace(self: Any, found: Any, seen: int) -> None:
        for key, (version, item) in found.items():
            if item is not None and version > self._versions.get(key, -1):
                self._put(key, version, item)
        self._seen = seen

    _replace(Reflector, "_replace", replace)


def trusts_silence() -> None:
    """Wait for ever for the next byte of a watch."""
    watch = Kube.watch

    def patient(self: Any, *arguments: Any, **named: Any) -> Any:
        return watch(self, *arguments, **{**named, "silence": 3600.0})

    _replace(Kube, "watch", patient)


def _replace(place: Any, name: str, function: Any) -> None:
    setattr(place, name, function)
