"""T2, split views: each kind comes from another replica of the API server, each of them behind by something else.

`start-N`: the operator is started while each kind is as it was at some revision of a trace, or as it is; then they
catch up one by one. `namespaces/NN`: only these are behind, at the NNth revision of a story. `lag-N`: it is started
anew in the middle of several workloads; lists are of the present, and each watch brings its events in gusts of its own.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator

from tests.faults.family import Defect, Family, Lane, Trials
from tests.faults.operator.hand import Hand
from tests.faults.operator.pace import PROMPT
from tests.faults.operator.stories import STORIES, named
from tests.faults.operator.travel import CACHED, Traveller
from tests.faults.operator.workloads import WORKLOADS, Workload
from tests.faults.operator.world import World, opened
from tests.faults.stage import Stage
from tests.support.kube_views import Event, Frozen, Lagging, Split, View

__all__ = ["T2"]

_LAGS = 10
_STARTS = 30
_STORY = "let-go-and-adopted"
_BEHIND = [f"namespaces/{number:02d}" for number in range(1, 25)]
_PRESENT = 0.3
_PAUSE = 0.3
_WORKLOADS = 6
_LONGEST = 2.0
_OPEN = 0.1


class SplitViews:
    """The cases, drawn from the seeds in their names."""

    at_once = 1

    def __init__(self, world: World, traveller: Traveller) -> None:
        self._world = world
        self._traveller = traveller
        self.names = [f"lag-{seed}" for seed in range(1, _LAGS + 1)]
        self.names += [f"start-{seed}" for seed in range(1, _STARTS + 1)]
        self.names += _BEHIND

    async def run(self, name: str) -> None:
        """Split the operator's view as the seed says."""
        rng = random.Random(f"T2 {name}")  # noqa: S311
        if name in _BEHIND:
            await self._behind(name)
        else:
            await (self._lag(rng) if name.startswith("lag") else self._start(rng))

    async def _behind(self, name: str) -> None:
        trace = await self._traveller.trace()
        kind, _, number = name.partition("/")
        revisions = trace.revisions[_STORY]
        view = Frozen(revisions[min(int(number), len(revisions)) - 1])

        async def release() -> None:
            view.release()

        where = f"started with {kind} at revision {number} of {_STORY}, and all else at present"
        await self._traveller.go(trace, Split({kind: view}), release, where)

    async def _start(self, rng: random.Random) -> None:
        trace = await self._traveller.trace()
        revisions = sorted({each for story in trace.revisions.values() for each in story})
        behind = [kind for kind in CACHED if rng.random() > _PRESENT]
        views = {kind: Frozen(rng.choice(revisions)) for kind in behind}
        order = [(views[kind], rng.uniform(0, _PAUSE)) for kind in rng.sample(behind, len(behind))]

        async def release() -> None:
            for view, pause in order:
                view.release()
                await asyncio.sleep(pause)

        places = {kind: revisions.index(view.at) + 1 for kind, view in views.items()}
        where = f"started with each kind at another of {len(revisions)} revisions ({places})"
        await self._traveller.go(trace, Split(views), release, where)

    async def _lag(self, rng: random.Random) -> None:
        workloads = rng.sample(sorted(WORKLOADS), _WORKLOADS)
        lags = {kind: (rng.uniform(_OPEN, _LONGEST), rng.random()) for kind in CACHED}
        restart = rng.uniform(0.2, 2.0)

        def seconds(event: Event) -> float:
            period, phase = lags[event.resource]
            since = (time.monotonic() + phase) % period
            return 0.0 if since < _OPEN else period - since

        world = self._world
        hands = await asyncio.gather(*(world.prepared(WORKLOADS[each]) for each in workloads))
        for hand in hands:
            world.turn(hand)
        world.proxy.view = Split(dict.fromkeys(CACHED, Lagging(seconds)))
        try:
            runs = [self._run(WORKLOADS[each], hand) for each, hand in zip(workloads, hands, strict=True)]
            ends = await asyncio.gather(self._restart(restart), *runs, return_exceptions=True)
        finally:
            world.proxy.view = View()
            for hand in hands:
                world.clear(hand)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    async def _run(self, workload: Workload, hand: Hand) -> None:
        await workload.then(hand)
        await self._world.judge(hand, workload).ended()

    async def _restart(self, after: float) -> None:
        await asyncio.sleep(after)
        await self._world.kill()
        await self._world.operator.start()


@contextlib.asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[Trials]:
    async with opened(stage, defect, pace=PROMPT) as world:
        traveller = Traveller(world, STORIES if defect is None else named(_STORY))
        yield SplitViews(world, traveller)
        await traveller.clear()


T2 = Family(
    name="T2",
    title="each kind from another replica, all of them behind by something else",
    open=_open,
    sample=1,
    defect=Defect(
        text="what is in a namespace is deleted without a look at whether that is still the tenant's",
        place="tests.faults.operator.defects_views:trusts_namespaces",
        cases=_BEHIND[6:],
    ),
    drawn=True,
    lane=Lane.INPUTS,
)
