"""One Tenant of one case: its spec is set, and it is waited for and read as the API server has it."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from tenantry.classes import read_class, resolve
from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.model import parse_tenant
from tenantry.names import ADOPT_LABEL, DIGEST_ANNOTATION, TENANT_LABEL
from tenantry.render import render_tenant
from tenantry.resources import NAMESPACES, TENANT_CLASSES, TENANTS, Resource
from tests.faults.family import Broken
from tests.faults.inputs.values import named
from tests.faults.operator.canonical import State, canonical, differences
from tests.faults.operator.observer import KINDS, Change, Key, Observer, new_token
from tests.support.eventually import eventually

__all__ = ["AFTERWARDS", "Objects", "Subject", "merge_patch", "state_of"]

Object = dict[str, Any]
Objects = Mapping[Key, Mapping[str, Any]]

_WITHIN = 60.0
_WITHIN_SIGHT = 30.0
AFTERWARDS = "after its deletion, "
"""What the paths of what is left begin with."""


class Subject:
    """A Tenant with a name of its own, under an administrator's rights."""

    def __init__(self, kube: Kube, observer: Observer) -> None:
        self.name = new_token()
        self._kube = kube
        self._observer = observer
        self._spec: Mapping[str, Any] | None = None
        self._class: Mapping[str, Any] | None = None

    async def become(self, spec: Mapping[str, Any]) -> Objects:
        """Make the spec this and nothing else, and return what has become of it; Invalid if it is refused."""
        return await self.settled(await self.write(spec))

    async def reach(self, spec: Mapping[str, Any]) -> None:
        """Make the spec this and nothing else, and wait for the operator's judgement; Invalid if it is refused."""
        await self._judged(await self.write(spec))

    async def write(self, spec: Mapping[str, Any]) -> int:
        """Make the spec this and nothing else, and return the generation; Invalid if it is refused."""
        given = {"deletionPolicy": "Delete", **named(spec, self.name)}
        whole = {key: value for key, value in given.items() if value is not None}
        written = await self._write(TENANTS, whole, self._spec)
        self._spec = whole
        return int(written["metadata"]["generation"])

    async def write_class(self, spec: Mapping[str, Any]) -> None:
        """Make the TenantClass of the tenant's name this and nothing else; Invalid if it is refused."""
        whole = named(spec, self.name)
        await self._write(TENANT_CLASSES, whole, self._class)
        self._class = whole

    async def offer(self, suffix: str) -> None:
        """Have somebody else's namespace offered to the tenant."""
        metadata = {"name": self.name + suffix, "labels": {ADOPT_LABEL: self.name}}
        await self._kube.apply(NAMESPACES, {"metadata": metadata}, field_manager="somebody")

    async def settled(self, generation: int) -> Objects:
        """Wait until the operator says that it has done with this generation, and return what there is."""
        await self._judged(generation)

        async def standing() -> Objects | None:
            objects = await self.read()
            leaving = any("deletionTimestamp" in body["metadata"] for body in objects.values())
            return None if leaving else objects

        return await eventually(standing, within=_WITHIN, what=f"what Tenant {self.name} dropped is gone")

    async def _judged(self, generation: int) -> None:
        def judged() -> bool:
            tenant = self.seen().get((TENANTS.kind, "", self.name), {})
            status = tenant.get("status", {})
            found = {each["type"]: each["status"] for each in status.get("conditions", ())}
            return bool(status.get("observedGeneration", 0) >= generation and found["Reconciling"] == "False")

        await eventually(judged, within=_WITHIN, what=f"generation {generation} of Tenant {self.name} is judged")

    def seen(self) -> Objects:
        """Return the Tenant, and all that carries its label, as the observer has them: a moment late, and free.

        Without what is being deleted, for which Kubernetes takes its time.
        """
        there = self._observer.objects[self.name]
        leaving = {key for key, body in there.items() if "deletionTimestamp" in body["metadata"]}
        return {
            key: body
            for key, body in there.items()
            if key not in leaving and (NAMESPACES.kind, "", key[1]) not in leaving
            if key[0] == TENANTS.kind or body["metadata"].get("labels", {}).get(TENANT_LABEL) == self.name
        }

    async def read(self) -> Objects:
        """Return the Tenant, and all that carries its label, as they are now."""
        label = f"{TENANT_LABEL}={self.name}"
        rest = [resource for resource in KINDS if resource is not TENANTS]
        lists = await asyncio.gather(*(self._kube.list(resource, label_selector=label) for resource in rest))
        found: dict[Key, Mapping[str, Any]] = {
            (resource.kind, body["metadata"].get("namespace", ""), body["metadata"]["name"]): body
            for resource, listed in zip(rest, lists, strict=True)
            for body in listed["items"]
        }
        try:
            found[TENANTS.kind, "", self.name] = await self._kube.get(TENANTS, self.name)
        except NotFound:
            return found
        return found

    async def state(self, objects: Objects) -> State:
        """Return the objects' state in a form that is the same for every tenant, with what templates would get."""
        tenant = parse_tenant(objects[TENANTS.kind, "", self.name])
        known = {}
        if (name := tenant.spec.tenant_class_name) is not None:
            known[name] = read_class(await self._kube.get(TENANT_CLASSES, name))
        element = {"metadata": {}, "given": render_tenant(resolve(tenant, known)).element}
        return {**state_of(objects, self.name), **canonical({("element", "", ""): element}, self.name)}

    async def after_deletion(self, objects: Objects) -> State:
        """Delete the Tenant, and return the state of what is left of its namespaces."""
        await self._kube.delete(TENANTS, self.name)

        async def gone() -> bool:
            return not any(kind == TENANTS.kind for kind, _, _ in await self.read())

        await eventually(gone, within=_WITHIN, what=f"the Tenant {self.name} is gone")
        left: dict[Key, Mapping[str, Any]] = dict(await self.read())
        for kind, namespace, name in objects:
            if kind == NAMESPACES.kind:
                left[kind, namespace, name] = await self._namespace(name)
        return {f"{AFTERWARDS}{path}": value for path, value in state_of(left, self.name).items()}

    def lost(self, since: int) -> set[Key]:
        """Return what of the tenant's own was deleted in its history from that point on."""
        return {
            change.key
            for change in self._observer.history[self.name][since:]
            if change.kind == "DELETED" or "deletionTimestamp" in change.body["metadata"]
        }

    def history(self) -> Sequence[Change]:
        """Return what its objects have been, in order for each kind."""
        return self._observer.history[self.name]

    def now(self) -> int:
        """Return the present point of its history."""
        return len(self._observer.history[self.name])

    async def must_be(self, wanted: State, what: str) -> None:
        """Wait until the state is the wanted one; Broken, with what differs, if it does not become so."""
        found: State = {}

        async def same() -> bool:
            nonlocal found
            found = await self.state(self.seen())
            return found == wanted

        try:
            await eventually(same, within=_WITHIN_SIGHT, what=what)
        except AssertionError as error:
            raise Broken("\n".join([what, *differences(wanted, found)])) from error

    async def clear(self) -> None:
        """Let go of the Tenant without its namespaces, and of its class; nothing waits for it."""
        with suppress(NotFound):
            await self._kube.merge_patch(TENANTS, self.name, {"spec": {"deletionPolicy": "Retain"}})
            await self._kube.delete(TENANTS, self.name)
        with suppress(NotFound):
            await self._kube.delete(TENANT_CLASSES, self.name)
        self._observer.forget(self.name)

    async def _write(self, resource: Resource, spec: Mapping[str, Any], before: Mapping[str, Any] | None) -> Object:
        if before is None:
            return await self._kube.create(resource, {"metadata": {"name": self.name}, "spec": spec})
        # As `kubectl apply` does it. An apply on the server's side turns a map that becomes empty into null, and is
        # refused for it: kubernetes-sigs/structured-merge-diff.
        return await self._kube.merge_patch(resource, self.name, {"spec": merge_patch(before, spec)})

    async def _namespace(self, name: str) -> Mapping[str, Any]:
        try:
            return await self._kube.get(NAMESPACES, name)
        except NotFound:
            return {"metadata": {"name": "gone"}}


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> Object:
    """Return the JSON merge patch that makes the one the other."""
    patch: Object = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        held = before.get(key)
        if key in before and held == value:
            continue
        patch[key] = merge_patch(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return patch


def state_of(objects: Objects, name: str) -> State:
    """Return the objects' state in a form that is the same for every tenant and however it was reached."""
    return canonical({key: _essence(key[0], body) for key, body in objects.items()}, name)


def _essence(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    whole = body["metadata"]
    metadata = {key: whole[key] for key in ("labels", "annotations", "finalizers", "ownerReferences") if key in whole}
    if DIGEST_ANNOTATION in metadata.get("annotations", {}):
        metadata["annotations"] = {**metadata["annotations"], DIGEST_ANNOTATION: "of what is wanted"}
    if kind == NAMESPACES.kind:
        return {"metadata": metadata}
    if kind == TENANTS.kind:
        return {"metadata": metadata, "status": _judgement(body.get("status", {}))}
    rest = {key: value for key, value in body.items() if key not in ("metadata", "status", "apiVersion", "kind")}
    return {"metadata": metadata, **rest}


def _judgement(status: Mapping[str, Any]) -> dict[str, Any]:
    # The quota controller counts in its own time.
    quota = {key: value for key, value in status.get("quota", {}).items() if key not in ("used", "summary")}
    conditions = [
        {key: value for key, value in each.items() if key != "observedGeneration"}
        for each in status.get("conditions", ())
    ]
    kept = {key: value for key, value in status.items() if key != "observedGeneration"}
    return {**kept, "conditions": conditions, "quota": quota}
