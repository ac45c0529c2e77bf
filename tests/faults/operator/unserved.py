"""M2: the CRD of AppProjects goes away, with every AppProject, while tenants change, and comes back empty.

Meanwhile each Tenant must say so and have all the rest; afterwards each must be as a new one of its last spec.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.resources import APP_PROJECTS, CRDS, TENANTS
from tests.faults.family import Broken, Defect, Family, Lane
from tests.faults.inputs.arena import Arena, arena
from tests.faults.inputs.subject import Subject
from tests.faults.operator.canonical import State, differences
from tests.faults.operator.furnished import EVERYTHING
from tests.faults.operator.observer import KINDS
from tests.faults.stage import Stage
from tests.support.eventually import eventually

__all__ = ["FAMILY"]

_CASES = 6
_TENANTS = 4
_WITHIN = 15.0
_CRD = f"{APP_PROJECTS.plural}.{APP_PROJECTS.group}"
_SPECS: tuple[dict[str, Any], ...] = (
    EVERYTHING,
    {**EVERYTHING, "argocd": {"enabled": True}},
    {key: value for key, value in EVERYTHING.items() if key != "argocd"},
)


class _Outages:
    def __init__(self, parts: Arena, wanted: list[State]) -> None:
        self._arena = parts
        self._wanted = wanted
        self.names = [f"seed-{number}" for number in range(_CASES)]
        self.at_once = 1

    async def run(self, name: str) -> None:
        random = Random(int(name.removeprefix("seed-")))  # noqa: S311 # no secret, and it must come again
        subjects = [self._arena.subject() for _ in range(_TENANTS)]
        before = [random.randrange(len(_SPECS)) for _ in subjects]
        after = [random.randrange(len(_SPECS)) for _ in subjects]
        for subject, chosen in zip(subjects, before, strict=True):
            await subject.become(_SPECS[chosen])
        async with _unserved(self._arena.kube):
            for subject, chosen in zip(subjects, after, strict=True):
                await subject.write(_SPECS[chosen])
            for subject, had, chosen in zip(subjects, before, after, strict=True):
                if "argocd" in _SPECS[chosen]:
                    await _says_so(subject, f"from spec {had} to {chosen}")
        for subject, had, chosen in zip(subjects, before, after, strict=True):
            await self._judge(subject, self._wanted[chosen], f"from spec {had} to {chosen}")
            await subject.clear()

    async def _judge(self, subject: Subject, wanted: State, what: str) -> None:
        found: State = {}

        async def as_wanted() -> bool:
            nonlocal found
            found = await subject.state(await subject.read())
            return found == wanted

        try:
            await eventually(as_wanted, within=_WITHIN, what="each tenant is as its spec says")
        except AssertionError as error:
            raise Broken(
                "\n".join([f"AppProjects are back, and not all is ({what}):", *differences(wanted, found)])
            ) from error


async def _says_so(subject: Subject, what: str) -> None:
    def said() -> bool:
        tenant = subject.seen()[TENANTS.kind, "", subject.name]
        found = {each["type"]: each for each in tenant["status"]["conditions"]}
        rest = [
            found[kind]["status"] for kind in ("NamespacesReady", "QuotaReady", "NetworkPoliciesReady", "AccessReady")
        ]
        return bool(found["ProjectReady"]["reason"] == "ArgoCDNotInstalled" and set(rest) == {"True"})

    await eventually(said, within=_WITHIN, what=f"{subject.name} has all but its AppProject and says so ({what})")


@asynccontextmanager
async def _unserved(kube: Kube) -> AsyncIterator[None]:
    crd = await kube.get(CRDS, _CRD)
    metadata = {key: crd["metadata"][key] for key in ("name", "labels", "annotations") if key in crd["metadata"]}
    await kube.delete(CRDS, _CRD)
    try:
        await eventually(lambda: _is_gone(kube), within=_WITHIN, what="AppProjects are no longer served")
        yield
    finally:
        await kube.create(CRDS, {"metadata": metadata, "spec": crd["spec"]})
        await eventually(lambda: kube.list(APP_PROJECTS), within=_WITHIN, what="AppProjects are served again")


async def _is_gone(kube: Kube) -> bool:
    gone = 0
    for read in (kube.get(CRDS, _CRD), kube.list(APP_PROJECTS)):
        try:
            await read
        except NotFound:
            gone += 1
    return gone == 2


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[_Outages]:
    # A watch of what is not served any more ends.
    seen = [resource for resource in KINDS if resource is not APP_PROJECTS]
    async with arena(stage, defect, kinds=seen) as parts:
        subjects = [parts.subject() for _ in _SPECS]
        objects = await asyncio.gather(*(subject.become(spec) for subject, spec in zip(subjects, _SPECS, strict=True)))
        yield _Outages(parts, [await each.state(found) for each, found in zip(subjects, objects, strict=True)])
        for subject in subjects:
            await subject.clear()


FAMILY = Family(
    name="M2",
    title="AppProjects are not served for a while, and then there are none",
    open=_open,
    sample=1,
    defect=Defect(
        text="what is known of AppProjects is kept for true while they are not served",
        place="tests.faults.defects_inputs:believe_in_projects",
        cases=("seed-0",),
    ),
    drawn=True,
    lane=Lane.INPUTS,
)
