"""The fields that set rules inside a tenant's namespaces: how much may run there, what it may reach, who may do what.

They are kept apart from the rest of the model because each follows a Kubernetes kind of its own, and because a Tenant
and its class have all of them in the same shape.
"""

from enum import StrEnum

from tenantry.schema import Amounts, DnsLabel, FreeForm, Frozen

__all__ = [
    "Isolation",
    "LimitRange",
    "LimitRangeItem",
    "LimitRanges",
    "LimitType",
    "NetworkPolicies",
    "NetworkPolicy",
    "PodSecurity",
    "PodSecurityLevel",
    "QuotaScope",
    "ResourceQuota",
    "ResourceQuotas",
    "RoleBinding",
    "Subject",
    "SubjectKind",
]


class PodSecurityLevel(StrEnum):
    """The levels of the Pod Security Standards."""

    PRIVILEGED = "privileged"
    BASELINE = "baseline"
    RESTRICTED = "restricted"


class PodSecurity(Frozen):
    """`spec.namespaces.podSecurity`; None inherits."""

    enforce: PodSecurityLevel | None = None
    audit: PodSecurityLevel | None = None
    warn: PodSecurityLevel | None = None


class QuotaScope(StrEnum):
    """Whether `resourceQuotas.hard` is for each namespace, or for all of a tenant's namespaces together."""

    TENANT = "Tenant"
    NAMESPACE = "Namespace"


class ResourceQuota(Frozen):
    """A namespace's own quota. None: it has none of its own; empty: no quota at all."""

    hard: Amounts | None = None


class ResourceQuotas(Frozen):
    """`spec.resourceQuotas`. None inherits; an empty `hard` is no quota, whatever the class lends."""

    scope: QuotaScope | None = None
    hard: Amounts | None = None


class LimitType(StrEnum):
    """What a limit applies to."""

    CONTAINER = "Container"
    POD = "Pod"
    PERSISTENT_VOLUME_CLAIM = "PersistentVolumeClaim"


class LimitRangeItem(Frozen):
    """One limit, with the fields of Kubernetes' LimitRangeItem."""

    type: LimitType
    max: Amounts | None = None
    min: Amounts | None = None
    default: Amounts | None = None
    default_request: Amounts | None = None
    max_limit_request_ratio: Amounts | None = None


class LimitRange(Frozen):
    """One LimitRange, which each namespace gets."""

    name: DnsLabel
    limits: tuple[LimitRangeItem, ...]


class LimitRanges(Frozen):
    """`spec.limitRanges`. `items`: None inherits."""

    items: tuple[LimitRange, ...] | None = None


class Isolation(StrEnum):
    """Where the traffic into a tenant's namespaces may come from."""

    TENANT = "Tenant"
    NAMESPACE = "Namespace"
    NONE = "None"


class NetworkPolicy(Frozen):
    """One NetworkPolicy, which each namespace gets; `spec` is a NetworkPolicySpec."""

    name: DnsLabel
    spec: FreeForm


class NetworkPolicies(Frozen):
    """`spec.networkPolicies`. `isolation` and `items`: None inherits."""

    isolation: Isolation | None = None
    items: tuple[NetworkPolicy, ...] | None = None


class SubjectKind(StrEnum):
    """The kinds of an RBAC subject."""

    USER = "User"
    GROUP = "Group"
    SERVICE_ACCOUNT = "ServiceAccount"


class Subject(Frozen):
    """An RBAC subject; `namespace` is empty for all but a ServiceAccount."""

    kind: SubjectKind
    name: str
    namespace: str = ""


class RoleBinding(Frozen):
    """One entry of `spec.additionalRoleBindings`: a ClusterRole that the subjects have in each namespace."""

    name: DnsLabel
    cluster_role_name: str
    subjects: tuple[Subject, ...]
