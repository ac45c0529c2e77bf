"""Every name that Tenantry puts into a cluster or into an answer, in one place.

The rules for slugs are stateless on purpose: adding a row or an object can never rename another tenant, and renaming a
tenant would delete and re-create its Applications.
"""

import hashlib
import re

__all__ = [
    "ADOPT_LABEL",
    "ARGOCD_NAMESPACE",
    "CLASS_DEFAULT_ANNOTATION",
    "DIGEST_ANNOTATION",
    "ENTRY_ANNOTATION",
    "FIELD_MANAGER",
    "FINALIZER",
    "GROUP",
    "MANAGED_BY",
    "MANAGED_BY_LABEL",
    "NAMESPACE_PATTERN",
    "ORPHANED_FROM_LABEL",
    "TENANT_LABEL",
    "VERSION",
    "is_dns_label",
    "is_system_namespace",
    "namespace_name",
    "slug",
]

GROUP = "tenantry.dev"
VERSION = "v1alpha1"

TENANT_LABEL = "tenantry.dev/tenant"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "tenantry"
ORPHANED_FROM_LABEL = "tenantry.dev/orphaned-from"
ADOPT_LABEL = "tenantry.dev/adopt-by"
"""Put on a namespace by its owner, with a tenant's name as value: that tenant may take the namespace over."""
CLASS_DEFAULT_ANNOTATION = "tenantry.dev/is-default-class"
DIGEST_ANNOTATION = "tenantry.dev/digest"
ENTRY_ANNOTATION = "tenantry.dev/entry"
"""On a namespace that a Tenant lists: TENANT/ENTRY, the entry empty for the single one that no entry describes."""
FINALIZER = "tenantry.dev/teardown"
FIELD_MANAGER = "tenantry-operator"
ARGOCD_NAMESPACE = "argocd"
"""Where Argo CD is, unless told otherwise."""
NAMESPACE_PATTERN = "{tenant}-{name}"

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SYSTEM_NAMESPACES = frozenset({"default", ARGOCD_NAMESPACE, "tenantry-system"})


def is_dns_label(text: str) -> bool:
    """Whether `text` is an RFC 1123 label: 1 to 63 of a-z, 0-9 and '-', no '-' at either end."""
    return _LABEL.fullmatch(text) is not None


def slug(raw: str) -> str:
    """Return the tenant name, an RFC 1123 label, for a raw name of any characters and length.

    A label is its own slug. Anything else gets its readable part, cut to 56 characters, and six hex digits of the raw
    name's SHA-256, so that `Acme Corp` and `acme-corp` stay two tenants.
    """
    if is_dns_label(raw):
        return raw
    readable = re.sub(r"[^a-z0-9]+", "-", raw.lower()).strip("-")[:56].rstrip("-")
    digest = hashlib.sha256(raw.encode()).hexdigest()[:6]
    return f"{readable or 'tenant'}-{digest}"


def namespace_name(tenant: str, item: str, pattern: str = NAMESPACE_PATTERN) -> str:
    """Return the name of the namespace for one entry of a Tenant's `spec.namespaces.items`."""
    # Not str.format, and the tenant's name first: neither of the two names can hold a brace.
    return pattern.replace("{tenant}", tenant).replace("{name}", item)


def is_system_namespace(name: str, argocd: str = ARGOCD_NAMESPACE) -> bool:
    """Whether no Tenant may ever have this namespace, whatever its labels say. `argocd`: where Argo CD is."""
    return name.startswith("kube-") or name in _SYSTEM_NAMESPACES or name == argocd
