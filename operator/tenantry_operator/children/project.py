"""A tenant's AppProject: what its Applications may come from, what they may be and where they may go.

It is claimed as a namespace is: created by a POST, which can't take what exists, and a tenant's own only where our
field manager wrote the tenant label. Every list that allows something is spelled out, also when it is empty, so that an
entry that somebody adds is taken off again.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tenantry.argocd import EffectiveProject, ResourceKind
from tenantry.model import Owner, OwnerRole
from tenantry.names import DIGEST_ANNOTATION, MANAGED_BY_LABEL
from tenantry.policies import SubjectKind
from tenantry.resources import APP_PROJECTS
from tenantry_operator.children import child, deployer
from tenantry_operator.children.child import Child, Present
from tenantry_operator.children.managed import identity_labels, managed_keys

__all__ = ["FoundProject", "build", "group_refusals", "observe", "refusal", "seed"]

_SERVER = "https://kubernetes.default.svc"
_DEFAULT = "default"
_ACTIONS = {
    OwnerRole.OWNER: ("*",),
    OwnerRole.EDITOR: ("get", "sync", "update", "action/*"),
    OwnerRole.VIEWER: ("get",),
}


@dataclass(frozen=True, slots=True)
class FoundProject:
    """What is kept of an AppProject in the cluster. `ours`: our field manager wrote something that says so."""

    name: str
    present: Present
    ours: bool

    @property
    def owner(self) -> str | None:
        """The tenant that has this AppProject, None when Tenantry did not give it to one."""
        return None if self.name == _DEFAULT else self.present.owner


def observe(body: Mapping[str, Any]) -> FoundProject:
    """Return what to keep of an AppProject; of one that is not ours, next to nothing."""
    metadata = body["metadata"]
    labels, annotations = managed_keys(metadata)
    # One that was only just created has no digest yet, and one whose labels somebody has changed has nothing else.
    ours = MANAGED_BY_LABEL in labels or DIGEST_ANNOTATION in annotations
    trimmed = body if ours else {"metadata": {**metadata, "labels": {}, "annotations": {}}}
    return FoundProject(metadata["name"], child.observe(APP_PROJECTS, trimmed), ours)


def seed(tenant: str, name: str, *, argocd: str) -> dict[str, Any]:
    """Return the body to create an AppProject with: whose it is, and nothing allowed yet.

    The rest follows by server-side apply: what a create wrote would stay there when the wish no longer has it.
    """
    return {"metadata": {"name": name, "namespace": argocd, "labels": identity_labels(tenant)}, "spec": {}}


def build(
    spec: EffectiveProject,
    owners: Collection[Owner],
    *,
    tenant: str,
    name: str,
    argocd: str,
    namespaces: Collection[str],
) -> Child:
    """Return the AppProject `name` of a tenant that deploys to `namespaces`; `argocd`: the namespace that it is in."""
    body: dict[str, Any] = {
        "description": f"The Applications of tenant {tenant}",
        "sourceRepos": list(spec.source_repos),
        "destinations": [{"server": _SERVER, "namespace": namespace} for namespace in namespaces],
        "clusterResourceWhitelist": _kinds(spec.cluster_whitelist),
        "namespaceResourceBlacklist": _kinds(spec.namespace_blacklist),
        "roles": _roles(name, owners),
        "syncWindows": [dict(window.as_json()) for window in spec.sync_windows],
    }
    if spec.impersonation:
        # Not otherwise: before Argo CD 2.13 the API server knows no such field, and refuses it.
        body["destinationServiceAccounts"] = [
            {"server": _SERVER, "namespace": each, "defaultServiceAccount": deployer.NAME} for each in namespaces
        ]
    if spec.namespace_whitelist is not None:
        body["namespaceResourceWhitelist"] = _kinds(spec.namespace_whitelist)
    return child.complete(
        tenant,
        APP_PROJECTS,
        {
            "apiVersion": APP_PROJECTS.api_version,
            "kind": APP_PROJECTS.kind,
            "metadata": {"name": name, "namespace": argocd},
            "spec": body,
        },
    )


def refusal(wanted: Child, tenant: str, found: FoundProject | None) -> str:
    """Return why `tenant` may not have the AppProject `wanted`, and what would change that; "" if it may."""
    name = wanted.key[2]
    remedy = "set argocd.enabled to false to use it as it is"
    if name == _DEFAULT:
        return f"it is Argo CD's own; {remedy}, or name another in argocd.project.name"
    if found is None or found.owner == tenant:
        return ""
    if found.owner is not None:
        return f"it belongs to the tenant {found.owner}; name another in argocd.project.name, or {remedy}"
    # One of ours whose tenant label somebody changed still has the digest of what this tenant wants, and of no other.
    if found.ours and found.present.digest == wanted.digest:
        return ""
    return f"it exists and is not Tenantry's; delete it once no Application needs it, or {remedy}"


def group_refusals(owners: Collection[Owner]) -> list[str]:
    """Return a sentence for each group that Argo CD's policies can't hold."""
    return [
        f"owners: Group {owner.name}: Argo CD takes no group with a quotation mark, or a space at either end; "
        "it gets no role in the AppProject"
        for owner in owners
        if owner.kind is SubjectKind.GROUP and not _fits(owner.name)
    ]


def _kinds(kinds: Collection[ResourceKind]) -> list[dict[str, str]]:
    return [{"group": each.group, "kind": each.kind} for each in kinds]


def _roles(project: str, owners: Collection[Owner]) -> list[dict[str, Any]]:
    roles = []
    for role, actions in _ACTIONS.items():
        names = [owner.name for owner in owners if owner.kind is SubjectKind.GROUP and owner.role is role]
        groups = [_quoted(name) for name in names if _fits(name)]
        if groups:
            subject = f"p, proj:{project}:{role.value}"
            policies = [f"{subject}, applications, {action}, {project}/*, allow" for action in actions]
            policies.append(f"{subject}, logs, get, {project}/*, allow")
            roles.append({"name": role.value, "groups": groups, "policies": policies})
    return roles


def _fits(group: str) -> bool:
    # Argo CD puts a group's name into a line of CSV, where a quotation mark would let it say more than a name.
    return '"' not in group and group == group.strip()


def _quoted(group: str) -> str:
    return f'"{group}"' if "," in group else group
