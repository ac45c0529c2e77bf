"""What our field manager has written on an object: the only evidence that it is ours, since labels can be copied."""

from collections.abc import Mapping
from typing import Any

from tenantry.names import FIELD_MANAGER

__all__ = ["is_ours", "managed_keys"]


def is_ours(metadata: Mapping[str, Any]) -> bool:
    """Whether our field manager has written any of the object."""
    return any(entry.get("manager") == FIELD_MANAGER for entry in metadata.get("managedFields") or ())


def managed_keys(metadata: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the keys of the labels, and of the annotations, that our field manager owns."""
    labels: set[str] = set()
    annotations: set[str] = set()
    for entry in metadata.get("managedFields") or ():
        # A subresource has rights of its own, and nothing of ours is written through one.
        if entry.get("manager") != FIELD_MANAGER or entry.get("subresource"):
            continue
        fields = (entry.get("fieldsV1") or {}).get("f:metadata") or {}
        for found, field in ((labels, "f:labels"), (annotations, "f:annotations")):
            found.update(key.removeprefix("f:") for key in fields.get(field) or () if key != ".")
    return frozenset(labels), frozenset(annotations)
