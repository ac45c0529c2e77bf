"""Carries out the actions of a plan against the API server."""

from typing import Any, Protocol

from tenantry.errors import Conflict, NotFound
from tenantry.kube import Kube
from tenantry.names import FIELD_MANAGER, FINALIZER
from tenantry.resources import NAMESPACES, TENANTS
from tenantry.telemetry import get_logger
from tenantry_operator.actions import (
    Action,
    AddFinalizer,
    ApplyChild,
    ApplyNamespace,
    CreateNamespace,
    DeleteChild,
    DeleteNamespace,
    ReleaseNamespace,
    RemoveFinalizer,
)
from tenantry_operator.children.child import observe as observe_child
from tenantry_operator.children.namespace import observe
from tenantry_operator.entry import Entry

__all__ = ["Memory", "execute"]

log = get_logger(__name__)


class Memory(Protocol):
    """Takes in what writes did, so that the next look sees it without waiting for the watch."""

    def absorb(self, entry: Entry, body: dict[str, Any]) -> None:
        """Take in an object that the server answered with."""

    def discard(self, entry: Entry, action: DeleteChild) -> None:
        """Take in that an object is gone."""


async def execute(kube: Kube, entry: Entry, action: Action, memory: Memory) -> None:
    """Do one action for the Tenant `entry`.

    Raises KubeError: Conflict when the cluster is no longer as the plan saw it.
    """
    match action:
        case AddFinalizer():
            memory.absorb(entry, await kube.merge_patch(TENANTS, entry.name, _finalizer_patch(entry, present=True)))
        case RemoveFinalizer():
            await _remove_finalizer(kube, entry)
        case CreateNamespace(body=body):
            memory.absorb(entry, await kube.create(NAMESPACES, body, field_manager=FIELD_MANAGER))
            log.info("created a namespace", tenant=entry.name, namespace=action.target)
        case ApplyNamespace(body=body, uid=uid, stale=stale):
            memory.absorb(entry, await _apply(kube, body, uid))
            if stale is not None:
                memory.absorb(entry, await _patch(kube, action.target, stale))
            log.info("brought a namespace into line", tenant=entry.name, namespace=action.target)
        case ReleaseNamespace(target=target, patch=patch):
            memory.absorb(entry, await _patch(kube, target, patch))
            log.info("released a namespace", tenant=entry.name, namespace=target)
        case DeleteNamespace():
            await _delete(kube, entry, action, memory)
        case ApplyChild(child=child, first=first):
            applied = await kube.apply(child.resource, child.body, field_manager=FIELD_MANAGER, force=not first)
            memory.absorb(entry, applied.object)
            if not first:
                log.info("repaired an object", tenant=entry.name, object=action.target)
        case DeleteChild():
            await _delete_child(kube, entry, action)
            memory.discard(entry, action)


async def _apply(kube: Kube, body: dict[str, Any], uid: str) -> dict[str, Any]:
    pinned = {**body, "metadata": {**body["metadata"], "uid": uid}}
    return (await kube.apply(NAMESPACES, pinned, field_manager=FIELD_MANAGER)).object


async def _patch(kube: Kube, name: str, patch: dict[str, Any]) -> dict[str, Any]:
    return await kube.merge_patch(NAMESPACES, name, patch, field_manager=FIELD_MANAGER)


async def _delete(kube: Kube, entry: Entry, action: DeleteNamespace, memory: Memory) -> None:
    try:
        body = await kube.get(NAMESPACES, action.target)
    except NotFound:
        return
    live = observe(body)
    memory.absorb(entry, body)
    if live.uid != action.uid or live.owner != entry.name or live.entry is None:
        raise Conflict(f"namespace {action.target} is no longer that of tenant {entry.name}; it is not deleted")
    if live.terminating:
        return
    await kube.delete(NAMESPACES, action.target, uid=live.uid, resource_version=live.resource_version)
    log.info("deleted a namespace", tenant=entry.name, namespace=action.target)


async def _delete_child(kube: Kube, entry: Entry, action: DeleteChild) -> None:
    _, namespace, name = action.key
    try:
        live = await kube.get(action.resource, name, namespace)
        found = observe_child(action.resource, live)
        if found.uid != action.uid or found.owner != entry.name:
            raise Conflict(f"{action.target} is no longer that of tenant {entry.name}; it is not deleted")
        await kube.delete(action.resource, name, namespace, uid=found.uid, resource_version=found.resource_version)
    except NotFound:
        return
    log.info("deleted an object", tenant=entry.name, object=action.target)


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
