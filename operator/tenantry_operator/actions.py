"""The writes that a plan may ask for. Each is one small, repeatable step: killed after any of them, nothing is lost.

`target` says what an action writes to: the namespace's name, or the Tenant's finalizer.
"""

from dataclasses import dataclass
from typing import Any

from tenantry.resources import Resource
from tenantry_operator.children.child import Child, ChildKey, called

__all__ = [
    "Action",
    "AddFinalizer",
    "ApplyChild",
    "ApplyNamespace",
    "ApplyProject",
    "CreateNamespace",
    "CreateProject",
    "DeleteChild",
    "DeleteNamespace",
    "DeleteProject",
    "ReleaseNamespace",
    "RemoveFinalizer",
]


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Keep the Tenant until its teardown is over. Comes before anything that a teardown would have to undo."""

    target: str = "finalizer"


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the Tenant go."""

    target: str = "finalizer"


@dataclass(frozen=True, slots=True)
class CreateNamespace:
    """Create a namespace with all its labels at once. One that exists is a Conflict, so none is taken by mistake."""

    body: dict[str, Any]

    @property
    def target(self) -> str:
        """The namespace's name."""
        return str(self.body["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class ApplyNamespace:
    """Bring the namespace of that uid to what it should be, or take it over; then `stale` removes what is not wanted.

    In this order, so that a namespace being adopted is ours before its opt-in ends.
    """

    body: dict[str, Any]
    uid: str
    stale: dict[str, Any] | None

    @property
    def target(self) -> str:
        """The namespace's name."""
        return str(self.body["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class ReleaseNamespace:
    """Keep the namespace, take our labels off it and note where it came from."""

    target: str
    patch: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeleteNamespace:
    """Delete the namespace of that uid, after a live read has shown that it is still the tenant's."""

    target: str
    uid: str


@dataclass(frozen=True, slots=True)
class ApplyChild:
    """Bring an object inside a namespace to what it should be.

    `first`: it was not there. Then an object of that name which is not ours is a Conflict, and stays as it is.
    `alone`: an earlier action of the same plan makes its namespace, so nothing of anybody else's can be there.
    """

    child: Child
    first: bool
    alone: bool = False

    @property
    def target(self) -> str:
        """Kind, namespace and name."""
        return called(self.child.key)


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Delete an object of ours that is not wanted any more: the one of that uid, as it was observed."""

    resource: Resource
    key: ChildKey
    uid: str
    resource_version: str

    @property
    def target(self) -> str:
        """Kind, namespace and name."""
        return called(self.key)


@dataclass(frozen=True, slots=True)
class CreateProject:
    """Create an AppProject that allows nothing yet. One that exists is a Conflict, so none is taken by mistake."""

    key: ChildKey
    body: dict[str, Any]

    @property
    def target(self) -> str:
        """Kind, namespace and name."""
        return called(self.key)


@dataclass(frozen=True, slots=True)
class ApplyProject:
    """Bring the AppProject of that uid to what it should be."""

    child: Child
    uid: str

    @property
    def target(self) -> str:
        """Kind, namespace and name."""
        return called(self.child.key)


@dataclass(frozen=True, slots=True)
class DeleteProject:
    """Delete the AppProject of that uid, if no Application in the cluster refers to it; else it is in use."""

    key: ChildKey
    uid: str
    resource_version: str

    @property
    def target(self) -> str:
        """Kind, namespace and name."""
        return called(self.key)


Action = (
    AddFinalizer
    | RemoveFinalizer
    | CreateNamespace
    | ApplyNamespace
    | ReleaseNamespace
    | DeleteNamespace
    | ApplyChild
    | DeleteChild
    | CreateProject
    | ApplyProject
    | DeleteProject
)
