"""The fields of a Tenant and its class about Argo CD, and what the two amount to together.

They are kept apart from the rest of the model because they follow a kind of their own, the AppProject, whose names they
have. What is allowed is spelled out or forbidden: an AppProject that says nothing about a kind may let it through.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tenantry.schema import Frozen

__all__ = ["GUARD_RAILS", "ArgoCD", "EffectiveProject", "Project", "ResourceKind", "SyncWindow", "WindowKind"]


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


GUARD_RAILS = (
    ResourceKind(group="", kind="ResourceQuota"),
    ResourceKind(group="", kind="LimitRange"),
    ResourceKind(group="networking.k8s.io", kind="NetworkPolicy"),
    ResourceKind(group="rbac.authorization.k8s.io", kind="Role"),
    ResourceKind(group="rbac.authorization.k8s.io", kind="RoleBinding"),
)
"""What limits a tenant. Argo CD writes with rights of its own, so nothing else would keep an Application from it."""
