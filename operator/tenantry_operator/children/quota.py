"""How much a tenant's namespaces may use, as ResourceQuotas.

A tenant's total is allocated, not shared: each namespace has its own part, which the API server enforces by itself, so
nothing leaks while several namespaces grow at once or while the operator is away.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tenantry.classes import EffectiveSpec, Resolved, TenantNamespace
from tenantry.policies import QuotaScope
from tenantry.quantities import Quantity, parse, total
from tenantry.resources import RESOURCE_QUOTAS

__all__ = ["NAME", "add_up", "build", "ceiling", "excess", "overdraft", "overlimit"]

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


def excess(resolved: Resolved) -> str:
    """Return by how much all the tenant's namespaces together would have more than its class allows, empty if not.

    Under scope Tenant its total counts; what the total does not name, and all under scope Namespace, is added up.
    """
    spec = resolved.spec
    excesses = []
    for resource, limit in _read(resolved.limits.resource_quotas.hard).items():
        shares = {found.name: _share(spec, found).get(resource) for found in resolved.namespaces}
        whole = spec.quota.get(resource) if spec.quota_scope is QuotaScope.TENANT else None
        unlimited = [name for name, share in shares.items() if share is None]
        if whole is None and unlimited:
            excesses.append(f"no {resource} is named for {', '.join(unlimited)}, where at most {limit} is allowed")
            continue
        parts = [parse(share) for share in shares.values() if share is not None]
        asked = total(parts) if whole is None else parse(whole)
        if asked.millis > limit.millis:
            more = Quantity(asked.millis - limit.millis, limit.form)
            excesses.append(f"{resource} {asked} is {more} more than the {limit} that is allowed")
    return f"over the limits of TenantClass {resolved.class_name}: {'; '.join(excesses)}" if excesses else ""


def overlimit(resolved: Resolved) -> str:
    """Return what to say when the tenant asks for more than its class allows; empty when it does not."""
    if not (over := excess(resolved)):
        return ""
    return (
        f"resourceQuotas: {over}; change resourceQuotas.hard or the resourceQuota of entries of namespaces.items; "
        "until then no quota is changed and no namespace is added"
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
    if spec.quota_scope is QuotaScope.NAMESPACE or namespace.entry == "":
        # The single namespace that no entry describes has nobody to share with; what joins it unlisted gets no part.
        return spec.quota if namespace.quota is None else namespace.quota
    return {**dict.fromkeys(spec.quota, 0), **(namespace.quota or {})}


def _read(hard: _Hard) -> dict[str, Quantity]:
    return {resource: parse(amount) for resource, amount in hard.items()}
