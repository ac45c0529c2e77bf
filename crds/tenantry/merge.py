"""How a class's defaults, a Tenant and the class's overrides become one, field by field.

Three layers with one rule: the highest that says something wins; maps merge by key.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

from tenantry.argocd import GUARD_RAILS, EffectiveProject
from tenantry.model import ClassDefaults, DeletionPolicy, NamespaceItem, TenantSpec
from tenantry.names import NAMESPACE_PATTERN
from tenantry.policies import Isolation, LimitRange, NetworkPolicy, PodSecurity, QuotaScope, RoleBinding

__all__ = ["EffectiveSpec", "Layer", "merge", "merge_parameters"]

_T = TypeVar("_T")
_Amounts = Mapping[str, int | str]
_POD_SECURITY = "pod-security.kubernetes.io"

Layer = ClassDefaults | TenantSpec
"""Whatever has the fields that a class can lend."""


@dataclass(frozen=True, slots=True)
class EffectiveSpec:
    """The fields that a class can lend, once class and Tenant have had their say.

    `items` is None when no layer lists namespaces: then there is one, named as the tenant. `pod_security` is in labels;
    an empty `quota` is none; `namespace_quota` is None when nobody names one; `app_project` is None when none is made.
    """

    deletion_policy: DeletionPolicy
    items: tuple[NamespaceItem, ...] | None
    pattern: str
    namespace_quota: int | None
    adopt_by_label: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    pod_security: Mapping[str, str]
    project: str
    app_project: EffectiveProject | None
    parameters: Mapping[str, Any]
    quota_scope: QuotaScope
    quota: Mapping[str, int | str]
    limit_ranges: tuple[LimitRange, ...]
    isolation: Isolation
    network_policies: tuple[NetworkPolicy, ...]
    role_bindings: tuple[RoleBinding, ...]


def merge(*layers: Layer, tenant: str) -> EffectiveSpec:
    """Merge the layers of the Tenant called `tenant`, the lowest first.

    Absent says nothing; a list or scalar that is present wins whole; maps merge by key, parameters deeply.
    """
    spaces = [layer.namespaces for layer in layers]
    quotas = [layer.resource_quotas for layer in layers]
    policies = [layer.network_policies for layer in layers]
    project, app_project = _project(layers, tenant)
    return EffectiveSpec(
        # Losing data takes an explicit word, so the last resort keeps the namespaces.
        deletion_policy=_last((layer.deletion_policy for layer in layers), DeletionPolicy.ORPHAN),
        items=_last((space.items for space in spaces), None),
        pattern=_last((space.pattern for space in spaces), NAMESPACE_PATTERN),
        namespace_quota=_last((space.quota for space in spaces), None),
        adopt_by_label=_last((space.adopt_by_label for space in spaces), False),
        labels=_joined(space.metadata.labels for space in spaces),
        annotations=_joined(space.metadata.annotations for space in spaces),
        pod_security=_joined(_pod_security(space.pod_security) for space in spaces),
        project=project,
        app_project=app_project,
        parameters=merge_parameters(*(layer.parameters for layer in layers)),
        quota_scope=_last((quota.scope for quota in quotas), QuotaScope.NAMESPACE),
        quota=reduce(_merge_quota, (quota.hard for quota in quotas), {}),
        limit_ranges=_last((layer.limit_ranges.items for layer in layers), ()),
        isolation=_last((policy.isolation for policy in policies), Isolation.NONE),
        network_policies=_last((policy.items for policy in policies), ()),
        role_bindings=_last((layer.additional_role_bindings for layer in layers), ()),
    )


def merge_parameters(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge free parameters at every depth, the lowest first; a list or a scalar is replaced whole."""
    return reduce(_merge_maps, layers, {})


def _project(layers: Iterable[Layer], tenant: str) -> tuple[str, EffectiveProject | None]:
    """Return the project's name, empty for none, and what is to be made of it; None: nothing is."""
    argocd = [layer.argocd for layer in layers]
    projects = [each.project for each in argocd]
    if not _last((each.enabled for each in argocd), False):
        return _last((each.name for each in projects), ""), None
    # The name that a class lends is one that its tenants share, and a project of one's own is not shared.
    own = _last((layer.argocd.project.name for layer in layers if isinstance(layer, TenantSpec)), tenant)
    return own, EffectiveProject(
        impersonation=_last((each.impersonation for each in argocd), False),
        source_repos=_last((each.source_repos for each in projects), ()),
        cluster_whitelist=_last((each.cluster_resource_whitelist for each in projects), ()),
        namespace_blacklist=_last((each.namespace_resource_blacklist for each in projects), GUARD_RAILS),
        namespace_whitelist=_last((each.namespace_resource_whitelist for each in projects), None),
        sync_windows=_last((each.sync_windows for each in projects), ()),
    )


def _last(values: Iterable[_T | None], otherwise: _T) -> _T:
    found = otherwise
    for value in values:
        found = found if value is None else value
    return found


def _joined(maps: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {key: value for entries in maps for key, value in entries.items()}


def _merge_quota(lent: _Amounts, mine: _Amounts | None) -> _Amounts:
    # An empty map says "no quota"; merged by key it could not be told from one that was left out.
    return {} if mine == {} else {**lent, **(mine or {})}


def _pod_security(levels: PodSecurity) -> dict[str, str]:
    modes = {"enforce": levels.enforce, "audit": levels.audit, "warn": levels.warn}
    return {f"{_POD_SECURITY}/{mode}": level.value for mode, level in modes.items() if level is not None}


def _merge_maps(under: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        lent = merged.get(key)
        merged[key] = _merge_maps(lent, value) if isinstance(lent, dict) and isinstance(value, dict) else value
    return merged
