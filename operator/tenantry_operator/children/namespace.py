"""A tenant's namespaces.

A namespace is claimed by a label, never by an ownerReference: re-creating the CRD would give every Tenant a new uid,
and the garbage collector would then delete every namespace (projectcapsule/capsule#1181). And since labels can be
written by many, only one that our field manager wrote counts, and a namespace that Tenantry did not create is left
alone until its owner opts in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenantry.names import (
    ADOPT_LABEL,
    ARGOCD_NAMESPACE,
    ENTRY_ANNOTATION,
    ORPHANED_FROM_LABEL,
    TENANT_LABEL,
    is_dns_label,
    is_system_namespace,
)
from tenantry_operator.children.managed import identity_labels, managed_keys

__all__ = ["Namespace", "agrees", "build", "observe", "refusal", "release_patch", "stale_patch"]


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
    system: bool = False

    @property
    def owner(self) -> str | None:
        """The tenant that has this namespace, None when Tenantry did not give it to one.

        The label counts only where our own field manager wrote it: one that was copied or typed in must not get a
        namespace released or deleted. On a system namespace it never counts.
        """
        if TENANT_LABEL not in self.managed_labels or self.system:
            return None
        return self.labels.get(TENANT_LABEL)

    @property
    def entry(self) -> str | None:
        """The entry that its tenant lists it under; None when that tenant has never listed it.

        Like the tenant's label it counts only where our field manager wrote it. It is what a deletion depends on, so
        losing it keeps a namespace.
        """
        tenant, entry = self._noted
        return entry if tenant == self.owner else None

    @property
    def stray_of(self) -> str | None:
        """The tenant that this one was given to when somebody else has changed or taken off its label; None if not.

        Whoever changes the label may change both; and no other tenant that wants the name may have it for that.
        """
        return self._noted[0] if self.owner is None else None

    @property
    def _noted(self) -> tuple[str | None, str | None]:
        if ENTRY_ANNOTATION not in self.managed_annotations or self.system:
            return None, None
        tenant, _, entry = self.annotations.get(ENTRY_ANNOTATION, "").partition("/")
        return tenant or None, entry


def observe(body: dict[str, Any], argocd: str = ARGOCD_NAMESPACE) -> Namespace:
    """Return what to keep of a Namespace object. `argocd`: where Argo CD is."""
    metadata = body["metadata"]
    labels, annotations = managed_keys(metadata)
    return Namespace(
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        # The server adds this one to every namespace, in the name of whoever creates it.
        managed_labels=labels - {"kubernetes.io/metadata.name"},
        managed_annotations=annotations,
        terminating="deletionTimestamp" in metadata,
        system=is_system_namespace(metadata["name"], argocd),
    )


def build(
    tenant: str, name: str, *, labels: Mapping[str, str], annotations: Mapping[str, str], entry: str | None = None
) -> dict[str, Any]:
    """Return the body that a tenant's namespace should have. `entry`: None when the tenant doesn't list it."""
    noted = {} if entry is None else {ENTRY_ANNOTATION: f"{tenant}/{entry}"}
    whole = {**labels, **identity_labels(tenant)}
    return {"metadata": {"name": name, "labels": whole, "annotations": {**annotations, **noted}}}


def refusal(tenant: str, name: str, present: Namespace | None, argocd: str = ARGOCD_NAMESPACE) -> str:
    """Return why `tenant` may not have the namespace `name`, and what would change that; "" if it may."""
    if is_system_namespace(name, argocd):
        return "it is a system namespace, which no Tenant can have"
    if not is_dns_label(name):
        return "its name is longer than 63 characters; shorten the entry of spec.namespaces.items"
    if present is None or tenant in (present.owner, present.stray_of):
        return ""
    if present.owner is not None:
        return f"it belongs to the tenant {present.owner}"
    if present.stray_of is not None:
        return f"it belongs to the tenant {present.stray_of}, although somebody has changed its labels"
    if present.labels.get(ADOPT_LABEL) == tenant:
        return ""
    origin = present.labels.get(ORPHANED_FROM_LABEL)
    why = f"it was left behind by the deleted tenant {origin}" if origin else "it exists and is not Tenantry's"
    return f"{why}; to hand it over, label it {ADOPT_LABEL}={tenant}"


def stale_patch(present: Namespace, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the merge patch that removes what we once set and no longer want, None when there is nothing.

    Server-side apply alone would leave them: the create call that made the namespace owns them too. An opt-in to
    adoption ends as well, or it would hand the namespace over again after it was released. Only where no entry lists
    the namespace it stays: taking it off is how the namespace's owner ends it.
    """
    metadata = body["metadata"]
    opt_in = {ADOPT_LABEL} if ENTRY_ANNOTATION in metadata["annotations"] else set()
    ours = present.managed_labels | {ORPHANED_FROM_LABEL} | opt_in
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
    # Another tenant's name in the opt-in hands the namespace on.
    opt_in = {ADOPT_LABEL} if present.labels.get(ADOPT_LABEL) == tenant else set()
    labels: dict[str, str | None] = dict.fromkeys(
        sorted((present.managed_labels | set(identity_labels(tenant)) | opt_in) & set(present.labels))
    )
    labels[ORPHANED_FROM_LABEL] = tenant
    annotations = sorted(present.managed_annotations & set(present.annotations))
    patch = _patch(present, labels, dict.fromkeys(annotations))
    # And with the resourceVersion it refuses what was let go and handed over again meanwhile.
    return {"metadata": {**patch["metadata"], "resourceVersion": present.resource_version}}


def _patch(
    present: Namespace, labels: Mapping[str, str | None], annotations: Mapping[str, str | None]
) -> dict[str, Any]:
    # With the uid the server refuses to patch a namespace that was deleted and re-created since it was observed.
    return {"metadata": {"uid": present.uid, "labels": dict(labels), "annotations": dict(annotations)}}
