"""What a Tenant and its class amount to together, decided in one pure place for the operator and the generator alike.

A missing class must neither lose the tenant nor pass for a class without defaults, so it travels as a value: the caller
sees the problem next to what is known without the class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from tenantry.argocd import EffectiveProject, merge_argocd
from tenantry.model import ClassDefaults, DeletionPolicy, NamespaceItem, Tenant, TenantClass
from tenantry.names import is_dns_label, is_system_namespace, namespace_name
from tenantry.policies import Isolation, LimitRange, NetworkPolicy, PodSecurity, QuotaScope, RoleBinding

__all__ = ["EffectiveSpec", "Problem", "Reason", "Resolved", "TenantNamespace", "namespaces_of", "resolve"]

_T = TypeVar("_T")
_Amounts = Mapping[str, int | str]
_POD_SECURITY = "pod-security.kubernetes.io"


class Reason(StrEnum):
    """Why a Tenant could not be resolved as it stands; fit for a condition's `reason`."""

    CLASS_NOT_FOUND = "ClassNotFound"
    INVALID_NAMESPACE_NAME = "InvalidNamespaceName"
    SEVERAL_DEFAULT_CLASSES = "SeveralDefaultClasses"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where, and what to do.

    Under CLASS_NOT_FOUND the effective spec lacks whatever the class would have lent: nothing may be removed, moved or
    renamed on its word. Under INVALID_NAMESPACE_NAME at least one namespace must not be created.
    SEVERAL_DEFAULT_CLASSES is only a warning.
    """

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class EffectiveSpec:
    """The fields that a class can lend, after the Tenant has had its say.

    `items` is None when neither of the two lists namespaces: then there is one, named as the tenant. `pod_security` is
    in labels; an empty `quota` is none. `app_project` is None when no AppProject is to be made.
    """

    deletion_policy: DeletionPolicy
    items: tuple[NamespaceItem, ...] | None
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


@dataclass(frozen=True, slots=True)
class Resolved:
    """A Tenant with its class merged in. `class_name` is empty when it has none, or names one that is missing."""

    tenant: Tenant
    class_name: str
    spec: EffectiveSpec
    problem: Problem | None


@dataclass(frozen=True, slots=True)
class TenantNamespace:
    """A namespace that a tenant is to have, with the labels and annotations that the Tenant and its class ask for.

    `quota` is its own, by resource name: None when its entry has none, and for the single namespace without an entry.
    """

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    quota: Mapping[str, int | str] | None = None


def resolve(tenant: Tenant, classes: Mapping[str, TenantClass]) -> Resolved:
    """Merge the Tenant's class, out of all `classes` by name, under the Tenant.

    Absent inherits; a list or scalar that is present wins whole; maps merge by key, parameters deeply, and the
    Tenant's entry wins.
    """
    chosen, problem = _choose(tenant, classes)
    spec = _merge(tenant, chosen.spec.defaults if chosen else ClassDefaults())
    unusable = [namespace.name for namespace in _namespaces(tenant.name, spec) if not _usable(namespace.name)]
    if unusable and (problem is None or problem.reason is not Reason.CLASS_NOT_FOUND):
        problem = Problem(
            Reason.INVALID_NAMESPACE_NAME,
            f"namespaces {', '.join(unusable)}: longer than 63 characters, or a system namespace; "
            "rename the entries of spec.namespaces.items of the Tenant or of its class",
        )
    return Resolved(tenant=tenant, class_name=chosen.name if chosen else "", spec=spec, problem=problem)


def namespaces_of(resolved: Resolved) -> tuple[TenantNamespace, ...]:
    """Return the tenant's namespaces in the order in which they are listed; an entry's own metadata wins."""
    return _namespaces(resolved.tenant.name, resolved.spec)


def _choose(tenant: Tenant, classes: Mapping[str, TenantClass]) -> tuple[TenantClass | None, Problem | None]:
    wanted = tenant.spec.tenant_class_name
    if wanted is not None:
        if wanted in classes:
            return classes[wanted], None
        message = f"spec.tenantClassName: there is no TenantClass {wanted!r}; create it or name another"
        return None, Problem(Reason.CLASS_NOT_FOUND, message)
    defaults = sorted(name for name, candidate in classes.items() if candidate.is_default)
    if not defaults:
        return None, None
    problem = None
    if len(defaults) > 1:
        message = f"default TenantClasses: {', '.join(defaults)}; the first is taken; leave the annotation on one only"
        problem = Problem(Reason.SEVERAL_DEFAULT_CLASSES, message)
    return classes[defaults[0]], problem


def _merge(tenant: Tenant, defaults: ClassDefaults) -> EffectiveSpec:
    spec, mine, lent = tenant.spec, tenant.spec.namespaces, defaults.namespaces
    project, app_project = merge_argocd(spec.argocd, defaults.argocd, tenant=tenant.name)
    return EffectiveSpec(
        # Losing data takes an explicit word, so the last resort keeps the namespaces.
        deletion_policy=spec.deletion_policy or defaults.deletion_policy or DeletionPolicy.ORPHAN,
        items=lent.items if mine.items is None else mine.items,
        labels={**lent.metadata.labels, **mine.metadata.labels},
        annotations={**lent.metadata.annotations, **mine.metadata.annotations},
        pod_security={**_pod_security(lent.pod_security), **_pod_security(mine.pod_security)},
        project=project,
        app_project=app_project,
        parameters=_merge_maps(defaults.parameters, spec.parameters),
        quota_scope=_first(spec.resource_quotas.scope, defaults.resource_quotas.scope, QuotaScope.NAMESPACE),
        quota=_merge_quota(defaults.resource_quotas.hard, spec.resource_quotas.hard),
        limit_ranges=_first(spec.limit_ranges.items, defaults.limit_ranges.items, ()),
        isolation=_first(spec.network_policies.isolation, defaults.network_policies.isolation, Isolation.NONE),
        network_policies=_first(spec.network_policies.items, defaults.network_policies.items, ()),
        role_bindings=_first(spec.additional_role_bindings, defaults.additional_role_bindings, ()),
    )


def _first(mine: _T | None, lent: _T | None, otherwise: _T) -> _T:
    if mine is not None:
        return mine
    return otherwise if lent is None else lent


def _merge_quota(lent: _Amounts | None, mine: _Amounts | None) -> _Amounts:
    # An empty map says "no quota"; merged by key it could not be told from one that was left out.
    return {} if mine == {} else {**(lent or {}), **(mine or {})}


def _pod_security(levels: PodSecurity) -> dict[str, str]:
    modes = {"enforce": levels.enforce, "audit": levels.audit, "warn": levels.warn}
    return {f"{_POD_SECURITY}/{mode}": level.value for mode, level in modes.items() if level is not None}


def _merge_maps(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        lent = merged.get(key)
        merged[key] = _merge_maps(lent, value) if isinstance(lent, dict) and isinstance(value, dict) else value
    return merged


def _namespaces(tenant: str, spec: EffectiveSpec) -> tuple[TenantNamespace, ...]:
    if spec.items is None:
        return (TenantNamespace(tenant, {**spec.labels, **spec.pod_security}, spec.annotations),)
    return tuple(
        TenantNamespace(
            namespace_name(tenant, item.name),
            {**spec.labels, **item.labels, **spec.pod_security},
            {**spec.annotations, **item.annotations},
            item.resource_quota.hard,
        )
        for item in spec.items
    )


def _usable(name: str) -> bool:
    return is_dns_label(name) and not is_system_namespace(name)
