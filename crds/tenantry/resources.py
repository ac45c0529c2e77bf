"""The kinds that Tenantry reads or writes, as the few facts that a request path needs."""

from dataclasses import dataclass
from urllib.parse import quote

from tenantry.names import GROUP, VERSION

__all__ = [
    "APPLICATIONS",
    "APPLICATION_SETS",
    "APP_PROJECTS",
    "CONFIG_MAPS",
    "CRDS",
    "EVENTS",
    "LEASES",
    "LIMIT_RANGES",
    "NAMESPACES",
    "NETWORK_POLICIES",
    "PODS",
    "RESOURCE_QUOTAS",
    "ROLE_BINDINGS",
    "SECRETS",
    "SERVICE_ACCOUNTS",
    "TENANTS",
    "TENANT_CLASSES",
    "Resource",
]


@dataclass(frozen=True, slots=True)
class Resource:
    """One served kind. `group` is empty for the core API."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The object's `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the request path of the collection, of one object, or of an object's subresource."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource is not None:
            parts.append(subresource)
        return "/" + "/".join(parts)


TENANTS = Resource(GROUP, VERSION, "tenants", "Tenant", namespaced=False)
TENANT_CLASSES = Resource(GROUP, VERSION, "tenantclasses", "TenantClass", namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
PODS = Resource("", "v1", "pods", "Pod")
SECRETS = Resource("", "v1", "secrets", "Secret")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
RESOURCE_QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
LIMIT_RANGES = Resource("", "v1", "limitranges", "LimitRange")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
APPLICATION_SETS = Resource("argoproj.io", "v1alpha1", "applicationsets", "ApplicationSet")
APPLICATIONS = Resource("argoproj.io", "v1alpha1", "applications", "Application")
APP_PROJECTS = Resource("argoproj.io", "v1alpha1", "appprojects", "AppProject")
