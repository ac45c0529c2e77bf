"""Who may do what in a tenant's namespaces, as RoleBindings.

A subject that the cluster itself relies on, or that lives in somebody else's namespace, would be a way around every
other rule; so what the schema refuses is refused here once more, for objects that are older than the schema, along with
what only the resolved tenant can tell.
"""

from collections.abc import Collection
from typing import Any

from tenantry.classes import EffectiveSpec
from tenantry.model import Owner, OwnerRole
from tenantry.policies import RoleBinding, Subject, SubjectKind
from tenantry.resources import ROLE_BINDINGS

__all__ = ["CLUSTER_ROLES", "build", "refusals"]

CLUSTER_ROLES = {OwnerRole.OWNER: "admin", OwnerRole.EDITOR: "edit", OwnerRole.VIEWER: "view"}
"""The ClusterRole that each role of an owner has within the tenant's namespaces."""

_GROUP = "rbac.authorization.k8s.io"


def refusals(owners: Collection[Owner], spec: EffectiveSpec, own: Collection[str]) -> list[str]:
    """Return a sentence for each subject and ClusterRole that gets no binding. `own`: the tenant's namespaces."""
    found = [_refusal(_subject(owner), f"owners: {_called(_subject(owner))}", own) for owner in owners]
    for binding in spec.role_bindings:
        where = f"additionalRoleBindings {binding.name}"
        if not _may_be_bound(binding):
            found.append(
                f"{where}: the ClusterRole {binding.cluster_role_name} is the cluster's own and is not bound for a "
                "tenant; name another"
            )
        found += [_refusal(subject, f"{where}: {_called(subject)}", own) for subject in binding.subjects]
    return [sentence for sentence in found if sentence]


def build(
    owners: Collection[Owner], spec: EffectiveSpec, *, namespace: str, own: Collection[str]
) -> list[dict[str, Any]]:
    """Return the RoleBindings of one namespace, without what `refusals` names.

    They are called `tenantry-owner`, `tenantry-editor`, `tenantry-viewer`, and `tenantry-NAME:CLUSTERROLE` for each
    further one: a RoleBinding can't change its role, so another role is another binding.
    """
    bodies = []
    for role, cluster_role in CLUSTER_ROLES.items():
        subjects = [_subject(owner) for owner in owners if owner.role is role]
        bodies.append(_body(f"tenantry-{role.value}", namespace, cluster_role, _accepted(subjects, own)))
    for binding in spec.role_bindings:
        if _may_be_bound(binding):
            name = f"tenantry-{binding.name}:{binding.cluster_role_name}"
            accepted = _accepted(binding.subjects, own)
            bodies.append(_body(name, namespace, binding.cluster_role_name, accepted))
    return [body for body in bodies if body["subjects"]]


def _accepted(subjects: Collection[Subject], own: Collection[str]) -> list[Subject]:
    return [subject for subject in subjects if not _refusal(subject, "", own)]


def _refusal(subject: Subject, where: str, own: Collection[str]) -> str:
    if subject.kind is not SubjectKind.SERVICE_ACCOUNT:
        if subject.name.startswith("system:"):
            return f"{where}: users and groups of the system get no access; name a person or a group of people"
        return ""
    if subject.namespace not in own:
        return (
            f"{where}: its namespace {subject.namespace} is not one of this tenant's; name a ServiceAccount in "
            f"{', '.join(sorted(own)) or 'a namespace of its own, of which it has none'}"
        )
    return ""


def _may_be_bound(binding: RoleBinding) -> bool:
    return binding.cluster_role_name != "cluster-admin" and not binding.cluster_role_name.startswith("system:")


def _subject(owner: Owner) -> Subject:
    return Subject(kind=owner.kind, name=owner.name, namespace=owner.namespace)


def _called(subject: Subject) -> str:
    return f"{subject.kind.value} {subject.namespace + '/' if subject.namespace else ''}{subject.name}"


def _body(name: str, namespace: str, cluster_role: str, subjects: Collection[Subject]) -> dict[str, Any]:
    return {
        "apiVersion": ROLE_BINDINGS.api_version,
        "kind": ROLE_BINDINGS.kind,
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": cluster_role},
        "subjects": [_as_json(subject) for subject in subjects],
    }


def _as_json(subject: Subject) -> dict[str, str]:
    if subject.kind is SubjectKind.SERVICE_ACCOUNT:
        return {"kind": subject.kind.value, "name": subject.name, "namespace": subject.namespace}
    return {"kind": subject.kind.value, "apiGroup": _GROUP, "name": subject.name}
