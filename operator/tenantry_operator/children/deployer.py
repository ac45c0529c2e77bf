"""Whom Argo CD's sync impersonation acts as in a tenant's namespaces: a ServiceAccount in each, with its rights there.

Then the API server itself keeps an Application to what the tenant may do, whatever Argo CD may.
"""

from typing import Any

from tenantry.resources import ROLE_BINDINGS, SERVICE_ACCOUNTS, Resource

__all__ = ["NAME", "build"]

NAME = "tenantry-deployer"
"""The name of the ServiceAccount, and of its RoleBinding, in each namespace."""


def build(namespace: str) -> list[tuple[Resource, dict[str, Any]]]:
    """Return the ServiceAccount of one namespace, which no Pod gets a token of unasked, and its RoleBinding."""
    metadata = {"name": NAME, "namespace": namespace}
    account = {
        "apiVersion": SERVICE_ACCOUNTS.api_version,
        "kind": SERVICE_ACCOUNTS.kind,
        "metadata": metadata,
        "automountServiceAccountToken": False,
    }
    binding = {
        "apiVersion": ROLE_BINDINGS.api_version,
        "kind": ROLE_BINDINGS.kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": SERVICE_ACCOUNTS.kind, "name": NAME, "namespace": namespace}],
    }
    return [(SERVICE_ACCOUNTS, account), (ROLE_BINDINGS, binding)]
