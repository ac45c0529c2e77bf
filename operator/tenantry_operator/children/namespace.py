"""A tenant's namespaces.

A namespace is claimed by a label, never by an ownerReference: re-creating the CRD would give every Tenant a new uid,
and the garbage collector would then delete every namespace (projectcapsule/capsule#1181). And since labels can be
written by many, only one that our field manager wrote counts, and a namespace that Tenantry did not create is left
alone until its owner opts in.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenantry.names import (
    ADOPT_LABEL,
    FIELD_MANAGER,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    ORPHANED_FROM_LABEL,
    TENANT_LABEL,
    is_dns_label,
    is_system_namespace,
)

__all__ = ["Claim", "Namespace", "agrees", "build", "claim", "observe", "release_patch", "stale_patch"]

_IDENTITY = (TENANT_LABEL, MANAGED_BY_LABEL)


@dataclass(frozen=True, slots=True)
class Namespace:
    """What is kept of a namespace in the cluster. `managed_*`: the keys that our field manager owns."""

    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    managed_labels: frozenset[str]
    managed_annotations: frozenset[str]
    terminating: bool

    @property
    def owner(self) -> str | None:
        """The tenant that has this namespace, None when Tenantry did not give it to one.

        The label counts only where our own field manager wrote it: one that was copied or typed in must not get a
        namespace released or deleted. On a system namespace it never counts.
        """
        if TENANT_LABEL not in self.managed_labels or is_system_namespace(self.name):
            return None
        return self.labels.get(TENANT_LABEL)

    @property
    def stray(self) -> bool:
        """Whether this is one of ours whose tenant label somebody else has changed or taken off."""
        return MANAGED_BY_LABEL in self.managed_labels and self.owner is None


class Claim(enum.Enum):
    """What a tenant may do about a namespace of the name that it wants."""

    CREATE = "create"
    KEEP = "keep"
    ADOPT = "adopt"
    REFUSED = "refused"


def observe(body: dict[str, Any]) -> Namespace:
    """Return what to keep of a Namespace object."""
    metadata = body["metadata"]
    labels, annotations = _managed(metadata.get("managedFields") or ())
    return Namespace(
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        managed_labels=labels,
        managed_annotations=annotations,
        terminating="deletionTimestamp" in metadata,
    )


def build(tenant: str, name: str, *, labels: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, Any]:
    """Return the body that a tenant's namespace should have."""
    identity = {TENANT_LABEL: tenant, MANAGED_BY_LABEL: MANAGED_BY}
    return {"metadata": {"name": name, "labels": {**labels, **identity}, "annotations": dict(annotations)}}


def claim(tenant: str, name: str, present: Namespace | None) -> tuple[Claim, str]:
    """Decide what `tenant` may do about the namespace `name`, and why if it is refused."""
    if is_system_namespace(name):
        return Claim.REFUSED, "it is a system namespace, which no Tenant can have"
    if not is_dns_label(name):
        return Claim.REFUSED, "its name is longer than 63 characters; shorten the entry of spec.namespaces.items"
    if present is None:
        return Claim.CREATE, ""
    if present.owner == tenant or present.stray:
        return Claim.KEEP, ""
    if present.owner is not None:
        return Claim.REFUSED, f"it belongs to the tenant {present.owner}"
    if present.labels.get(ADOPT_LABEL) == tenant:
        return Claim.ADOPT, ""
    origin = present.labels.get(ORPHANED_FROM_LABEL)
    why = f"it was left behind by the deleted tenant {origin}" if origin else "it exists and is not Tenantry's"
    return Claim.REFUSED, f"{why}; to hand it over, label it {ADOPT_LABEL}={tenant}"


def stale_patch(present: Namespace, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the merge patch that removes what we once set and no longer want, None when there is nothing.

    Server-side apply alone would leave them: the create call that made the namespace owns them too. An opt-in to
    adoption ends as well, or it would hand the namespace over again after it was released.
    """
    metadata = body["metadata"]
    ours = present.managed_labels | {ADOPT_LABEL, ORPHANED_FROM_LABEL}
    labels = (ours & set(present.labels)) - set(metadata["labels"])
    annotations = (present.managed_annotations & set(present.annotations)) - set(metadata["annotations"])
    if not labels and not annotations:
        return None
    return _patch(present, dict.fromkeys(sorted(labels)), dict.fromkeys(sorted(annotations)))


def agrees(present: Namespace, body: Mapping[str, Any]) -> bool:
    """Whether the namespace holds everything that `body` wants; what others have put on it does not matter."""
    metadata = body["metadata"]
    return (
        metadata["labels"].items() <= present.labels.items()
        and metadata["annotations"].items() <= present.annotations.items()
        and stale_patch(present, body) is None
    )


def release_patch(tenant: str, present: Namespace) -> dict[str, Any]:
    """Return the merge patch that lets go of a namespace: our labels and annotations off, its origin noted."""
    labels: dict[str, str | None] = dict.fromkeys(
        sorted((present.managed_labels | set(_IDENTITY)) & set(present.labels))
    )
    labels[ORPHANED_FROM_LABEL] = tenant
    annotations = sorted(present.managed_annotations & set(present.annotations))
    return _patch(present, labels, dict.fromkeys(annotations))


def _patch(
    present: Namespace, labels: Mapping[str, str | None], annotations: Mapping[str, str | None]
) -> dict[str, Any]:
    # With the uid the server refuses to patch a namespace that was deleted and re-created since it was observed.
    return {"metadata": {"uid": present.uid, "labels": dict(labels), "annotations": dict(annotations)}}


def _managed(entries: Any) -> tuple[frozenset[str], frozenset[str]]:
    labels: set[str] = set()
    annotations: set[str] = set()
    for entry in entries:
        if entry.get("manager") != FIELD_MANAGER:
            continue
        metadata = (entry.get("fieldsV1") or {}).get("f:metadata") or {}
        for found, field in ((labels, "f:labels"), (annotations, "f:annotations")):
            found.update(key.removeprefix("f:") for key in metadata.get(field) or () if key != ".")
    # The server adds this one to every namespace, in the name of whoever creates it.
    labels.discard("kubernetes.io/metadata.name")
    return frozenset(labels), frozenset(annotations)
