"""The fields of a Tenant and its class about Argo CD, and what the two amount to together.

They are kept apart from the rest of the model because they follow a kind of their own, the AppProject, whose names they
have. What is allowed is spelled out or forbidden: an AppProject that says nothing about a kind may let it through.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from tenantry.schema import Frozen

__all__ = ["ArgoCD", "EffectiveProject", "Project", "ResourceKind", "SyncWindow", "WindowKind", "merge_argocd"]

_T = TypeVar("_T")


class ResourceKind(Frozen):
    """A kind of objects by its API group and name; `*` in either stands for any text."""

    group: str
    kind: str


class WindowKind(StrEnum):
    """What a sync window does while it is open."""

    ALLOW = "allow"
    DENY = "deny"


class SyncWindow(Frozen):
    """A sync window of an AppProject; None is left to Argo CD."""

    kind: WindowKind
    schedule: str
    duration: str
    time_zone: str | None = None
    applications: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    manual_sync: bool | None = None

    def as_json(self) -> Mapping[str, Any]:
        """Return it as an AppProject has it, without what is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


class Project(Frozen):
    """`spec.argocd.project`; None inherits."""

    name: str | None = None
    source_repos: tuple[str, ...] | None = None
    cluster_resource_whitelist: tuple[ResourceKind, ...] | None = None
    namespace_resource_blacklist: tuple[ResourceKind, ...] | None = None
    namespace_resource_whitelist: tuple[ResourceKind, ...] | None = None
    sync_windows: tuple[SyncWindow, ...] | None = None


class ArgoCD(Frozen):
    """`spec.argocd`; None inherits."""

    enabled: bool | None = None
    impersonation: bool | None = None
    project: Project = Project()


@dataclass(frozen=True, slots=True)
class EffectiveProject:
    """The AppProject that a tenant is to have. `namespace_whitelist`: None is every kind that is not blacklisted."""

    impersonation: bool
    source_repos: tuple[str, ...]
    cluster_whitelist: tuple[ResourceKind, ...]
    namespace_blacklist: tuple[ResourceKind, ...]
    namespace_whitelist: tuple[ResourceKind, ...] | None
    sync_windows: tuple[SyncWindow, ...]


_GUARD_RAILS = (
    ResourceKind(group="", kind="ResourceQuota"),
    ResourceKind(group="", kind="LimitRange"),
    ResourceKind(group="networking.k8s.io", kind="NetworkPolicy"),
    ResourceKind(group="rbac.authorization.k8s.io", kind="Role"),
    ResourceKind(group="rbac.authorization.k8s.io", kind="RoleBinding"),
)
"""What limits a tenant. Argo CD writes with rights of its own, so nothing else would keep an Application from it."""


def merge_argocd(mine: ArgoCD, lent: ArgoCD, *, tenant: str) -> tuple[str, EffectiveProject | None]:
    """Return the project's name, empty for none, and what is to be made of it; None: nothing is."""
    own, under = mine.project, lent.project
    if not _first(mine.enabled, lent.enabled, False):
        return _first(own.name, under.name, ""), None
    # The name that a class lends is one that its tenants share, and a project of one's own is not shared.
    return own.name or tenant, EffectiveProject(
        impersonation=_first(mine.impersonation, lent.impersonation, False),
        source_repos=_first(own.source_repos, under.source_repos, ()),
        cluster_whitelist=_first(own.cluster_resource_whitelist, under.cluster_resource_whitelist, ()),
        namespace_blacklist=_first(own.namespace_resource_blacklist, under.namespace_resource_blacklist, _GUARD_RAILS),
        namespace_whitelist=own.namespace_resource_whitelist or under.namespace_resource_whitelist,
        sync_windows=_first(own.sync_windows, under.sync_windows, ()),
    )


def _first(mine: _T | None, lent: _T | None, otherwise: _T) -> _T:
    if mine is not None:
        return mine
    return otherwise if lent is None else lent
