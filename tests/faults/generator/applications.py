"""E1: Argo CD's own ApplicationSet controller deletes no Application of a tenant that nobody has let go.

Each case is an ApplicationSet of ten to twenty tenants with a table and a generator of its own, which lives through
disasters drawn at random. Argo CD is made to ask all the time. A watch sees each Application that is given a
deletionTimestamp, or is replaced. What was let go, one by one or acknowledged, must go, and who comes must come.
"""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from tests.faults.family import Defect, Family, Lane
from tests.faults.generator.client import Trace
from tests.faults.generator.deletions import Applications, Owed
from tests.faults.generator.front import FAULTS
from tests.faults.generator.lives import Life
from tests.faults.generator.parts import seeded
from tests.faults.generator.schedule import draw_schedule
from tests.faults.stage import Stage
from tests.support.argocd import ArgoCD

__all__ = ["APPLICATIONS_KEPT"]

_CASES = 300


class _Schedules:
    """Cases `seed-N`."""

    at_once = 4
    names: Sequence[str] = tuple(f"seed-{number}" for number in range(_CASES))

    def __init__(self, stage: Stage, argocd: ArgoCD, applications: Applications, defect: Defect | None) -> None:
        self._stage = stage
        self._argocd = argocd
        self._applications = applications
        self._defect = defect

    async def run(self, name: str) -> None:
        trace, chance = Trace(), seeded(name)
        schedule = draw_schedule(chance, FAULTS)
        trace.note(f"{schedule.size} tenants, {schedule.kind}")
        mark = f"e1-{name.removeprefix('seed-')}-{secrets.token_hex(2)}"
        owed = self._applications.sets[mark] = Owed(trace)
        place = None if self._defect is None else self._defect.place
        try:
            async with AsyncExitStack() as stack:
                life = Life(mark, schedule, owed, chance=chance, trace=trace)
                await life.begin(self._stage, self._argocd, self._applications, stack, place)
                await life.go_through()
        finally:
            del self._applications.sets[mark]


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[_Schedules]:
    applications = Applications(await stage.kube())
    async with stage.argocd() as argocd, applications.followed():
        yield _Schedules(stage, argocd, applications, defect)


APPLICATIONS_KEPT = Family(
    name="E1",
    title="random disasters under Argo CD's own ApplicationSet controller",
    open=_open,
    sample=2,
    defect=Defect(
        "the guard lets everybody go",
        "tests.faults.generator.defects:hold_nobody",
        cases=("seed-43", "seed-53"),
    ),
    drawn=True,
    lane=Lane.GENERATOR,
)
