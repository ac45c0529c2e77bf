"""What the operator remembers of each Tenant: the JSON that a look depends on, as bytes, which each look reads anew.

A Tenant that is settled is looked at every ten minutes. A model of it, kept for all that time, would take many times
the memory of its JSON, and the collector of garbage would walk through it over and over.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenantry.errors import InvalidTenant
from tenantry.jsontext import dump_json, load_json, to_keep
from tenantry.model import Tenant, parse_tenant

__all__ = ["Entry", "Kept", "entry_of", "keep", "recall"]

_METADATA = ("name", "uid", "resourceVersion", "generation", "deletionTimestamp", "finalizers")
_REFUSAL = "refusal"
_UNKNOWN = "Unknown"


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


@dataclass(frozen=True, slots=True)
class Kept:
    """A Tenant until it is looked at. `phase` and `ready` are its status', to be counted; Unknown before it has one."""

    json: bytes
    phase: str
    ready: str


def entry_of(body: Mapping[str, Any]) -> Entry:
    """Return what a look needs to know of a Tenant object."""
    metadata = body["metadata"]
    tenant, refusal = None, body.get(_REFUSAL, "")
    if not refusal:
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


def keep(body: Mapping[str, Any]) -> Kept:
    """Return what to remember of a Tenant object until it is looked at."""
    status = body.get("status") or {}
    ready = next((each["status"] for each in status.get("conditions") or () if each["type"] == "Ready"), _UNKNOWN)
    return Kept(_json(body), sys.intern(str(status.get("phase") or _UNKNOWN)), sys.intern(str(ready)))


def recall(kept: Kept) -> Entry:
    """Return the Tenant that was kept."""
    return entry_of(load_json(kept.json))


def _json(body: Mapping[str, Any]) -> bytes:
    metadata = {key: body["metadata"][key] for key in _METADATA if key in body["metadata"]}
    kept = {"metadata": metadata, "spec": body.get("spec") or {}, "status": body.get("status") or {}}
    try:
        return to_keep(dump_json(kept))
    except TypeError as error:
        # Only what the model refuses as well can be read and not be written: free-form JSON of a thousand levels.
        refusal = entry_of(body).refusal or f'Tenant "{metadata["name"]}" can\'t be used: {error}'
        return to_keep(dump_json({**kept, "spec": {}, _REFUSAL: refusal}))
