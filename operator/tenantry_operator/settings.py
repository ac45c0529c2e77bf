"""What the operator can be told: where the API server is, where its Lease is, and where to answer probes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tenantry.errors import SettingsError
from tenantry.names import ARGOCD_NAMESPACE, is_dns_label
from tenantry.settings import Environment

__all__ = ["Settings"]

HELP = """\
environment:
  KUBECONFIG                path of a kubeconfig file; in a pod, leave it unset
  TENANTRY_BIND             HOST:PORT that answers GET /healthz, /readyz and /metrics (default 0.0.0.0:8080)
  TENANTRY_LEASE_NAMESPACE  namespace of the Lease that lets one operator at a time work; it must exist
                            (default: the pod's own; with a KUBECONFIG, the namespace default)
  TENANTRY_ARGOCD_NAMESPACE namespace of Argo CD, where AppProjects are made; no Tenant can have it (default argocd)
"""

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


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
        return cls(
            kubeconfig=kubeconfig,
            bind=environment.bind("TENANTRY_BIND", "0.0.0.0:8080"),
            lease_namespace=_lease_namespace(environment, in_pod=kubeconfig is None),
            argocd_namespace=_namespace(environment, "TENANTRY_ARGOCD_NAMESPACE", otherwise=ARGOCD_NAMESPACE),
        )


def _lease_namespace(environment: Environment, *, in_pod: bool) -> str:
    otherwise = _POD_NAMESPACE.read_text().strip() if in_pod and _POD_NAMESPACE.is_file() else "default"
    return _namespace(environment, "TENANTRY_LEASE_NAMESPACE", otherwise=otherwise)


def _namespace(environment: Environment, name: str, *, otherwise: str) -> str:
    if not (namespace := environment.text(name)):
        return otherwise
    if not is_dns_label(namespace):
        raise SettingsError(name, namespace, "the name of a namespace")
    return namespace
