"""A2: random sequences of changes of one Tenant, some before the last is done with, some refused (Acto's sequences).

In the end it must be as a new Tenant of the last spec, however it came there. On the way no namespace that every spec
has wanted goes, and no status contradicts itself.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from tenantry.errors import Invalid
from tenantry.resources import NAMESPACES, TENANTS
from tests.faults.family import Broken, Defect, Family, Lane
from tests.faults.inputs.arena import Arena, arena
from tests.faults.inputs.subject import Subject
from tests.faults.inputs.values import Row, named, tenant_rows, with_value
from tests.faults.operator.observer import Change
from tests.faults.stage import Stage

__all__ = ["FAMILY"]

_SEQUENCES = 1_000
_LENGTHS = (10, 12)
_WAITS, _REFUSED = 0.3, 0.1
_SIGHT = 10.0
"""Seconds until the observer must have seen what was judged."""
_SELDOM = "namespaces.items"
"""Kubernetes takes five seconds and some seventy requests for each namespace that goes."""
_TOLD_APART = {
    "deletionPolicy": "what was let go under Orphan does not come back unasked",
    "namespaces.quota": "what is there is never removed for it",
    "namespaces.pattern": "it is decided when the Tenant is made",
    "resourceQuotas.scope": "with other totals it is an overdraft, and then what was there stays",
}
"""Leaves whose effect depends on what was there before, and why; A1 has them."""


class _Sequences:
    def __init__(self, parts: Arena) -> None:
        self._arena = parts
        rows = tenant_rows().values()
        self._drawn = [row for row in rows if "[]" not in row.leaf and row.leaf not in _TOLD_APART]
        self._forbidden = [invalid.spec for row in rows for invalid in row.invalid.values()]
        self.names = [f"seed-{number}" for number in range(_SEQUENCES)]
        self.at_once = 8

    async def run(self, name: str) -> None:
        random = Random(int(name.removeprefix("seed-")))  # noqa: S311 # no secret, and it must come again
        subject, steps = self._arena.subject(), ["made"]
        spec: dict[str, Any] = {}
        generation = await subject.write(spec)
        lasting = _namespaces(spec, subject)
        for _ in range(random.randint(*_LENGTHS)):
            if random.random() < _REFUSED:
                await self._refused(subject, random.choice(self._forbidden))
                continue
            row = random.choice(self._drawn)
            if row.leaf == _SELDOM and random.random() < 0.5:
                continue
            value = random.choice(_drawable(row))
            changed = with_value(spec, row, value)
            steps.append(f"{row.leaf}: {value}")
            try:
                generation = await subject.write(changed)
            except Invalid as error:
                if not row.fixed or row.fixed not in str(error):
                    raise Broken(f"{' → '.join(steps)}: refused: {error}") from error
                continue
            spec = changed
            lasting &= _namespaces(spec, subject)
            if random.random() < _WAITS:
                await subject.judged(generation)
        await self._judge(subject, spec, generation, lasting, steps)
        await subject.clear()

    async def _refused(self, subject: Subject, forbidden: Mapping[str, Any]) -> None:
        try:
            await self._arena.kube.merge_patch(TENANTS, subject.name, {"spec": named(forbidden, subject.name)})
        except Invalid:
            return
        raise Broken(f"the API server takes {forbidden}")

    async def _judge(
        self, subject: Subject, spec: Mapping[str, Any], generation: int, lasting: set[str], steps: list[str]
    ) -> None:
        fresh = self._arena.subject()
        wanted = await fresh.state(await fresh.become(spec))
        await fresh.clear()
        await subject.judged(generation)
        trace = "\n".join([*steps, json.dumps(spec)])
        await subject.must_be(wanted, f"not as a new Tenant of the last spec, after\n{trace}", within=_SIGHT)
        if gone := lasting & {name for kind, _, name in subject.lost(0) if kind == NAMESPACES.kind}:
            raise Broken("\n".join([f"deleted on the way, though wanted all the time: {gone}", *steps]))
        for change in subject.history():
            if problem := _contradiction(change):
                raise Broken("\n".join([problem, *steps]))


def _drawable(row: Row) -> list[str]:
    # Thirty-two namespaces each time would be all that there is time for.
    return [value for value in row.values if (row.leaf, value) != ("namespaces.items", "boundary-1")]


def _namespaces(spec: Mapping[str, Any], subject: Subject) -> set[str]:
    items = spec.get("namespaces", {}).get("items")
    return {subject.name} if items is None else {f"{subject.name}-{item['name']}" for item in items}


def _contradiction(change: Change) -> str:
    """Return what is wrong with a state of a Tenant by itself."""
    status = change.body.get("status", {})
    if change.key[0] != TENANTS.kind or not status:
        return ""
    found = {each["type"]: each["status"] for each in status["conditions"]}
    generation = change.body["metadata"]["generation"]
    if status["observedGeneration"] > generation:
        return f"a status of generation {status['observedGeneration']}, and there were {generation}"
    if found["Ready"] == "True" and "True" in (found["Reconciling"], found["Stalled"]):
        return f"Ready, and yet {found}"
    if found["Ready"] == "True" and not all(each["ready"] for each in status["namespaces"]):
        return f"Ready, and yet {status['namespaces']}"
    return ""


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[_Sequences]:
    async with arena(stage, defect) as parts:
        yield _Sequences(parts)


FAMILY = Family(
    name="A2",
    title="random sequences of 10 to 12 changes of a Tenant",
    open=_open,
    sample=8,
    defect=Defect(
        text="a label that the spec no longer has stays on the namespace",
        place="tests.faults.defects_inputs:leave_labels",
        # Those take labels off, and let the operator see them before.
        cases=("seed-213", "seed-139", "seed-232", "seed-189"),
    ),
    drawn=True,
    lane=Lane.INPUTS,
)
