"""What a Tenant and its class amount to together, decided in one pure place for the operator and the generator alike.

A missing class must neither lose the tenant nor pass for a class without defaults, so it travels as a value: the caller
sees the problem next to what is known without the class.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from tenantry.class_rules import ClassLimits
from tenantry.errors import InvalidTenant
from tenantry.merge import EffectiveSpec, merge, merge_parameters
from tenantry.model import Tenant, TenantClass, parse_class
from tenantry.names import CLASS_DEFAULT_ANNOTATION, is_dns_label, is_system_namespace, namespace_name

__all__ = [
    "EffectiveSpec",
    "KnownClass",
    "Problem",
    "Reason",
    "Resolved",
    "TenantNamespace",
    "UnusableClass",
    "namespaces_of",
    "read_class",
    "resolve",
]


@dataclass(frozen=True, slots=True)
class UnusableClass:
    """A TenantClass that is there and can't be used. It stays known, or its Tenants would pass for classless ones."""

    name: str
    is_default: bool
    reason: str


KnownClass = TenantClass | UnusableClass


class Reason(StrEnum):
    """Why a Tenant could not be resolved as it stands; fit for a condition's `reason`."""

    CLASS_NOT_FOUND = "ClassNotFound"
    CLASS_UNUSABLE = "ClassUnusable"
    INVALID_NAMESPACE_NAME = "InvalidNamespaceName"
    SEVERAL_DEFAULT_CLASSES = "SeveralDefaultClasses"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where, and what to do.

    Under INVALID_NAMESPACE_NAME at least one namespace must not be created. SEVERAL_DEFAULT_CLASSES is only a warning.
    """

    reason: Reason
    message: str

    @property
    def without_class(self) -> bool:
        """Whether the effective spec lacks whatever the class says: nothing may be removed or renamed on its word."""
        return self.reason in (Reason.CLASS_NOT_FOUND, Reason.CLASS_UNUSABLE)


@dataclass(frozen=True, slots=True)
class TenantNamespace:
    """A namespace that a tenant is to have, with the labels and annotations that the Tenant and its class ask for.

    `quota` is its own, by resource name: None when its entry has none, and for the single namespace without an entry.
    `entry` is the name of the entry, empty for that single one, and None for a namespace that joined without being
    listed.
    """

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    quota: Mapping[str, int | str] | None = None
    entry: str | None = ""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A Tenant with its class merged in. `class_name` is empty when it has none, or names one that can't be had.

    `namespaces`: those that the spec lists, in that order. `own_parameters`: without what is only lent.
    `parameters_problem`: what the class's schema does not accept, field by field, and empty when it accepts all.
    """

    tenant: Tenant
    class_name: str
    spec: EffectiveSpec
    problem: Problem | None
    namespaces: tuple[TenantNamespace, ...]
    own_parameters: Mapping[str, Any]
    limits: ClassLimits = field(default_factory=ClassLimits)
    parameters_problem: str = ""


def read_class(body: Mapping[str, Any]) -> KnownClass:
    """Read a TenantClass from the API server's JSON, with its refusal as a value."""
    try:
        return parse_class(body)
    except InvalidTenant as error:
        metadata = body["metadata"]
        is_default = (metadata.get("annotations") or {}).get(CLASS_DEFAULT_ANNOTATION) == "true"
        return UnusableClass(metadata["name"], is_default, str(error))


def resolve(tenant: Tenant, classes: Mapping[str, KnownClass]) -> Resolved:
    """Merge the Tenant's class, out of all `classes` by name: its defaults under the Tenant, its overrides over it."""
    chosen, problem = _choose(tenant, classes)
    layers = (chosen.spec.defaults, tenant.spec, chosen.spec.overrides) if chosen else (tenant.spec,)
    spec = merge(*layers, tenant=tenant.name)
    parameters_problem = ""
    if chosen is not None and chosen.spec.parameters_schema is not None:
        schema = chosen.spec.parameters_schema.compiled
        spec = replace(spec, parameters=schema.complete(spec.parameters))
        if reasons := schema.problems(spec.parameters):
            parameters_problem = f"not accepted by TenantClass {chosen.name}: {'; '.join(reasons)}"
    namespaces = _namespaces(tenant.name, spec)
    unusable = [namespace.name for namespace in namespaces if not _usable(namespace.name)]
    if unusable and (problem is None or not problem.without_class):
        problem = Problem(
            Reason.INVALID_NAMESPACE_NAME,
            f"namespaces {', '.join(unusable)}: longer than 63 characters, or a system namespace; "
            "rename the entries of spec.namespaces.items of the Tenant or of its class",
        )
    return Resolved(
        tenant=tenant,
        class_name=chosen.name if chosen else "",
        spec=spec,
        problem=problem,
        namespaces=namespaces,
        own_parameters=merge_parameters(*(layer.parameters for layer in layers[-2 if chosen else -1 :])),
        limits=chosen.spec.limits if chosen else ClassLimits(),
        parameters_problem=parameters_problem,
    )


def namespaces_of(resolved: Resolved) -> tuple[TenantNamespace, ...]:
    """Return the tenant's namespaces in the order in which they are listed; an entry's own metadata wins."""
    return resolved.namespaces


def _choose(tenant: Tenant, classes: Mapping[str, KnownClass]) -> tuple[TenantClass | None, Problem | None]:
    wanted = tenant.spec.tenant_class_name
    if wanted is not None:
        if wanted in classes:
            return _usable_class(classes[wanted], None)
        message = f"spec.tenantClassName: there is no TenantClass {wanted!r}; create it or name another"
        return None, Problem(Reason.CLASS_NOT_FOUND, message)
    defaults = sorted(name for name, candidate in classes.items() if candidate.is_default)
    if not defaults:
        return None, None
    problem = None
    if len(defaults) > 1:
        message = f"default TenantClasses: {', '.join(defaults)}; the first is taken; leave the annotation on one only"
        problem = Problem(Reason.SEVERAL_DEFAULT_CLASSES, message)
    return _usable_class(classes[defaults[0]], problem)


def _usable_class(found: KnownClass, problem: Problem | None) -> tuple[TenantClass | None, Problem | None]:
    if isinstance(found, UnusableClass):
        return None, Problem(Reason.CLASS_UNUSABLE, found.reason)
    return found, problem


def _namespaces(tenant: str, spec: EffectiveSpec) -> tuple[TenantNamespace, ...]:
    if spec.items is None:
        return (TenantNamespace(tenant, {**spec.labels, **spec.pod_security}, spec.annotations),)
    return tuple(
        TenantNamespace(
            item.full_name or namespace_name(tenant, item.name, spec.pattern),
            {**spec.labels, **item.labels, **spec.pod_security},
            {**spec.annotations, **item.annotations},
            item.resource_quota.hard,
            item.name,
        )
        for item in spec.items
    )


def _usable(name: str) -> bool:
    return is_dns_label(name) and not is_system_namespace(name)
