"""G1: what has settled is left alone. Not one write but the Lease's, however often everything is listed and looked at.

The operator lists everything anew, and looks at every Tenant, every two seconds instead of every ten minutes, so a case
sees many rounds. Tenants of every workload are there at once, in the state that the workload has left.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.faults.family import Broken, Defect, Family, Trials
from tests.faults.operator.hand import Hand
from tests.faults.operator.ledger import LEASE
from tests.faults.operator.pace import RESTLESS
from tests.faults.operator.workloads import WORKLOADS
from tests.faults.operator.world import World, opened
from tests.faults.stage import Stage
from tests.support.eventually import eventually

__all__ = ["G1"]

_SILENCE = 20.0
_STILL = 5.0
_ROUNDS = 5
"""Lists of Tenants that must have been made in a silence, for it to say anything."""
_TENANTS = "tenants.tenantry.dev"
_WAYS = ("idle", "restarted", "killed")


class _Quiet:
    """Cases named WORKLOAD/WAY: the whole world is silent once for each way, and each tenant is a case of it."""

    def __init__(self, world: World) -> None:
        self.names = [f"{name}/{way}" for way in _WAYS for name in WORKLOADS]
        self.at_once = len(WORKLOADS)
        self._world = world
        self._hands: dict[str, Hand] = {}
        self._silences: dict[str, asyncio.Task[Sequence[str]]] = {}

    async def run(self, name: str) -> None:
        """Tell whether anything was written about one workload's tenant while nothing was to be done."""
        workload, way = name.split("/")
        if way not in self._silences:
            self._silences[way] = asyncio.create_task(self._silent(way))
        written = await self._silences[way]
        own = [each for each in written if self._hands[workload].token in each or "x0" not in each]
        if own:
            raise Broken("\n".join([f"{workload} had settled, and then, {way}, there was written:", *own]))
        self._world.judge(self._hands[workload], WORKLOADS[workload]).check()

    async def _silent(self, way: str) -> Sequence[str]:
        if not self._hands:
            self._hands = dict(zip(WORKLOADS, await asyncio.gather(*map(self._settled, WORKLOADS)), strict=True))
        await eventually(self._is_still, within=120, what="nothing is left to be written")
        begun = len(self._world.proxy.exchanges)
        if way != "idle":
            await (self._world.operator.stop() if way == "restarted" else self._world.kill())
            await self._world.operator.start()
        await asyncio.sleep(_SILENCE)
        since = self._world.proxy.exchanges[begun:]
        lists = [each for each in since if each.verb == "list" and each.resource == _TENANTS]
        if len(lists) < _ROUNDS:
            raise AssertionError(f"in {_SILENCE:g} s the Tenants were listed {len(lists)} times only")
        return [str(each) for each in since if each.is_write and each.resource != LEASE]

    async def _settled(self, name: str) -> Hand:
        hand = await self._world.prepared(WORKLOADS[name])
        self._world.turn(hand)
        await WORKLOADS[name].then(hand)
        await self._world.judge(hand, WORKLOADS[name]).ended()
        return hand

    def _is_still(self) -> bool:
        """Whether nothing but the Lease was written for longer than Events wait, and usage."""
        written = [each.at for each in self._world.proxy.exchanges if each.is_write and each.resource != LEASE]
        return time.monotonic() - max(written) > _STILL


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[Trials]:
    async with opened(stage, defect, pace=RESTLESS) as world:
        yield _Quiet(world)


G1 = Family(
    name="G1",
    title="no write after convergence",
    open=_open,
    sample=16,
    defect=Defect(
        text="each look gives the conditions a new time",
        place="tests.faults.defects_crash:renew_the_times",
        cases=["small/idle"],
    ),
)
