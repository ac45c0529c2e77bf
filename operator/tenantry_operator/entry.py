"""What the operator remembers of each Tenant, and where it is kept.

kopf delivers the events; it does not say what was deleted while a watch was away, so the store also takes a whole list
now and then (`replace`), which finds those.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tenantry.errors import InvalidTenant
from tenantry.model import Tenant, parse_tenant

__all__ = ["Entry", "TenantStore", "entry_of"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One Tenant object. `tenant` is None when the model refuses it, and `refusal` says why."""

    name: str
    uid: str
    version: int
    generation: int
    deleting: bool
    finalizers: tuple[str, ...]
    status: Mapping[str, Any]
    tenant: Tenant | None
    refusal: str = ""


def entry_of(body: Mapping[str, Any]) -> Entry:
    """Return what to remember of a Tenant object."""
    metadata = body["metadata"]
    tenant, refusal = None, ""
    try:
        tenant = parse_tenant(body)
    except InvalidTenant as error:
        refusal = str(error)
    return Entry(
        name=metadata["name"],
        uid=metadata["uid"],
        version=int(metadata["resourceVersion"]),
        generation=int(metadata.get("generation") or 0),
        deleting="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers") or ()),
        status=body.get("status") or {},
        tenant=tenant,
        refusal=refusal,
    )


class TenantStore:
    """The Tenants by name, each in the newest version that was seen."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def get(self, name: str) -> Entry | None:
        """Return the Tenant, None when there is none."""
        return self._entries.get(name)

    def names(self) -> Iterable[str]:
        """Return the names of all Tenants."""
        return self._entries.keys()

    def phases(self) -> Mapping[str, int]:
        """Return how many Tenants are in each phase; `Unknown`: not looked at yet."""
        return Counter(str(entry.status.get("phase") or "Unknown") for entry in self._entries.values())

    def ready(self) -> Mapping[str, int]:
        """Return how many Tenants have each status of the condition Ready."""
        return Counter(_ready(entry.status) for entry in self._entries.values())

    def put(self, body: Mapping[str, Any]) -> bool:
        """Take in a version of a Tenant; return whether it is newer than what was there."""
        metadata = body["metadata"]
        present = self._entries.get(metadata["name"])
        if present is not None and present.version >= int(metadata["resourceVersion"]):
            return False
        self._entries[metadata["name"]] = entry_of(body)
        return True

    def drop(self, name: str, uid: str) -> None:
        """Forget a Tenant that is gone; one that was re-created under its name stays."""
        present = self._entries.get(name)
        if present is not None and present.uid == uid:
            del self._entries[name]

    def replace(self, bodies: Iterable[Mapping[str, Any]], version: int) -> list[str]:
        """Take in a whole list read at `version`; return the names that are gone."""
        present = set()
        for body in bodies:
            present.add(body["metadata"]["name"])
            self.put(body)
        gone = [name for name, entry in self._entries.items() if name not in present and entry.version <= version]
        for name in gone:
            del self._entries[name]
        return gone


def _ready(status: Mapping[str, Any]) -> str:
    conditions = status.get("conditions") or ()
    return next((str(each["status"]) for each in conditions if each.get("type") == "Ready"), "Unknown")
