"""What our field manager has written on an object: the only evidence that it is ours, since labels can be copied."""

from collections.abc import Mapping
from typing import Any

from tenantry.names import FIELD_MANAGER

__all__ = ["managed_keys"]


def managed_keys(metadata: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the keys of the labels, and of the annotations, that our field manager owns."""
    labels: set[str] = set()
    annotations: set[str] = set()
    for entry in metadata.get("managedFields") or ():
        if entry.get("manager") != FIELD_MANAGER:
            continue
        fields = (entry.get("fieldsV1") or {}).get("f:metadata") or {}
        for found, field in ((labels, "f:labels"), (annotations, "f:annotations")):
            found.update(key.removeprefix("f:") for key in fields.get(field) or () if key != ".")
    return frozenset(labels), frozenset(annotations)
