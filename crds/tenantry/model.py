"""The Tenant API as Python sees it: a tolerant, frozen reading of what the API server has already validated.

The YAML next to this package is the contract; these models name the fields that Tenantry acts on and refuse only what
would make it act wrongly. Absent and empty stay two things, because absent means "inherit from the class".
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from tenantry.errors import InvalidTenant
from tenantry.names import CLASS_DEFAULT_ANNOTATION

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
    "OwnerKind",
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

_MAX_DEPTH = 16
_SHOWN = 80


def _check_depth(parameters: dict[str, Any]) -> dict[str, Any]:
    # The schema can't bound the depth of free-form JSON; rendering recurses into it.
    level: list[Any] = [parameters]
    for _ in range(_MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return parameters
    raise ValueError(f"is nested deeper than {_MAX_DEPTH} levels")


def _children(value: Any) -> Iterable[Any]:
    nested: Iterable[Any] = value.values() if isinstance(value, dict) else value
    return (child for child in nested if isinstance(child, dict | list))


DnsLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Parameters = Annotated[dict[str, Any], AfterValidator(_check_depth)]


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


class OwnerKind(StrEnum):
    """The kinds of an RBAC subject."""

    USER = "User"
    GROUP = "Group"
    SERVICE_ACCOUNT = "ServiceAccount"


class OwnerRole(StrEnum):
    """What an owner may do."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)


class Metadata(_Frozen):
    """The part of ObjectMeta that decisions depend on."""

    name: DnsLabel
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()


class Lifecycle(_Frozen):
    """`spec.lifecycle`."""

    state: State = State.ACTIVE
    reason: str = ""


class Owner(_Frozen):
    """One entry of `spec.owners`; `namespace` is empty for all but a ServiceAccount."""

    kind: OwnerKind
    name: str
    namespace: str = ""
    role: OwnerRole


class NamespaceItem(_Frozen):
    """One entry of `spec.namespaces.items`; the namespace is called `{tenant}-{name}`."""

    name: Annotated[DnsLabel, StringConstraints(max_length=61)]
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class NamespaceMetadata(_Frozen):
    """Labels and annotations for each of the tenant's namespaces."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Namespaces(_Frozen):
    """`spec.namespaces`. `items`: None inherits, an empty tuple is no namespace at all."""

    items: tuple[NamespaceItem, ...] | None = None
    metadata: NamespaceMetadata = NamespaceMetadata()


class Project(_Frozen):
    """`spec.argocd.project`; None inherits."""

    name: str | None = None


class ArgoCD(_Frozen):
    """`spec.argocd`."""

    project: Project = Project()


class TenantSpec(_Frozen):
    """`spec` of a Tenant, as written: the class is not merged in yet."""

    display_name: str = ""
    description: str = ""
    tenant_class_name: str | None = None
    lifecycle: Lifecycle = Lifecycle()
    deletion_policy: DeletionPolicy | None = None
    owners: tuple[Owner, ...] = ()
    namespaces: Namespaces = Namespaces()
    argocd: ArgoCD = ArgoCD()
    parameters: Parameters = {}


class Tenant(_Frozen):
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


class ClassDefaults(_Frozen):
    """`spec.defaults` of a TenantClass: the fields of a Tenant's spec that a class can lend."""

    deletion_policy: DeletionPolicy | None = None
    namespaces: Namespaces = Namespaces()
    argocd: ArgoCD = ArgoCD()
    parameters: Parameters = {}


class TenantClassSpec(_Frozen):
    """`spec` of a TenantClass."""

    description: str = ""
    defaults: ClassDefaults = ClassDefaults()


class TenantClass(_Frozen):
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
        raise InvalidTenant(_explain("Tenant", body, error)) from None


def parse_class(body: Mapping[str, Any]) -> TenantClass:
    """Read a TenantClass from the API server's JSON; raise InvalidTenant with every field and reason."""
    try:
        return TenantClass.model_validate(body)
    except ValidationError as error:
        raise InvalidTenant(_explain("TenantClass", body, error)) from None


def _explain(kind: str, body: Mapping[str, Any], error: ValidationError) -> str:
    metadata = body.get("metadata") if isinstance(body, Mapping) else None
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    reasons = []
    for detail in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in detail["loc"]) or "object"
        reason = detail["msg"].removeprefix("Value error, ")
        held = "" if detail["type"] in ("missing", "value_error") else f", not {_shorten(detail['input'])}"
        reasons.append(f"{where}: {reason[0].lower()}{reason[1:]}{held}")
    called = f'"{name}"' if isinstance(name, str) else "without a name"
    return f"{kind} {called} can't be used: " + "; ".join(reasons)


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
