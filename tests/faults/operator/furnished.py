"""A Tenant with one of everything that the operator makes, and others' marks and objects beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenantry.names import DIGEST_ANNOTATION
from tenantry.resources import CONFIG_MAPS, NETWORK_POLICIES, ROLE_BINDINGS, SERVICE_ACCOUNTS, TENANTS, Resource
from tests.faults.inputs.arena import Arena
from tests.faults.inputs.subject import Objects, Subject, state_of
from tests.faults.operator.canonical import State, renamed
from tests.faults.operator.observer import KINDS, Key

__all__ = ["EVERYTHING", "SOMEBODY", "THEIRS", "Furnished", "called_of", "exact_state", "foreign_versions", "furnish"]

EVERYTHING: dict[str, Any] = {
    "tenantClassName": "faults-red",
    "displayName": "All",
    "namespaces": {
        "items": [{"name": "a", "labels": {"team": "one"}, "annotations": {"note": "one"}}],
        "metadata": {"labels": {"tier": "gold"}},
        "podSecurity": {"enforce": "baseline", "warn": "restricted"},
    },
    "owners": [{"kind": "User", "name": "jane", "role": "owner"}, {"kind": "Group", "name": "team", "role": "viewer"}],
    "resourceQuotas": {"hard": {"pods": 20, "requests.cpu": "1500m"}},
    "limitRanges": {"items": [{"name": "small", "limits": [{"type": "Container", "default": {"cpu": "500m"}}]}]},
    "networkPolicies": {
        "isolation": "Tenant",
        "items": [
            {
                "name": "web",
                "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"ports": [{"port": 80}]}]},
            }
        ],
    },
    "additionalRoleBindings": [
        {"name": "ci", "clusterRoleName": "edit", "subjects": [{"kind": "User", "name": "robot"}]}
    ],
    "argocd": {
        "enabled": True,
        "impersonation": True,
        "project": {
            "sourceRepos": ["https://git.example.com/NAME"],
            "clusterResourceWhitelist": [{"group": "", "kind": "Namespace"}],
            "syncWindows": [{"kind": "allow", "schedule": "0 8 * * *", "duration": "8h", "applications": ["*"]}],
        },
    },
}
SOMEBODY = "somebody"
THEIRS = "theirs"
_RESOURCES = {resource.kind: resource for resource in KINDS}
_FOREIGN: tuple[tuple[Resource, dict[str, Any]], ...] = (
    (CONFIG_MAPS, {"data": {"key": "value"}}),
    (NETWORK_POLICIES, {"spec": {"podSelector": {"matchLabels": {"app": "theirs"}}}}),
    (SERVICE_ACCOUNTS, {}),
    (
        ROLE_BINDINGS,
        {
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "guest"}],
        },
    ),
)


@dataclass(frozen=True, slots=True)
class Furnished:
    """A Tenant with everything, on whose objects others have marks, and with their own objects beside them."""

    subject: Subject
    objects: Objects
    state: State
    foreign: Mapping[str, str]
    """The resourceVersions of others' objects."""


async def furnish(parts: Arena) -> Furnished:
    """Make such a Tenant."""
    subject = parts.subject()
    objects = await subject.become(EVERYTHING)
    for kind, namespace, name in objects:
        marks = {"metadata": {"labels": {THEIRS: "kept"}, "annotations": {THEIRS: "kept"}}}
        if kind != TENANTS.kind:
            await parts.kube.merge_patch(_RESOURCES[kind], name, marks, namespace or None, field_manager=SOMEBODY)
    for resource, body in _FOREIGN:
        await parts.kube.create(resource, {"metadata": {"name": THEIRS}, **body}, f"{subject.name}-a")
    objects = await subject.read()
    return Furnished(subject, objects, exact_state(objects, subject), await foreign_versions(parts, subject))


def exact_state(objects: Objects, subject: Subject) -> State:
    """Return the state with the digests, the generations that were observed, and what is being deleted."""
    more: dict[str, Any] = {}
    for key, body in objects.items():
        called = called_of(key, subject)
        more[f"digest of {called}"] = body["metadata"].get("annotations", {}).get(DIGEST_ANNOTATION)
        more[f"{called} is leaving"] = "deletionTimestamp" in body["metadata"]
        if key[0] == TENANTS.kind:
            status = body.get("status", {})
            of_all = [status, *status.get("conditions", ())]
            more["observed generations"] = [each.get("observedGeneration") for each in of_all]
    return {**state_of(objects, subject.name), **more}


async def foreign_versions(parts: Arena, subject: Subject) -> Mapping[str, str]:
    """Return the resourceVersion of each object that others have in the tenant's namespace."""
    found = {}
    for resource, _ in _FOREIGN:
        body = await parts.kube.get(resource, THEIRS, f"{subject.name}-a")
        found[resource.kind] = str(body["metadata"]["resourceVersion"])
    return found


def called_of(key: Key, subject: Subject) -> str:
    """Return what the object is called in every run."""
    kind, _, name = key
    return f"{kind}/{renamed(name, subject.name)}"
