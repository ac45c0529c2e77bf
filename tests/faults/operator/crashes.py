"""C1, C2 and C4: the operator is killed after each of its writes, whether it has heard of it or not, and once more."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.faults.family import Defect, Family, Trials
from tests.faults.operator.cuts import Case, Cut
from tests.faults.operator.lots import Lots
from tests.faults.operator.workloads import WORKLOADS
from tests.faults.operator.world import World, opened
from tests.faults.stage import Stage

__all__ = ["C1", "C2", "C4"]

_TOGETHER = 24
_PAIRS = 240


class _Crashes:
    """Cases that are read from their names."""

    def __init__(self, world: World, names: Sequence[str], read: Callable[[str], Case]) -> None:
        self.names = names
        self.at_once = _TOGETHER
        self._read = read
        self._lots = Lots(world)

    async def run(self, name: str) -> None:
        """Run one case, together with others that begin at the same time."""
        await self._lots.run(self._read(name))


def _opens(
    names: Callable[[], Sequence[str]], read: Callable[[str], Case]
) -> Callable[[Stage, Defect | None], AbstractAsyncContextManager[Trials]]:
    @asynccontextmanager
    async def start(stage: Stage, defect: Defect | None) -> AsyncIterator[Trials]:
        async with opened(stage, defect) as world:
            yield _Crashes(world, names(), read)

    return start


def _points() -> list[str]:
    return [f"{name}/{at:02}" for name, workload in WORKLOADS.items() for at in range(1, workload.writes + 1)]


def _lost() -> list[str]:
    return [f"{point}/{then}" for point in _points() for then in ("killed", "retried")]


def _pairs() -> list[str]:
    """Draw where it is killed for the first time, and after how many of the writes that are left for the second."""
    draw = random.Random(4)  # noqa: S311 - draws cases
    longer = [workload for workload in WORKLOADS.values() if workload.writes > 2]
    drawn: dict[str, None] = {}
    while len(drawn) < _PAIRS:
        workload = draw.choices(longer, [each.writes for each in longer])[0]
        first = draw.randint(1, workload.writes - 1)
        drawn[f"{workload.name}/{first:02}/{draw.randint(1, workload.writes - first):02}"] = None
    return sorted(drawn)


def _read(name: str) -> Case:
    workload, *ats = name.split("/")
    return Case(WORKLOADS[workload], [Cut(int(at)) for at in ats])


def _read_lost(name: str) -> Case:
    workload, at, then = name.split("/")
    return Case(WORKLOADS[workload], [Cut(int(at), lost=True, kill=then == "killed")])


C1 = Family(
    name="C1",
    title="killed after each write",
    open=_opens(_points, _read),
    sample=8,
    defect=Defect(
        text="what is to be pruned is what this process itself has applied",
        place="tests.faults.defects_crash:prune_only_what_was_applied",
        cases=["prune/04"],
    ),
)
C2 = Family(
    name="C2",
    title="a write's answer lost, and killed or not",
    open=_opens(_lost, _read_lost),
    sample=8,
    defect=Defect(
        text="what may have been made or not is deleted, to begin anew",
        place="tests.faults.defects_crash:undo_what_is_unclear",
        cases=["full/10/retried"],
    ),
)
C4 = Family(
    name="C4",
    title="killed, and again while recovering",
    open=_opens(_pairs, _read),
    sample=8,
    defect=Defect(
        text="a start clears away what a predecessor has half done",
        place="tests.faults.defects_crash:clear_what_was_half_done",
        cases=["full/10/05"],
    ),
)
