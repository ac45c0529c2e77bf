"""A1: every leaf of the CRDs with every value, reached from every other value (Acto's single operations).

A Tenant whose leaf is changed must end as a new one that is made with the value, and show it; what both values want
must never go on the way. A class that lends or imposes the value must give the same as the Tenant's own word.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tenantry.errors import Invalid
from tests.faults.family import Broken, Defect, Family, Lane
from tests.faults.inputs.arena import Arena, arena
from tests.faults.inputs.leaves import LENT, class_leaves
from tests.faults.inputs.subject import AFTERWARDS, Objects, Subject, state_of
from tests.faults.inputs.values import ABSENT, Row, class_rows, tenant_rows
from tests.faults.operator.canonical import State, differences, renamed
from tests.faults.operator.observer import Key
from tests.faults.stage import Stage
from tests.support.eventually import eventually

__all__ = ["FAMILY"]

_OWN, _CLASS = "own", "class"
_OFFERED = "-offered"
_WITHIN = 20.0


class _Singles:
    def __init__(self, parts: Arena) -> None:
        self._arena = parts
        self._deployed: dict[tuple[str, str, bool], asyncio.Task[tuple[State, frozenset[Key]]]] = {}
        lent = [
            (part, row) for row in tenant_rows().values() for part in LENT if f"{part}.{row.leaf}" in class_leaves()
        ]
        rows = [
            *((_OWN, row) for row in tenant_rows().values()),
            *lent,
            *((_CLASS, row) for row in class_rows().values()),
        ]
        self.names = [f"{layer}/{row.leaf}/{value}" for layer, row in rows for value in row.values]
        self.at_once = 8

    async def run(self, name: str) -> None:
        layer, leaf, value = name.split("/")
        if layer == _OWN:
            await self._own(tenant_rows()[leaf], value)
        elif layer == _CLASS:
            await self._of_class(class_rows()[leaf], value)
        else:
            await self._lent(layer, tenant_rows()[leaf], value)

    async def _own(self, row: Row, value: str) -> None:
        wanted, objects = await self._fresh(row, value)
        await self._check_shown(row, value, wanted)
        reused: Subject | None = None
        for other in _but(row, value):
            subject = reused or self._arena.subject()
            _, others = await self._fresh(row, other)
            where = f"{row.leaf}: from {other} to {value}"
            since = subject.now()
            if row.fixed or row.kept or row.deleted or row.offered:
                # One that remembers more than its last value is of no more use.
                await self._from_new(row, subject, other, value, where)
            else:
                await subject.reach(row.values[other])
                since = subject.now()
                await subject.reach(row.values[value])
                await subject.must_be(wanted, f"{where}: not as a new Tenant with it")
                reused = subject
            if not row.deleted:
                _check_kept(subject, since, objects & others, where)
            if reused is None:
                await subject.clear()
        if reused is not None:
            await reused.clear()

    async def _from_new(self, row: Row, subject: Subject, other: str, value: str, where: str) -> None:
        wanted, _ = await self._fresh(row, value)
        before = await self._become(subject, row, other)
        try:
            after = await self._become(subject, row, value)
        except Invalid as error:
            await _check_refused(row, subject, before, str(error), where)
        else:
            await _check_taken(row, subject, before, after, wanted, where)

    async def _lent(self, part: str, row: Row, value: str) -> None:
        wanted, _ = await self._fresh(row, value, of_a_class=True)
        values = list(row.values)
        other = value if row.fixed or row.kept else values[values.index(value) - 1]
        subject = self._arena.subject()
        await subject.write_class({part: row.values[other]})
        if row.offered:
            await subject.offer(_OFFERED)
        await subject.become({"tenantClassName": subject.name, **({"deletionPolicy": None} if row.deleted else {})})
        await subject.write_class({part: row.values[value]})
        what = f"{part}.{row.leaf} of a class: from {other} to {value}: not as if the Tenant itself had it"
        await subject.must_be({path: held for path, held in wanted.items() if not path.startswith(AFTERWARDS)}, what)
        if row.deleted:
            left = await subject.after_deletion(await subject.read())
            if differing := differences({path: wanted[path] for path in wanted if path.startswith(AFTERWARDS)}, left):
                raise Broken("\n".join([what, *differing]))
        await subject.clear()

    async def _of_class(self, row: Row, value: str) -> None:
        fresh = self._arena.subject()
        await fresh.write_class(row.values[value])
        wanted = await fresh.state(await fresh.join(row.tenant))
        # What a limit keeps depends on what was there; so such a class is changed from no limit and to none.
        for other in [ABSENT] if row.kept and value != ABSENT else _but(row, value):
            subject = self._arena.subject()
            await subject.write_class(row.values[other])
            before = await subject.join(row.tenant)
            await subject.write_class(row.values[value])
            where = f"{row.leaf} of a class: from {other} to {value}"
            if row.kept and _is_stalled(wanted):
                await _check_complains(subject, before, where)
            else:
                await subject.must_be(wanted, f"{where}: not as with a new class")
            await subject.clear()
        await fresh.clear()

    async def _fresh(self, row: Row, value: str, *, of_a_class: bool = False) -> tuple[State, frozenset[Key]]:
        key = (row.leaf, value, of_a_class)
        if key not in self._deployed:
            self._deployed[key] = asyncio.create_task(self._deploy(row, value, of_a_class=of_a_class))
        return await self._deployed[key]

    async def _deploy(self, row: Row, value: str, *, of_a_class: bool) -> tuple[State, frozenset[Key]]:
        subject = self._arena.subject()
        if of_a_class:
            await subject.write_class({})
        objects = await self._become(subject, row, value, joining=of_a_class)
        state = await _state(row, subject, objects)
        await subject.clear()
        return state, frozenset(_renamed(key, subject.name) for key in objects)

    async def _become(self, subject: Subject, row: Row, value: str, *, joining: bool = False) -> Objects:
        if row.offered:
            await subject.offer(_OFFERED)
        spec = {**({"deletionPolicy": None} if row.deleted else {}), **row.values[value]}
        return await (subject.join(spec) if joining else subject.become(spec))

    async def _check_shown(self, row: Row, value: str, shown: State) -> None:
        if row.unseen or row.alike:
            return
        for other in _but(row, value):
            state, _ = await self._fresh(row, other)
            if state == shown and {value, other} != {ABSENT, row.default}:
                raise Broken(f"{row.leaf}: nothing shows whether it is {value} or {other}")


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[_Singles]:
    async with arena(stage, defect) as parts:
        yield _Singles(parts)


async def _state(row: Row, subject: Subject, objects: Objects) -> State:
    state = await subject.state(objects)
    return {**state, **await subject.after_deletion(objects)} if row.deleted else state


async def _check_taken(row: Row, subject: Subject, before: Objects, after: Objects, wanted: State, where: str) -> None:
    found = await _state(row, subject, after)
    differing = differences(wanted, found)
    if differing and row.kept and _is_stalled(found):
        where += ": it says that something is in the way, and yet changed what was there"
        differing = differences(_but_tenant(before, subject), _but_tenant(after, subject))
    if differing:
        raise Broken("\n".join([f"{where}: not as a new Tenant with it", *differing]))


async def _check_refused(row: Row, subject: Subject, before: Objects, error: str, where: str) -> None:
    if not row.fixed or row.fixed not in error:
        raise Broken(f"{where}: refused: {error}")
    if differing := differences(state_of(before, subject.name), state_of(await subject.read(), subject.name)):
        raise Broken("\n".join([f"{where}: refused, and yet changed", *differing]))


def _check_kept(subject: Subject, since: int, wanted: frozenset[Key], where: str) -> None:
    lost = {_renamed(key, subject.name) for key in subject.lost(since)} & wanted
    if lost:
        raise Broken(f"{where}: deleted on the way, though both want it: {sorted(lost)}")


async def _check_complains(subject: Subject, before: Objects, where: str) -> None:
    async def complains() -> bool:
        return _is_stalled(await subject.state(await subject.read()))

    await eventually(complains, within=_WITHIN, what=f"{where}: the Tenant says that it is over the limit")
    if differing := differences(_but_tenant(before, subject), _but_tenant(await subject.read(), subject)):
        raise Broken("\n".join([f"{where}: what was there was changed because of a limit", *differing]))


def _but(row: Row, value: str) -> list[str]:
    values = list(row.values)
    if row.heavy:
        return [values[values.index(value) - 1]]
    return [other for other in values if other != value]


def _but_tenant(objects: Objects, subject: Subject) -> State:
    return state_of({key: body for key, body in objects.items() if key[0] != "Tenant"}, subject.name)


def _is_stalled(state: State) -> bool:
    return any(value == "NeedsAttention" for value in state.values())


def _renamed(key: Key, name: str) -> Key:
    kind, namespace, called = key
    return kind, renamed(namespace, name), renamed(called, name)


FAMILY = Family(
    name="A1",
    title="each leaf of the CRDs, each value, from each other value",
    open=_open,
    sample=20,
    defect=Defect(
        text="the time zone of a sync window has no effect",
        place="tests.faults.defects_inputs:forget_time_zones",
        cases=("own/argocd.project.syncWindows[].timeZone/1",),
    ),
    lane=Lane.INPUTS,
)
