"""Decides what to do about each namespace that a Tenant asks for. Pure."""

from dataclasses import dataclass
from typing import Any

from tenantry.classes import TenantNamespace
from tenantry.names import ARGOCD_NAMESPACE
from tenantry_operator.actions import Action, ApplyNamespace, CreateNamespace
from tenantry_operator.children import namespace as namespaces
from tenantry_operator.children.namespace import Namespace
from tenantry_operator.status import namespace_status

__all__ = ["Look", "look_at"]


@dataclass(frozen=True, slots=True)
class Look:
    """What is to be done about one wanted namespace, and what to say of it in the status."""

    entry: dict[str, Any]
    action: Action | None = None
    problem: str = ""
    waiting: str = ""


def look_at(
    tenant: str, wanted: TenantNamespace, present: Namespace | None, failure: str, argocd: str = ARGOCD_NAMESPACE
) -> Look:
    """Return what is left to do about the namespace `wanted`.

    `failure`: what the server last refused of it, or ""; `argocd`: where Argo CD is.
    """
    name = wanted.name
    body = namespaces.build(tenant, name, labels=wanted.labels, annotations=wanted.annotations, entry=wanted.entry)
    if why := namespaces.refusal(tenant, name, present, argocd):
        problem = f"namespace {name} is refused: {why}"
        return Look(namespace_status(name, ready=False, phase="Refused", reason=problem), problem=problem)
    if present is not None and present.terminating:
        waiting = f"namespace {name} is being deleted; it is created again once it is gone"
        return Look(namespace_status(name, ready=False, phase="Terminating", reason=waiting), waiting=waiting)
    # What agrees but is not the tenant's own yet has a label that somebody else wrote: it is applied, and so made ours.
    if present is not None and present.owner == tenant and namespaces.agrees(present, body):
        return Look(namespace_status(name, ready=True))
    action = _towards(body, present)
    if failure:
        return Look(namespace_status(name, ready=False, phase="Pending", reason=failure), action, problem=failure)
    waiting = f"namespace {name} is not as it should be yet"
    return Look(namespace_status(name, ready=False, phase="Pending", reason=waiting), action, waiting=waiting)


def _towards(body: dict[str, Any], present: Namespace | None) -> Action:
    if present is None:
        return CreateNamespace(body)
    return ApplyNamespace(body, present.uid, namespaces.stale_patch(present, body))
