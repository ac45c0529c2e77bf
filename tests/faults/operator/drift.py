"""DR: everything that the operator manages is changed by hand, one thing at a time, and must be put right in ten
seconds.

What others have put on the same objects, and their own objects, must stay as they are; and nothing else may go.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tenantry.errors import Forbidden, Invalid, NotFound
from tenantry.names import FINALIZER
from tenantry.resources import (
    APP_PROJECTS,
    NAMESPACES,
    TENANTS,
)
from tests.faults.family import Broken, Defect, Family, Lane
from tests.faults.inputs.arena import Arena, arena
from tests.faults.inputs.subject import Objects, Subject, merge_patch
from tests.faults.operator.canonical import differences, renamed
from tests.faults.operator.furnished import (
    SOMEBODY,
    THEIRS,
    Furnished,
    called_of,
    exact_state,
    foreign_versions,
    furnish,
)
from tests.faults.operator.handiwork import altered, owned_paths, removed, spelled
from tests.faults.operator.observer import KINDS, Key
from tests.faults.stage import Stage
from tests.support.eventually import eventually

__all__ = ["FAMILY"]

_RESOURCES = {resource.kind: resource for resource in KINDS}
_CLAIMED = (NAMESPACES.kind, APP_PROJECTS.kind)
"""Kinds of which one without any mark of ours is somebody else's."""
_WITHIN = 10.0
_TAKEN_APART = 60.0
_TENANTS = 8


class _Drifts:
    def __init__(self, parts: Arena, furnished: list[Furnished]) -> None:
        self._arena = parts
        self._free: asyncio.Queue[Furnished] = asyncio.Queue()
        for each in furnished:
            self._free.put_nowait(each)
        self.names = list(_names(furnished[0]))
        self.at_once = len(furnished)

    async def run(self, name: str) -> None:
        furnished = await self._free.get()
        try:
            await self._drift(furnished, name)
        except BaseException:
            self._free.put_nowait(await furnish(self._arena))  # what is left of the other is for nobody
            raise
        self._free.put_nowait(await self._again(furnished))

    async def _drift(self, furnished: Furnished, name: str) -> None:
        subject = furnished.subject
        where, _, how = name.rpartition("/")
        kind, called, path = where.split("/", 2)
        key = next(each for each in furnished.objects if called_of(each, subject) == f"{kind}/{called}")
        since = subject.now()
        if not await self._change(furnished.objects[key], key, path, how):
            return  # nobody can change it
        await self._repaired(furnished, gone={key} if how == "deleted" else set())
        going = {called_of(each, subject) for each in subject.lost(since)}
        if how != "deleted" and going:
            raise Broken(f"to repair {where} there was deleted: {going}")
        if how != "deleted" and await foreign_versions(self._arena, subject) != furnished.foreign:
            raise Broken(f"to repair {where} somebody else's objects were written to")

    async def _change(self, body: Mapping[str, Any], key: Key, path: str, how: str) -> bool:
        """Do it by hand; return whether the API server let that happen."""
        kind, namespace, name = key
        resource, kube = _RESOURCES[kind], self._arena.kube
        if how == "deleted":
            await kube.delete(resource, name, namespace or None)

            async def is_gone() -> bool:
                try:
                    return bool((await kube.get(resource, name, namespace or None))["metadata"]["uid"] != uid)
                except NotFound:
                    return True

            uid = body["metadata"]["uid"]
            # Of a namespace Kubernetes takes its time, which is not the operator's.
            await eventually(is_gone, within=_TAKEN_APART, what=f"{kind} {name} is gone")
            return True
        for other in _hand_made(body, path, how):
            patch = merge_patch(body, other)
            status = "status" if path.startswith("status") else None
            try:
                written = await kube.merge_patch(
                    resource, name, patch, namespace or None, subresource=status, field_manager=SOMEBODY
                )
            except (Invalid, Forbidden):
                continue
            if written["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
                return True
        return False

    async def _repaired(self, furnished: Furnished, gone: set[Key]) -> None:
        subject, found = furnished.subject, dict[str, Any]()
        # What was put on an object goes with it, and with its namespace.
        wanted = {
            path: value
            for path, value in furnished.state.items()
            if not (_is_mark(path) and any(_is_of(path, key, subject) for key in gone))
        }

        async def as_before() -> bool:
            nonlocal found
            objects = await subject.read()
            found = {**exact_state(objects, subject)}
            return found == wanted and all(_uid(objects, key) != _uid(furnished.objects, key) for key in gone)

        try:
            await eventually(as_before, within=_WITHIN, what="all is as before")
        except AssertionError as error:
            raise Broken("\n".join([f"not repaired in {_WITHIN:g} s:", *differences(wanted, found)])) from error

    async def _again(self, furnished: Furnished) -> Furnished:
        objects = await furnished.subject.read()
        if objects.keys() == furnished.objects.keys() and all(
            body["metadata"]["uid"] == furnished.objects[key]["metadata"]["uid"] for key, body in objects.items()
        ):
            return Furnished(furnished.subject, objects, furnished.state, furnished.foreign)
        await furnished.subject.clear()
        return await furnish(self._arena)


def _names(furnished: Furnished) -> list[str]:
    subject, names = furnished.subject, []
    for key, body in sorted(furnished.objects.items()):
        called = called_of(key, subject)
        if key[0] == TENANTS.kind:
            names.append(f"{called}/metadata.finalizers/removed")
            names += [f"{called}/status.{field}/{how}" for field in body["status"] for how in ("removed", "changed")]
            continue
        paths = [spelled(path) for path in owned_paths(body)]
        names += [f"{called}/{renamed(path, subject.name)}/{how}" for path in paths for how in ("changed", "removed")]
        names += [f"{called}/labels/stripped", f"{called}/itself/deleted"]
        if key[0] not in _CLAIMED:
            names.append(f"{called}/all metadata/stripped")
    return names


def _hand_made(body: Mapping[str, Any], path: str, how: str) -> list[dict[str, Any]]:
    metadata = dict(body["metadata"])
    if how == "stripped":
        for field in ("labels",) if path == "labels" else ("labels", "annotations"):
            metadata[field] = {THEIRS: "kept"}
        return [{**body, "metadata": metadata}]
    if path == "metadata.finalizers":
        metadata["finalizers"] = [each for each in metadata["finalizers"] if each != FINALIZER]
        return [{**body, "metadata": metadata}]
    token = body["metadata"].get("labels", {}).get("tenantry.dev/tenant", "")
    steps: tuple[str, ...]
    if path.startswith("status."):
        steps = ("f:status", "f:" + path.removeprefix("status."))
    else:
        steps = next(each for each in owned_paths(body) if renamed(spelled(each), token) == path)
    return [removed(body, steps)] if how == "removed" else list(altered(body, steps))


def _uid(objects: Objects, key: Key) -> str:
    return str(objects[key]["metadata"]["uid"])


def _is_mark(path: str) -> bool:
    return path.endswith((f"labels.{THEIRS}", f"annotations.{THEIRS}"))


def _is_of(path: str, key: Key, subject: Subject) -> bool:
    kind, namespace, name = (renamed(part, subject.name) for part in key)
    return path.startswith(f"{kind} {namespace}/{name}: ") or (kind == NAMESPACES.kind and f" {name}/" in path)


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[_Drifts]:
    async with arena(stage, defect) as parts:
        furnished = await asyncio.gather(*(furnish(parts) for _ in range(_TENANTS)))
        yield _Drifts(parts, list(furnished))
        await asyncio.gather(*(each.subject.clear() for each in furnished))


FAMILY = Family(
    name="DR",
    title="drift: each managed field, label and object, changed by hand",
    open=_open,
    sample=40,
    defect=Defect(
        text="a child that carries the right digest is taken for right",
        place="tests.faults.defects_inputs:trust_the_digest",
        cases=("ResourceQuota/tenantry/spec.hard.pods/changed",),
    ),
    lane=Lane.INPUTS,
)
