"""What the operator can be told: where the API server is, where its Lease is, and where to answer probes."""

from collections.abc import Mapping
from dataclasses import dataclass

from tenantry.names import ARGOCD_NAMESPACE
from tenantry.settings import Environment, pod_namespace

__all__ = ["Settings"]

HELP = """\
environment:
  KUBECONFIG                path of a kubeconfig file; in a pod, leave it unset
  TENANTRY_BIND             HOST:PORT that answers GET /healthz, /readyz and /metrics (default 0.0.0.0:8080)
  TENANTRY_LEASE_NAMESPACE  namespace of the Lease that lets one operator at a time work; it must exist
                            (default: the pod's own; with a KUBECONFIG, the namespace default)
  TENANTRY_ARGOCD_NAMESPACE namespace of Argo CD, where AppProjects are made; no Tenant can have it (default argocd)
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings. `kubeconfig` is None in a pod."""

    kubeconfig: str | None
    bind: tuple[str, int]
    lease_namespace: str
    argocd_namespace: str

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> "Settings":
        """Read the settings; raise SettingsError for the first wrong one."""
        environment = Environment(values)
        kubeconfig = environment.text("KUBECONFIG") or None
        own = pod_namespace() if kubeconfig is None else None
        return cls(
            kubeconfig=kubeconfig,
            bind=environment.bind("TENANTRY_BIND", "0.0.0.0:8080"),
            lease_namespace=environment.namespace("TENANTRY_LEASE_NAMESPACE") or own or "default",
            argocd_namespace=environment.namespace("TENANTRY_ARGOCD_NAMESPACE") or ARGOCD_NAMESPACE,
        )
