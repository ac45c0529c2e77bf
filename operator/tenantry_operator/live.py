"""A look at the Tenant itself before anything is made, changed or deleted for it.

A cache may be behind by any time, most of all after a start: its first list can come from an API server that is. What
the Tenant asked for then may have been taken back since, or it may be another Tenant of the name by now, or none. Where
nothing is to be done nothing is read, so this costs a settled cluster nothing.
"""

from tenantry.errors import Conflict, NotFound
from tenantry.kube import Kube
from tenantry.resources import TENANTS
from tenantry_operator.actions import Action, AddFinalizer, RemoveFinalizer
from tenantry_operator.entry import Entry

__all__ = ["LiveTenant"]


class LiveTenant:
    """Compares a Tenant as plans see it with what it is; once for each state in which they see it."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._confirmed: tuple[str, int, bool] | None = None

    async def confirm(self, entry: Entry, action: Action) -> None:
        """Raise Conflict unless the Tenant is as `entry` says; the finalizer's writes carry its resourceVersion."""
        if isinstance(action, AddFinalizer | RemoveFinalizer) or self._confirmed == _state(entry):
            return
        try:
            body = await self._kube.get(TENANTS, entry.name)
        except NotFound as error:
            raise Conflict(f"tenant {entry.name} is gone; nothing is done for it any more") from error
        metadata = body["metadata"]
        if _state(entry) != (metadata["uid"], int(metadata["generation"]), "deletionTimestamp" in metadata):
            raise Conflict(f"tenant {entry.name} is no longer as it was seen; nothing is done until its change is known")
        self._confirmed = _state(entry)

    def done(self, entry: Entry, action: Action) -> None:
        """Take in that an action has succeeded: the finalizer was added to the Tenant as it was seen."""
        if isinstance(action, AddFinalizer):
            self._confirmed = _state(entry)


def _state(entry: Entry) -> tuple[str, int, bool]:
    return entry.uid, entry.generation, entry.deleting
