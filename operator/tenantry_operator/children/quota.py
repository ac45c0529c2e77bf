"""How much a tenant's namespaces may use, as ResourceQuotas.

A tenant's total is allocated, not shared: each namespace has its own part, which the API server enforces by itself, so
nothing leaks while several namespaces grow at once or while the operator is away.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tenantry.classes import EffectiveSpec, TenantNamespace
from tenantry.policies import QuotaScope
from tenantry.quantities import Quantity, parse, total
from tenantry.resources import RESOURCE_QUOTAS

__all__ = ["NAME", "add_up", "build", "ceiling", "overdraft"]

NAME = "tenantry"
"""The name of the ResourceQuota in each namespace."""

_Hard = Mapping[str, int | str]


def overdraft(spec: EffectiveSpec, namespaces: Sequence[TenantNamespace]) -> str:
    """Return by how much the namespaces, all of the tenant's, ask for more than its total; empty when they don't."""
    if spec.quota_scope is not QuotaScope.TENANT:
        return ""
    excesses = []
    for resource, limit in _read(spec.quota).items():
        asked = total([_read(_share(spec, namespace)).get(resource, Quantity(0)) for namespace in namespaces])
        if asked.millis > limit.millis:
            excess = Quantity(asked.millis - limit.millis, limit.form)
            excesses.append(f"{resource} {asked}, {excess} more than the tenant's {limit}")
    if not excesses:
        return ""
    return (
        f"resourceQuotas: namespaces ask for {'; '.join(excesses)}; lower the resourceQuota of entries of "
        "namespaces.items or raise resourceQuotas.hard; until then no quota is changed"
    )


def ceiling(spec: EffectiveSpec, namespaces: Sequence[TenantNamespace]) -> dict[str, Quantity]:
    """Return what the namespaces, all of the tenant's, may use together, by resource name."""
    if spec.quota_scope is QuotaScope.TENANT:
        return _read(spec.quota)
    return add_up([_read(_share(spec, namespace)) for namespace in namespaces])


def add_up(amounts: Sequence[Mapping[str, Quantity]]) -> dict[str, Quantity]:
    """Return the sums by resource name; where one lacks a resource, it adds nothing to it."""
    resources = {resource for each in amounts for resource in each}
    return {resource: total([each[resource] for each in amounts if resource in each]) for resource in resources}


def build(spec: EffectiveSpec, namespace: TenantNamespace) -> list[dict[str, Any]]:
    """Return the ResourceQuota of one namespace, or none where it has no limit."""
    hard = {resource: str(amount) for resource, amount in sorted(_read(_share(spec, namespace)).items())}
    if not hard:
        return []
    body = {
        "apiVersion": RESOURCE_QUOTAS.api_version,
        "kind": RESOURCE_QUOTAS.kind,
        "metadata": {"name": NAME, "namespace": namespace.name},
        "spec": {"hard": hard},
    }
    return [body]


def _share(spec: EffectiveSpec, namespace: TenantNamespace) -> _Hard:
    if spec.quota_scope is QuotaScope.NAMESPACE or spec.items is None:
        # The single namespace that no entry describes has nobody to share with.
        return spec.quota if namespace.quota is None else namespace.quota
    return {**dict.fromkeys(spec.quota, 0), **(namespace.quota or {})}


def _read(hard: _Hard) -> dict[str, Quantity]:
    return {resource: parse(amount) for resource, amount in hard.items()}
