"""The corpus of takeover attempts in tests/data/takeovers: reading it, and seeing whether anything was taken.

A file begins with `# expect: WORDS`, which the refusal must contain. Its documents come under headings: `given` is what
others have, `forged by MANAGER` is written over that in the name of a field manager, and `attempt` is what must not
succeed; without headings everything is the attempt. NAME is replaced by a name of the file's own.
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.names import ADOPT_LABEL, is_system_namespace
from tenantry.resources import (
    APP_PROJECTS,
    LIMIT_RANGES,
    NAMESPACES,
    NETWORK_POLICIES,
    RESOURCE_QUOTAS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    TENANT_CLASSES,
    TENANTS,
    Resource,
)

__all__ = ["CHILD_KINDS", "Attempt", "belongings", "may", "read_attempt", "resource_of", "subjects"]

Object = dict[str, Any]
CHILD_KINDS = (RESOURCE_QUOTAS, LIMIT_RANGES, NETWORK_POLICIES, ROLE_BINDINGS, SERVICE_ACCOUNTS)
_CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)
_RESOURCES = {
    each.kind: each for each in (*CHILD_KINDS, APP_PROJECTS, NAMESPACES, TENANTS, TENANT_CLASSES, _CLUSTER_ROLES)
}
_HEADING = re.compile(r"^--- # (given|forged|attempt)(?: by (\S+))?\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One file. `forged`: field manager and object; `attempt`: in the order in which they are created."""

    stem: str
    expect: str
    given: tuple[Object, ...]
    forged: tuple[tuple[str, Object], ...]
    attempt: tuple[Object, ...]

    @property
    def tenants(self) -> tuple[Object, ...]:
        """The Tenants of the attempt."""
        return tuple(body for body in self.attempt if body["kind"] == TENANTS.kind)

    @property
    def victims(self) -> tuple[Object, ...]:
        """Everything that is somebody else's; a namespace that opted in to a Tenant of the attempt is not."""
        names = {body["metadata"]["name"] for body in self.tenants}
        found = (*self.given, *(body for _, body in self.forged))
        return tuple(body for body in found if not _handed_over(body, names))


def read_attempt(path: Path, name: str) -> Attempt:
    """Return what a file says, with `name` for NAME.

    A Tenant of the attempt takes its namespaces along when it is deleted, unless one was handed over to it or it says
    otherwise.
    """
    first, _, text = path.read_text().replace("NAME", name).partition("\n")
    given: list[Object] = []
    forged: list[tuple[str, Object]] = []
    attempt: list[Object] = []
    before, *parts = _HEADING.split(text)
    sections = list(zip(parts[::3], parts[1::3], parts[2::3], strict=True)) or [("attempt", None, before)]
    for heading, manager, documents in sections:
        for body in yaml.safe_load_all(documents):
            if heading == "attempt":
                if body["kind"] == TENANTS.kind:
                    handed_over = any(_handed_over(other, {body["metadata"].get("name", "")}) for other in given)
                    policy = "Orphan" if handed_over else "Delete"
                    body["spec"] = {"deletionPolicy": policy, **body.get("spec", {})}
                attempt.append(body)
            elif heading == "forged":
                forged.append((manager, body))
            else:
                given.append(body)
    return Attempt(path.stem, first.removeprefix("# expect: "), tuple(given), tuple(forged), tuple(attempt))


def resource_of(body: Object) -> Resource:
    """Return the Resource of an object of the corpus."""
    return _RESOURCES[body["kind"]]


async def belongings(kube: Kube, attempt: Attempt) -> dict[str, Object]:
    """Return what others have, by kind, namespace and name, as far as a takeover would change it.

    That is what is given, what given Tenants have by now, and everything of the kinds that Tenantry makes in any of
    these namespaces.
    """
    bodies = [body for body in attempt.victims if body["kind"] not in (TENANTS.kind, TENANT_CLASSES.kind)]
    found = [await _read(kube, body) for body in bodies]
    for tenant in (body for body in attempt.given if body["kind"] == TENANTS.kind):
        label = f"tenantry.dev/tenant={tenant['metadata']['name']}"
        forged = {body["metadata"]["name"] for body in attempt.attempt}
        for resource in (NAMESPACES, APP_PROJECTS):
            items = (await kube.list(resource, label_selector=label))["items"]
            found += [{**item, "kind": resource.kind} for item in items if item["metadata"]["name"] not in forged]
    for namespace in [body["metadata"]["name"] for body in found if body["kind"] == NAMESPACES.kind]:
        lists = await asyncio.gather(*(kube.list(resource, namespace) for resource in CHILD_KINDS))
        for resource, listed in zip(CHILD_KINDS, lists, strict=True):
            found += [{**item, "kind": resource.kind} for item in listed["items"] if not _of_the_cluster(item)]
    return {_called(body): _essence(body) for body in found}


def subjects(attempt: Attempt) -> Iterable[dict[str, Any]]:
    """Yield every RBAC subject that the attempt names."""
    for body in attempt.attempt:
        spec = body.get("spec", {})
        spec = spec.get("defaults", spec)
        yield from spec.get("owners", ())
        for binding in spec.get("additionalRoleBindings", ()):
            yield from binding["subjects"]


async def may(kube: Kube, subject: dict[str, Any], namespace: str) -> bool:
    """Whether an RBAC subject may read the Secrets of a namespace, or see what runs in it."""
    if subject["kind"] == "ServiceAccount":
        who: dict[str, Any] = {"user": f"system:serviceaccount:{subject['namespace']}:{subject['name']}"}
    else:
        who = (
            {"user": "nobody", "groups": [subject["name"]]} if subject["kind"] == "Group" else {"user": subject["name"]}
        )
    for kind in ("secrets", "pods"):
        attributes = {"namespace": namespace, "verb": "list", "resource": kind}
        review = await kube.create(_REVIEWS, {"spec": {**who, "resourceAttributes": attributes}})
        if review["status"]["allowed"]:
            return True
    return False


async def _read(kube: Kube, body: Object) -> Object:
    metadata = body["metadata"]
    try:
        return await kube.get(resource_of(body), metadata["name"], metadata.get("namespace"))
    except NotFound:
        return {**body, "metadata": {**metadata, "uid": "it is gone"}}


def _handed_over(body: Object, tenants: set[str]) -> bool:
    metadata = body["metadata"]
    opted_in = (metadata.get("labels") or {}).get(ADOPT_LABEL) in tenants
    return opted_in and body["kind"] == NAMESPACES.kind and not is_system_namespace(metadata["name"])


def _of_the_cluster(item: Object) -> bool:
    # A controller of Kubernetes makes it in every namespace, at a time of its own.
    return bool(item["metadata"]["name"] == "default")


def _called(body: Object) -> str:
    metadata = body["metadata"]
    return f"{body['kind']} {metadata.get('namespace', '')}/{metadata['name']}"


def _essence(body: Object) -> Object:
    metadata = {
        key: value
        for key, value in body["metadata"].items()
        if key in ("uid", "labels", "annotations", "ownerReferences", "deletionTimestamp")
    }
    # The operator ends an opt-in on a namespace that already has its tenant.
    labels = {key: value for key, value in metadata.pop("labels", {}).items() if key != ADOPT_LABEL}
    rest = {key: value for key, value in body.items() if key not in ("metadata", "status", "apiVersion")}
    return {**rest, "metadata": {**metadata, "labels": labels}}
