"""How an object shows that it is ours: by the labels that everything of a tenant's carries, written by us."""

from tenantry.managed import is_ours, managed_keys
from tenantry.names import MANAGED_BY, MANAGED_BY_LABEL, TENANT_LABEL

__all__ = ["identity_labels", "is_ours", "managed_keys"]


def identity_labels(tenant: str) -> dict[str, str]:
    """Return the labels that everything of a tenant's carries."""
    return {TENANT_LABEL: tenant, MANAGED_BY_LABEL: MANAGED_BY}
