"""The Tenant API as Python sees it: a tolerant, frozen reading of what the API server has already validated.

The YAML next to this package is the contract; these models name the fields that Tenantry acts on and refuse only what
would make it act wrongly. Absent and empty stay two things, because absent means "inherit from the class".
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from tenantry.argocd import ArgoCD, Project
from tenantry.class_rules import ClassLimits, ParametersSchema
from tenantry.errors import InvalidTenant
from tenantry.names import CLASS_DEFAULT_ANNOTATION
from tenantry.policies import (
    LimitRanges,
    NetworkPolicies,
    PodSecurity,
    ResourceQuota,
    ResourceQuotas,
    RoleBinding,
    SubjectKind,
)
from tenantry.schema import DnsLabel, FreeForm, Frozen, explain

__all__ = [
    "ArgoCD",
    "ClassDefaults",
    "DeletionPolicy",
    "Lifecycle",
    "Metadata",
    "NamespaceItem",
    "NamespaceMetadata",
    "Namespaces",
    "Owner",
    "OwnerRole",
    "Project",
    "State",
    "Tenant",
    "TenantClass",
    "TenantClassSpec",
    "TenantSpec",
    "parse_class",
    "parse_tenant",
]


class State(StrEnum):
    """What a tenant may do at present. No state takes a tenant out of the generator's answer."""

    ACTIVE = "Active"
    CORDONED = "Cordoned"
    SUSPENDED = "Suspended"
    ARCHIVED = "Archived"


class DeletionPolicy(StrEnum):
    """What becomes of a tenant's namespaces when the Tenant is deleted."""

    DELETE = "Delete"
    ORPHAN = "Orphan"
    RETAIN = "Retain"


class OwnerRole(StrEnum):
    """What an owner may do."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"


class Metadata(Frozen):
    """The part of ObjectMeta that decisions depend on."""

    name: DnsLabel
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()


class Lifecycle(Frozen):
    """`spec.lifecycle`."""

    state: State = State.ACTIVE
    reason: str = ""


class Owner(Frozen):
    """One entry of `spec.owners`; `namespace` is empty for all but a ServiceAccount."""

    kind: SubjectKind
    name: str
    namespace: str = ""
    role: OwnerRole


class NamespaceItem(Frozen):
    """One entry of `spec.namespaces.items`; without a `full_name` the pattern names the namespace."""

    name: Annotated[DnsLabel, StringConstraints(max_length=61)]
    full_name: DnsLabel | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    resource_quota: ResourceQuota = ResourceQuota()


class NamespaceMetadata(Frozen):
    """Labels and annotations for each of the tenant's namespaces."""

    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Namespaces(Frozen):
    """`spec.namespaces`. None inherits; of `items` an empty tuple is no namespace at all."""

    quota: int | None = None
    pattern: str | None = None
    adopt_by_label: bool | None = None
    items: tuple[NamespaceItem, ...] | None = None
    metadata: NamespaceMetadata = NamespaceMetadata()
    pod_security: PodSecurity = PodSecurity()


class TenantSpec(Frozen):
    """`spec` of a Tenant, as written: the class is not merged in yet."""

    display_name: str = ""
    description: str = ""
    tenant_class_name: str | None = None
    lifecycle: Lifecycle = Lifecycle()
    deletion_policy: DeletionPolicy | None = None
    owners: tuple[Owner, ...] = ()
    namespaces: Namespaces = Namespaces()
    resource_quotas: ResourceQuotas = ResourceQuotas()
    limit_ranges: LimitRanges = LimitRanges()
    network_policies: NetworkPolicies = NetworkPolicies()
    additional_role_bindings: tuple[RoleBinding, ...] | None = None
    argocd: ArgoCD = ArgoCD()
    parameters: FreeForm = Field(default_factory=dict)


class Tenant(Frozen):
    """A Tenant object."""

    metadata: Metadata
    spec: TenantSpec = TenantSpec()

    @property
    def name(self) -> str:
        """The tenant's name: an RFC 1123 label, its slug in every answer."""
        return self.metadata.name

    @property
    def deleting(self) -> bool:
        """Whether somebody has asked for the deletion of this object."""
        return self.metadata.deletion_timestamp is not None


class ClassDefaults(Frozen):
    """`spec.defaults` and `spec.overrides` of a TenantClass: the fields of a Tenant's spec that a class can lend."""

    deletion_policy: DeletionPolicy | None = None
    namespaces: Namespaces = Namespaces()
    resource_quotas: ResourceQuotas = ResourceQuotas()
    limit_ranges: LimitRanges = LimitRanges()
    network_policies: NetworkPolicies = NetworkPolicies()
    additional_role_bindings: tuple[RoleBinding, ...] | None = None
    argocd: ArgoCD = ArgoCD()
    parameters: FreeForm = Field(default_factory=dict)


class TenantClassSpec(Frozen):
    """`spec` of a TenantClass."""

    description: str = ""
    defaults: ClassDefaults = ClassDefaults()
    overrides: ClassDefaults = ClassDefaults()
    limits: ClassLimits = ClassLimits()
    parameters_schema: ParametersSchema | None = None


class TenantClass(Frozen):
    """A TenantClass object."""

    metadata: Metadata
    spec: TenantClassSpec = TenantClassSpec()

    @property
    def name(self) -> str:
        """The class's name, as `spec.tenantClassName` refers to it."""
        return self.metadata.name

    @property
    def is_default(self) -> bool:
        """Whether Tenants that name no class get this one."""
        return self.metadata.annotations.get(CLASS_DEFAULT_ANNOTATION) == "true"


def parse_tenant(body: Mapping[str, Any]) -> Tenant:
    """Read a Tenant from the API server's JSON; raise InvalidTenant with every field and reason."""
    try:
        return Tenant.model_validate(body)
    except ValidationError as error:
        raise InvalidTenant(explain("Tenant", body, error)) from None


def parse_class(body: Mapping[str, Any]) -> TenantClass:
    """Read a TenantClass from the API server's JSON; raise InvalidTenant with every field and reason."""
    try:
        return TenantClass.model_validate(body)
    except ValidationError as error:
        raise InvalidTenant(explain("TenantClass", body, error)) from None
