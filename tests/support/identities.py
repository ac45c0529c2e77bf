"""The services' own ServiceAccounts, and what the API server's audit log says of their requests.

Tests run the services under the rights that the manifests give them, so a missing right fails the test that needs it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from tenantry.names import ARGOCD_NAMESPACE
from tests.support.control_plane import ControlPlane

__all__ = ["Identities", "generator_pod", "install_identities", "refusals", "requests_of"]

_MANIFESTS = Path(__file__).parents[2] / "manifests"
_KINDS = {
    "Namespace",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
_NAMESPACE = "tenantry-system"
_FORBIDDEN = "forbid"


@dataclass(frozen=True, slots=True)
class Identities:
    """The namespace of the services, and a kubeconfig for each that acts as its ServiceAccount."""

    namespace: str
    operator: Path
    generator: Path


async def install_identities(plane: ControlPlane) -> Identities:
    """Apply the namespaces, the ServiceAccounts and the rights of manifests/base, nothing else."""
    bodies = yaml.safe_load_all(await plane.kubectl("kustomize", str(_MANIFESTS / "base")))
    # Some Roles are in Argo CD's namespace, which is there before Tenantry is installed.
    argocd = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ARGOCD_NAMESPACE}}
    wanted = [argocd, *(body for body in bodies if body and body["kind"] in _KINDS)]
    await plane.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(wanted))
    return Identities(
        namespace=_NAMESPACE,
        operator=await plane.service_account_kubeconfig(_NAMESPACE, "tenantry-operator"),
        generator=await plane.service_account_kubeconfig(_NAMESPACE, "tenantry-generator"),
    )


def generator_pod(name: str) -> dict[str, Any]:
    """Return a Pod as the generator's Deployment makes them. No kubelet runs it: a process of a test stands for it."""
    bodies = yaml.safe_load_all((_MANIFESTS / "base" / "generator.yaml").read_text())
    (template,) = [body["spec"]["template"] for body in bodies if body["kind"] == "Deployment"]
    return {"metadata": {"name": name, "labels": dict(template["metadata"]["labels"])}, "spec": template["spec"]}


def requests_of(plane: ControlPlane, account: str) -> Iterator[dict[str, Any]]:
    """Yield the audit event of each request that a ServiceAccount of the services has made."""
    user = f"system:serviceaccount:{_NAMESPACE}:{account}"
    for line in plane.audit_log.read_text().splitlines():
        event = json.loads(line)
        if event["user"]["username"] == user:
            yield event


def refusals(plane: ControlPlane) -> list[str]:
    """Return the requests of either service that RBAC has refused, while the API server was ready."""
    return [
        f"{account}: {event['verb']} {event['requestURI']}"
        for account in ("tenantry-operator", "tenantry-generator")
        for event in requests_of(plane, account)
        if event.get("annotations", {}).get("authorization.k8s.io/decision") == _FORBIDDEN
        and not _while_starting(plane, event)
    ]


def _while_starting(plane: ControlPlane, event: dict[str, Any]) -> bool:
    received = datetime.fromisoformat(event["requestReceivedTimestamp"])
    return any(started <= received <= ready for started, ready in plane.starts)
