"""T1, time travel: the operator is started on a view of the cluster as it once was, and then shown what has come since.

Sieve's stale-state pattern, for every revision of a trace in which things were given up and taken back.
"""

import contextlib
from collections.abc import AsyncIterator

from tests.faults.family import Defect, Family, Lane, Trials
from tests.faults.operator.pace import PROMPT
from tests.faults.operator.stories import STORIES, named
from tests.faults.operator.trace import Trace
from tests.faults.operator.travel import CACHED, Traveller
from tests.faults.operator.world import running
from tests.faults.stage import Stage
from tests.support.kube_views import Frozen

__all__ = ["T1"]


class TimeTravel:
    """The cases: STORY/NN is the NNth revision at which something of a story's has changed."""

    at_once = 1

    def __init__(self, traveller: Traveller, trace: Trace) -> None:
        self._traveller = traveller
        self.names = [
            f"{story}/{number:02d}"
            for story, revisions in trace.revisions.items()
            for number in range(1, len(revisions) + 1)
        ]

    async def run(self, name: str) -> None:
        """Start the operator in the past, let it act, show it the present, and see that nothing has come of it."""
        story, _, number = name.partition("/")
        trace = await self._traveller.trace()
        revisions = trace.revisions[story]
        view = Frozen(revisions[min(int(number), len(revisions)) - 1], CACHED)

        async def release() -> None:
            view.release()

        await self._traveller.go(trace, view, release, f"started at revision {number} of {story}")


@contextlib.asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[Trials]:
    async with running(stage, PROMPT if defect is None else f"{PROMPT},{defect.place}") as world:
        traveller = Traveller(world, STORIES if defect is None else named("recreated-by-hand"))
        yield TimeTravel(traveller, await traveller.trace())
        await traveller.clear()


T1 = Family(
    name="T1",
    title="started on an old view of the cluster, which then catches up",
    open=_open,
    sample=2,
    defect=Defect(
        text="a namespace is deleted by its name, without another look at anything",
        place="tests.faults.operator.defects_views:deletes_unseen",
        cases=["recreated-by-hand/14", "recreated-by-hand/15", "recreated-by-hand/16"],
    ),
    lane=Lane.INPUTS,
)
