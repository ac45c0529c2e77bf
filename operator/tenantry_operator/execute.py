"""Carries out the actions of a plan against the API server."""

from collections.abc import Callable
from typing import Any

from tenantry.errors import Conflict, NotFound
from tenantry.kube import Kube
from tenantry.names import FIELD_MANAGER, FINALIZER
from tenantry.resources import NAMESPACES, TENANTS
from tenantry.telemetry import get_logger
from tenantry_operator.actions import (
    Action,
    AddFinalizer,
    ApplyNamespace,
    CreateNamespace,
    DeleteNamespace,
    ReleaseNamespace,
    RemoveFinalizer,
)
from tenantry_operator.children.namespace import observe
from tenantry_operator.entry import Entry

__all__ = ["execute"]

log = get_logger(__name__)

Absorb = Callable[[Entry, dict[str, Any]], None]


async def execute(kube: Kube, entry: Entry, action: Action, *, absorb: Absorb) -> None:
    """Do one action for the Tenant `entry`; `absorb` gets every object that the server answers with.

    Raises KubeError: Conflict when the cluster is no longer as the plan saw it.
    """
    match action:
        case AddFinalizer():
            absorb(entry, await kube.merge_patch(TENANTS, entry.name, _finalizer_patch(entry, present=True)))
        case RemoveFinalizer():
            await _remove_finalizer(kube, entry)
        case CreateNamespace(body=body):
            absorb(entry, await _create(kube, body))
            log.info("created a namespace", tenant=entry.name, namespace=action.target)
        case ApplyNamespace(body=body, uid=uid, stale=stale):
            absorb(entry, await _apply(kube, body, uid))
            if stale is not None:
                absorb(entry, await _patch(kube, action.target, stale))
            log.info("brought a namespace into line", tenant=entry.name, namespace=action.target)
        case ReleaseNamespace(target=target, patch=patch):
            absorb(entry, await _patch(kube, target, patch))
            log.info("released a namespace", tenant=entry.name, namespace=target)
        case DeleteNamespace():
            await _delete(kube, entry, action, absorb)


async def _create(kube: Kube, body: dict[str, Any]) -> dict[str, Any]:
    whole = {"apiVersion": NAMESPACES.api_version, "kind": NAMESPACES.kind, **body}
    return await kube.create(NAMESPACES, whole, field_manager=FIELD_MANAGER)


async def _apply(kube: Kube, body: dict[str, Any], uid: str) -> dict[str, Any]:
    pinned = {**body, "metadata": {**body["metadata"], "uid": uid}}
    return (await kube.apply(NAMESPACES, pinned, field_manager=FIELD_MANAGER)).object


async def _patch(kube: Kube, name: str, patch: dict[str, Any]) -> dict[str, Any]:
    return await kube.merge_patch(NAMESPACES, name, patch, field_manager=FIELD_MANAGER)


async def _delete(kube: Kube, entry: Entry, action: DeleteNamespace, absorb: Absorb) -> None:
    try:
        body = await kube.get(NAMESPACES, action.target)
    except NotFound:
        return
    live = observe(body)
    absorb(entry, body)
    if live.uid != action.uid or live.owner != entry.name:
        raise Conflict(f"namespace {action.target} is no longer that of tenant {entry.name}; it is not deleted")
    if live.terminating:
        return
    await kube.delete(NAMESPACES, action.target, uid=live.uid, resource_version=live.resource_version)
    log.info("deleted a namespace", tenant=entry.name, namespace=action.target)


async def _remove_finalizer(kube: Kube, entry: Entry) -> None:
    try:
        await kube.merge_patch(TENANTS, entry.name, _finalizer_patch(entry, present=False))
    except NotFound:
        return
    log.info("tenant is off-boarded", tenant=entry.name)


def _finalizer_patch(entry: Entry, *, present: bool) -> dict[str, Any]:
    # The whole list, so the resourceVersion must be the one that it was read at: else others' finalizers could be lost.
    others = [name for name in entry.finalizers if name != FINALIZER]
    finalizers = [*others, FINALIZER] if present else others
    return {"metadata": {"uid": entry.uid, "resourceVersion": str(entry.version), "finalizers": finalizers}}
