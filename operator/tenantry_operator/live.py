"""A look at what a plan rests on, before anything is made, changed or deleted upon it.

A cache may be behind by any time, most of all after a start: its first list can come from an API server that is. What
the Tenant asked for then may have been taken back since; it may be another Tenant of the name by now, or none. And the
caches are not behind by the same: one that has not heard of a namespace yet, or thinks that it is going, must not cost
it what another has already seen inside. Where nothing is to be done nothing is read, so a settled cluster pays nothing.
"""

from collections.abc import Iterable
from typing import Any, Protocol

from tenantry.errors import Conflict, NotFound
from tenantry.kube import Kube
from tenantry.resources import NAMESPACES, TENANTS
from tenantry_operator.actions import Action, AddFinalizer, ApplyChild, ApplyNamespace, DeleteChild, RemoveFinalizer
from tenantry_operator.children.namespace import Namespace
from tenantry_operator.entry import Entry

__all__ = ["Live"]


_Standing = tuple[str, str | None, bool]
"""A namespace's uid, its owner, and whether it is going."""


class Known(Protocol):
    """What is known of namespaces, and takes in more."""

    def namespace(self, name: str) -> Namespace | None:
        """Return the namespace, None if none is known."""

    def absorb(self, tenant: str, body: dict[str, Any]) -> None:
        """Take in an object that the API server answered with."""


class Live:
    """Compares the Tenant, and the namespaces that it has things in, with what is known of them; each of them once.

    For one look at a Tenant and the few that follow it at once, not for longer.
    """

    def __init__(self, kube: Kube, known: Known) -> None:
        self._kube = kube
        self._known = known
        self._tenant: tuple[str, int, bool] | None = None
        self._namespaces: set[str] = set()
        self._taken: dict[str, _Standing | None] = {}

    def planned(self, actions: Iterable[Action]) -> None:
        """Take in what the actions of a plan rest on; to be called before the caches can have gone on from that."""
        inside = {name for action in actions if (name := _inside(action)) is not None}
        self._taken = {name: _standing(self._known.namespace(name)) for name in inside}

    async def confirm(self, entry: Entry, action: Action) -> None:
        """Raise Conflict unless what `action` rests on is as it is known."""
        if isinstance(action, AddFinalizer | RemoveFinalizer):
            return  # these carry the Tenant's resourceVersion
        if self._tenant != _state(entry):
            await self._confirm_tenant(entry)
        name = _inside(action)
        if name is not None and name not in self._namespaces:
            await self._confirm_namespace(entry, name)

    def done(self, entry: Entry, action: Action) -> None:
        """Take in that an action has succeeded, and so that what it was pinned to is as it is known."""
        if isinstance(action, AddFinalizer):
            self._tenant = _state(entry)
        elif isinstance(action, ApplyNamespace):
            self._namespaces.add(action.target)

    async def _confirm_tenant(self, entry: Entry) -> None:
        try:
            metadata = (await self._kube.get(TENANTS, entry.name))["metadata"]
        except NotFound as error:
            raise Conflict(f"tenant {entry.name} is gone; nothing is done for it any more") from error
        if _state(entry) != (metadata["uid"], metadata["generation"], "deletionTimestamp" in metadata):
            raise Conflict(f"tenant {entry.name} has changed; nothing is done for it until the change is known")
        self._tenant = _state(entry)

    async def _confirm_namespace(self, entry: Entry, name: str) -> None:
        before = self._taken[name]
        try:
            self._known.absorb(entry.name, await self._kube.get(NAMESPACES, name))
        except NotFound as error:
            if before is not None:
                raise Conflict(f"namespace {name} is gone; nothing is done in it") from error
        if _standing(self._known.namespace(name)) != before:
            raise Conflict(f"namespace {name} was not what it was taken for; it is looked at anew")
        self._namespaces.add(name)


def _state(entry: Entry) -> tuple[str, int, bool]:
    return entry.uid, entry.generation, entry.deleting


def _standing(namespace: Namespace | None) -> _Standing | None:
    return None if namespace is None else (namespace.uid, namespace.owner, namespace.terminating)


def _inside(action: Action) -> str | None:
    """Return the namespace in which an action deletes something, or makes what was not there."""
    match action:
        case DeleteChild(key=(_, namespace, _)):
            return namespace
        case ApplyChild(child=child, first=True, alone=False):
            return child.key[1]
    return None
