"""What a tenant has inside its namespaces, of whatever kind, treated alike: quotas, limits, policies, bindings.

A child is in sync when it carries the digest of what is wanted now and still holds all of it. The digest tells when the
wish has changed, also while the operator was away; the comparison tells when somebody else has changed the child. What
others add to a child is theirs.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenantry.jsontext import dump_json, load_json, to_keep
from tenantry.names import DIGEST_ANNOTATION, TENANT_LABEL
from tenantry.resources import Resource
from tenantry_operator.children.managed import identity_labels, managed_keys

__all__ = ["Child", "ChildKey", "Present", "agrees", "called", "complete", "observe"]

ChildKey = tuple[str, str, str]
"""(kind, namespace, name)"""


def called(key: ChildKey) -> str:
    """Return what messages call it: kind, namespace and name."""
    return "{} {}/{}".format(*key)


@dataclass(frozen=True, slots=True)
class Child:
    """An object as it should be; `body` is all that our field manager applies."""

    resource: Resource
    body: dict[str, Any]
    digest: str

    @property
    def key(self) -> ChildKey:
        """What tells this child from every other."""
        metadata = self.body["metadata"]
        return self.resource.kind, metadata["namespace"], metadata["name"]


@dataclass(frozen=True, slots=True)
class Present:
    """What is kept of an object in the cluster; `content` is the JSON of what can be compared."""

    resource: Resource
    uid: str
    resource_version: str = field(compare=False)
    owner: str | None
    digest: str
    content: bytes
    terminating: bool
    used: bytes = b""
    """The JSON of `status.used`, which a ResourceQuota has once it was counted; never compared with a wish."""


def complete(tenant: str, resource: Resource, body: Mapping[str, Any]) -> Child:
    """Return the child for a built body: with the tenant's labels and the digest of the whole."""
    metadata = body["metadata"]
    labels = {**metadata.get("labels", {}), **identity_labels(tenant)}
    whole = {**body, "metadata": {**metadata, "labels": labels}}
    digest = hashlib.sha256(dump_json(whole, sort_keys=True)).hexdigest()[:16]
    annotations = {**metadata.get("annotations", {}), DIGEST_ANNOTATION: digest}
    return Child(resource, {**whole, "metadata": {**whole["metadata"], "annotations": annotations}}, digest)


def observe(resource: Resource, body: Mapping[str, Any]) -> Present:
    """Return what to keep of an object of that kind that carries our managed-by label."""
    metadata = body["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    ours, _ = managed_keys(metadata)
    used = (body.get("status") or {}).get("used")
    rest = {key: value for key, value in body.items() if key not in ("metadata", "status", "kind", "apiVersion")}
    return Present(
        resource=resource,
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        owner=labels.get(TENANT_LABEL) if TENANT_LABEL in ours else None,
        digest=annotations.get(DIGEST_ANNOTATION, ""),
        content=to_keep(dump_json({**rest, "metadata": {"labels": labels, "annotations": annotations}})),
        terminating="deletionTimestamp" in metadata,
        used=to_keep(dump_json(used, sort_keys=True)) if used else b"",
    )


def agrees(child: Child, present: Present) -> bool:
    """Whether the object is what the child should be."""
    if present.digest != child.digest:
        return False
    found = load_json(present.content)
    return _contains(
        {key: value for key, value in child.body.items() if key not in ("metadata", "kind", "apiVersion")}, found
    ) and _contains({key: child.body["metadata"][key] for key in ("labels", "annotations")}, found["metadata"])


def _contains(wanted: Any, found: Any) -> bool:
    if wanted == found:
        return True
    if isinstance(wanted, Mapping):
        # The API server drops what is empty, and fills in what is left out.
        return isinstance(found, Mapping) and all(
            _contains(value, found[key]) if key in found else value in (None, {}, []) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and len(wanted) == len(found) and all(map(_contains, wanted, found))
    return False
