"""One case that is cut at a write: its preparation, where it stops, and its verdict.

From its point on all its further writes are refused before they reach the API server; to the cluster that is the same
as an operator that was killed right there. So a case can wait at its point until others have come to theirs, and one
kill is exact for all of them.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.operator.ledger import Steering
from tests.faults.operator.workloads import Workload
from tests.faults.operator.world import World
from tests.support.eventually import eventually
from tests.support.kube_fates import Fate, LoseAck, Pass, Reject
from tests.support.kube_request import Exchange

__all__ = ["Case", "Cut", "Run"]

_REACH = 45.0
"""Seconds until a case must have come to its point."""
_REST = 1.5
"""Seconds at the end state after which a case is over, short of its point."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a case is interrupted: after its write `at` was carried out; `lost`: the operator gets no answer to it.

    `kill`: then the operator is killed; else it is left alone and has to try again.
    """

    at: int
    lost: bool = False
    kill: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """A workload and where it is interrupted; the writes of a second cut are counted from the restart before it."""

    workload: Workload
    cuts: Sequence[Cut]


class _Stop(Steering):
    """Lets writes pass up to number `at`."""

    def __init__(self, at: int, cut: Cut) -> None:
        self.reached = False
        self._at = at
        self._cut = cut

    def decide(self, number: int, exchange: Exchange) -> Fate:
        if self._cut.kill and (self.reached or number > self._at):
            return Reject(503, "ServiceUnavailable", "the operator is as good as dead")
        return LoseAck() if number == self._at and self._cut.lost else Pass()

    def committed(self, number: int, exchange: Exchange) -> None:
        self.reached |= number == self._at and self._cut.lost

    def delivered(self, number: int, exchange: Exchange) -> None:
        self.reached |= number == self._at


class Run:
    """A case under way. `verdict` is None while it has none, then whatever it failed with, or True."""

    def __init__(self, world: World, case: Case) -> None:
        self.case = case
        self.verdict: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._world = world
        self._hand = world.hand()
        self._judge = world.judge(self._hand, case.workload)
        self._page = world.turn(self._hand)
        self._stop = _Stop(0, Cut(0))
        self._script: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Bring about, undisturbed, what is there before the workload."""
        if self.case.workload.before is not None:
            await self.case.workload.before(self._hand)

    async def begin(self) -> None:
        """Begin the workload, which will come as far as the first cut."""
        self._page = self._world.turn(self._hand)
        self._arm(self.case.cuts[0])
        self._script = asyncio.create_task(self.case.workload.then(self._hand))

    async def stand(self, index: int) -> None:
        """Wait until the case is where it is to be cut; one that is not to be killed gets its verdict instead."""
        cut = self.case.cuts[index]
        if not cut.kill:
            await self.judge()
            return
        what = f"{self.case.workload.name} comes to {cut}"
        try:
            await eventually(lambda: self._stop.reached or self._judge.rests(_REST), within=_REACH, what=what)
        except AssertionError as error:
            raise self._judge.broken(str(error)) from None
        if not self._stop.reached and index == 0:
            raise self._judge.broken(f"{self.case.workload.name} was over before its write {cut.at}")

    def killed(self, index: int) -> None:
        """Take in that the operator is dead; the next one may come as far as the next cut, or as far as it gets."""
        self._page.note("the operator is killed and started again")
        if index + 1 < len(self.case.cuts):
            self._arm(self.case.cuts[index + 1])
        else:
            self._page.steering = Steering()

    async def judge(self) -> None:
        """Wait for the end; Broken if it is not that of an undisturbed run, or the way there was not safe."""
        await self._judge.ended()
        if self._script is not None:
            await self._script
        self.verdict.set_result(None)

    def close(self) -> None:
        """Remove what is left."""
        if self._script is not None:
            self._script.cancel()
        self._world.clear(self._hand)

    def _arm(self, cut: Cut) -> None:
        self._page.steering = self._stop = _Stop(len(self._page.numbers) + cut.at, cut)
