"""Carries out the actions of a plan against the API server."""

from contextlib import suppress
from typing import Any, Protocol

from tenantry.errors import Conflict, Invalid, NotFound
from tenantry.kube import Kube
from tenantry.names import FIELD_MANAGER, FINALIZER
from tenantry.resources import APP_PROJECTS, NAMESPACES, ROLE_BINDINGS, TENANTS, Resource
from tenantry.telemetry import get_logger
from tenantry_operator.actions import (
    Action,
    AddFinalizer,
    ApplyChild,
    ApplyNamespace,
    ApplyProject,
    CreateNamespace,
    CreateProject,
    DeleteChild,
    DeleteNamespace,
    DeleteProject,
    ReleaseNamespace,
    RemoveFinalizer,
)
from tenantry_operator.applications import check_unused
from tenantry_operator.children.child import Child, called
from tenantry_operator.children.child import observe as observe_child
from tenantry_operator.children.managed import is_ours
from tenantry_operator.children.namespace import observe
from tenantry_operator.children.project import observe as observe_project
from tenantry_operator.entry import Entry

__all__ = ["Memory", "execute"]

log = get_logger(__name__)


class Memory(Protocol):
    """Takes in what writes did, so that the next look sees it without waiting for the watch."""

    def absorb(self, entry: Entry, body: dict[str, Any]) -> None:
        """Take in an object that the server answered with."""

    def discard(self, entry: Entry, action: DeleteChild | DeleteProject) -> None:
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
            memory.absorb(entry, await _apply_pinned(kube, NAMESPACES, body, uid))
            if stale is not None:
                memory.absorb(entry, await _patch(kube, action.target, stale))
            log.info("brought a namespace into line", tenant=entry.name, namespace=action.target)
        case ReleaseNamespace(target=target, patch=patch):
            memory.absorb(entry, await _patch(kube, target, patch))
            log.info("released a namespace", tenant=entry.name, namespace=target)
        case DeleteNamespace():
            await _delete(kube, entry, action, memory)
        case ApplyChild(child=child, first=first, alone=alone):
            force = not first or (not alone and await _check_free(kube, child))
            memory.absorb(entry, await _apply_child(kube, child, force=force))
            if force:
                log.info("repaired an object", tenant=entry.name, object=action.target)
        case DeleteChild():
            await _delete_child(kube, entry, action)
            memory.discard(entry, action)
        case CreateProject(body=body):
            memory.absorb(entry, await _create_project(kube, body))
            log.info("created an AppProject", tenant=entry.name, object=action.target)
        case ApplyProject(child=child, uid=uid):
            memory.absorb(entry, await _apply_pinned(kube, APP_PROJECTS, child.body, uid))
            log.info("brought an AppProject into line", tenant=entry.name, object=action.target)
        case DeleteProject():
            await _delete_project(kube, entry, action)
            memory.discard(entry, action)


async def _apply_pinned(kube: Kube, resource: Resource, body: dict[str, Any], uid: str) -> dict[str, Any]:
    pinned = {**body, "metadata": {**body["metadata"], "uid": uid}}
    return (await kube.apply(resource, pinned, field_manager=FIELD_MANAGER)).object


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


async def _check_free(kube: Kube, child: Child) -> bool:
    """Return whether an object of that name is there and ours, whatever its labels say by now; Conflict if it isn't."""
    # Server-side apply joins an object of the same name wherever the two don't contradict each other: it would open
    # somebody's policy, or fill somebody's binding, and then call it ours to delete.
    _, namespace, name = child.key
    try:
        live = await kube.get(child.resource, name, namespace)
    except NotFound:
        return False
    if not is_ours(live["metadata"]):
        raise Conflict(f"{called(child.key)} exists and is not Tenantry's; delete it, or give it another name")
    return True


async def _apply_child(kube: Kube, child: Child, *, force: bool) -> dict[str, Any]:
    try:
        return (await kube.apply(child.resource, child.body, field_manager=FIELD_MANAGER, force=force)).object
    except NotFound as error:
        # The API server names the role as if it were a RoleBinding; of a namespace that is gone it says so.
        if child.resource != ROLE_BINDINGS or f'k8s.io "{child.body["roleRef"]["name"]}" not found' not in str(error):
            raise
        raise Invalid(f"{error}; create the ClusterRole, or name another") from error


async def _delete_child(kube: Kube, entry: Entry, action: DeleteChild) -> None:
    _, namespace, name = action.key
    try:
        live = await kube.get(action.resource, name, namespace)
        found = observe_child(action.resource, live)
        if found.uid != action.uid:
            return  # it is gone already, and another of its name is not what was to be deleted
        # One that we have known as the tenant's stays that when somebody takes its labels off.
        if found.owner not in (entry.name, None) or not is_ours(live["metadata"]):
            raise Conflict(f"{action.target} is no longer that of tenant {entry.name}; it is not deleted")
        await kube.delete(action.resource, name, namespace, uid=found.uid, resource_version=found.resource_version)
    except NotFound:
        return
    log.info("deleted an object", tenant=entry.name, object=action.target)


async def _create_project(kube: Kube, body: dict[str, Any]) -> dict[str, Any]:
    namespace = body["metadata"]["namespace"]
    try:
        return await kube.create(APP_PROJECTS, body, namespace, field_manager=FIELD_MANAGER)
    except NotFound as error:
        raise Invalid(f"{error}; is Argo CD elsewhere? Then say so in TENANTRY_ARGOCD_NAMESPACE") from error


async def _delete_project(kube: Kube, entry: Entry, action: DeleteProject) -> None:
    _, namespace, name = action.key
    try:
        found = observe_project(await kube.get(APP_PROJECTS, name, namespace))
    except NotFound:
        return
    live = found.present
    if live.uid != action.uid:
        return  # it is gone already, and another of its name is not what was to be deleted
    if found.owner not in (entry.name, None) or not found.ours:
        raise Conflict(f"{action.target} is no longer that of tenant {entry.name}; it is not deleted")
    await check_unused(kube, name, namespace)
    with suppress(NotFound):
        await kube.delete(APP_PROJECTS, name, namespace, uid=live.uid, resource_version=live.resource_version)
    log.info("deleted an AppProject", tenant=entry.name, object=action.target)


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
