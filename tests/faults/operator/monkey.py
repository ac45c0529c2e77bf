"""M1: a monkey plays with several tenants at once, their owners change their minds meanwhile; then both stop.

Once they have, each Tenant must be as a new one of its last spec, nothing of it may be left over, and nobody may write
any more. On the way no namespace goes that the monkey has not deleted, no binding is to a role that is nobody's to
give, and what is not the tenant's is not touched.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from tenantry.resources import NAMESPACES, RESOURCE_QUOTAS, ROLE_BINDINGS, TENANTS
from tests.faults.family import Broken, Defect, Family, Lane
from tests.faults.inputs.arena import Arena, arena
from tests.faults.inputs.subject import Objects, Subject, state_of
from tests.faults.operator.antics import Monkey
from tests.faults.operator.canonical import State, differences, renamed
from tests.faults.operator.furnished import EVERYTHING
from tests.faults.operator.observer import Change
from tests.faults.stage import Stage
from tests.support.eventually import eventually

__all__ = ["FAMILY"]

_CASES = 30
_TENANTS = 3
_STEPS = (8, 14)
_PAUSES = (0.0, 0.0, 0.05, 0.3, 1.0)
_MIND = 0.15
_WITHIN = 60.0
"""Seconds, and as many more as the game took: a back-off that doubles is at most as long as all that was before it."""
_QUIET = 2.0
_ACCOUNT = "system:serviceaccount:tenantry-system:tenantry-operator"
_ROLES = {"admin", "edit", "view"}
_SPECS: tuple[Mapping[str, Any], ...] = (
    EVERYTHING,
    {"namespaces": {"items": [{"name": "a"}, {"name": "b"}]}, "networkPolicies": {"isolation": "Tenant"}},
    {
        key: value
        for key, value in EVERYTHING.items()
        if key not in ("networkPolicies", "additionalRoleBindings", "argocd")
    },
)


class _Games:
    def __init__(self, parts: Arena, wanted: list[State]) -> None:
        self._arena = parts
        self._wanted = wanted
        self.names = [f"seed-{number}" for number in range(_CASES)]
        self.at_once = 4

    async def run(self, name: str) -> None:
        seed = int(name.removeprefix("seed-"))
        games = [self._game(Random(seed * _TENANTS + number)) for number in range(_TENANTS)]  # noqa: S311 # no secret
        try:
            async with asyncio.TaskGroup() as group:
                for game in games:
                    group.create_task(game)
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _game(self, random: Random) -> None:
        subject, kube, begun = self._arena.subject(), self._arena.kube, time.monotonic()
        chosen = random.randrange(len(_SPECS))
        await kube.create(NAMESPACES, {"metadata": {"name": f"{subject.name}-theirs", "labels": {"theirs": "kept"}}})
        await subject.become(_SPECS[chosen])
        monkey = Monkey(kube, subject, random, _ACCOUNT)
        for _ in range(random.randint(*_STEPS)):
            if random.random() < _MIND:
                chosen = random.randrange(len(_SPECS))
                monkey.steps.append(f"the owner wants spec {chosen}")
                await subject.write(_SPECS[chosen])
            await monkey.play()
            await asyncio.sleep(random.choice(_PAUSES))  # the monkey's own time; nothing waits for it
        await monkey.end()
        await self._judge(subject, monkey, self._wanted[chosen], within=_WITHIN + time.monotonic() - begun)
        await subject.clear()

    async def _judge(self, subject: Subject, monkey: Monkey, wanted: State, *, within: float) -> None:
        found: State = {}
        _check_history(subject, monkey)

        async def as_wanted() -> bool:
            nonlocal found
            state = state_of(await subject.read(), subject.name)
            found = {path: value for path, value in state.items() if path in wanted or not _is_theirs(path, monkey)}
            there = self._arena.observer.objects[subject.name].values()
            leaving = any("deletionTimestamp" in body["metadata"] for body in there)
            return found == wanted and not leaving and not self._surplus(subject, wanted)

        try:
            await eventually(as_wanted, within=within, what="each tenant is as its spec says")
        except AssertionError as error:
            lines = [f"left over: {self._surplus(subject, wanted)}", *differences(wanted, found), *monkey.steps]
            raise Broken("\n".join([f"not within {within:.0f} s as its spec says:", *lines])) from error
        before = _versions(await subject.read())
        await asyncio.sleep(_QUIET)  # for so long nobody may write
        if (after := _versions(await subject.read())) != before:
            raise Broken("\n".join(["writes go on:", *differences(before, after), *monkey.steps]))
        _check_history(subject, monkey)

    def _surplus(self, subject: Subject, wanted: State) -> list[str]:
        """Return our objects that are there and not wanted, whatever their labels say by now."""
        found = {
            renamed(f"{kind} {namespace}/{name}", subject.name)
            for kind, namespace, name in self._arena.observer.objects[subject.name]
            if name.startswith("tenantry") or kind not in (NAMESPACES.kind, RESOURCE_QUOTAS.kind)
        }
        return sorted(found - {path.partition(": ")[0] for path in wanted})


def _versions(objects: Objects) -> dict[str, Any]:
    # The quota controller counts in its own time, and the status follows it.
    versions: dict[str, Any] = {}
    for (kind, namespace, name), body in objects.items():
        if kind == TENANTS.kind:
            versions[kind] = {key: value for key, value in body["status"].items() if key != "quota"}
        elif kind != RESOURCE_QUOTAS.kind:
            versions[f"{kind} {namespace}/{name}"] = body["metadata"]["resourceVersion"]
    return versions


def _check_history(subject: Subject, monkey: Monkey) -> None:
    for change in subject.history():
        if problem := _wrong(change, subject, monkey):
            raise Broken("\n".join([problem, *monkey.steps]))


def _wrong(change: Change, subject: Subject, monkey: Monkey) -> str:
    kind, _, name = change.key
    metadata = change.body["metadata"]
    if kind == NAMESPACES.kind and name == f"{subject.name}-theirs" and change.kind != "ADDED":
        return f"a namespace of somebody else's was {change.kind}: {metadata}"
    if kind == NAMESPACES.kind and name == f"{subject.name}-a" and "deletionTimestamp" in metadata:
        return "" if metadata["uid"] in monkey.killed else f"a namespace went that every spec wants: {metadata}"
    if kind == ROLE_BINDINGS.kind and change.body["roleRef"]["name"] not in _ROLES:
        return f"a binding to {change.body['roleRef']}"
    if kind == TENANTS.kind and change.kind == "DELETED":
        return "the Tenant is gone"
    return ""


def _is_theirs(path: str, monkey: Monkey) -> bool:
    return path in monkey.taken or path.endswith(("labels.theirs", "annotations.theirs"))


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[_Games]:
    async with arena(stage, defect) as parts:
        subjects = [parts.subject() for _ in _SPECS]
        objects = [await subject.become(spec) for subject, spec in zip(subjects, _SPECS, strict=True)]
        yield _Games(parts, [state_of(each, subject.name) for each, subject in zip(objects, subjects, strict=True)])
        for subject in subjects:
            await subject.clear()


FAMILY = Family(
    name="M1",
    title="a monkey: random writes of third parties on three tenants at once",
    open=_open,
    sample=1,
    defect=Defect(
        text="a namespace that somebody has changed is deleted and made anew",
        place="tests.faults.defects_inputs:make_namespaces_anew",
        tries=10,
    ),
    drawn=True,
    lane=Lane.INPUTS,
)
