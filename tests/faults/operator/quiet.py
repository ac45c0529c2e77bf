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
from tests.faults.operator.ledger import EVENTS, LEASE
from tests.faults.operator.observer import token_in
from tests.faults.operator.pace import RESTLESS
from tests.faults.operator.workloads import WORKLOADS, Workload
from tests.faults.operator.world import World, opened
from tests.faults.stage import Stage
from tests.support.eventually import eventually
from tests.support.kube_request import Exchange

__all__ = ["G1"]

_SILENCE = 8.0
_ROUNDS = 3
"""Lists of Tenants that must have been made in a silence, for it to say anything."""
_STILL = 3.0
"""Seconds without an Event after which none is waiting to be written."""
_TENANTS = "tenants.tenantry.dev"
_IDLE, _RESTARTED = "idle", "restarted"
_DEFECTIVE = "small"


class _Quiet:
    """Cases named WORKLOAD/WAY: the whole world is silent once for each way, and each tenant is a case of it."""

    def __init__(self, world: World, workloads: Sequence[str]) -> None:
        self.names = [f"{name}/{way}" for way in (_IDLE, _RESTARTED) for name in workloads]
        self.at_once = len(self.names)
        self._world = world
        self._settled = asyncio.create_task(self._settle([WORKLOADS[name] for name in workloads]))
        self._idle = asyncio.create_task(self._stay_idle())
        self._restarted = asyncio.create_task(self._restart())

    async def run(self, name: str) -> None:
        """Tell whether anything was written about one workload's tenant while nothing was to be done."""
        workload, way = name.split("/")
        written = await (self._idle if way == _IDLE else self._restarted)
        hand = (await self._settled)[workload]
        mine = [each for each in written if token_in(each.namespace, each.name) in (hand.token, None)]
        if mine:
            lines = "\n".join(map(str, mine))
            raise Broken(f"the tenant of {workload} had settled, and then, {way}, there was written:\n{lines}")
        self._world.judge(hand, WORKLOADS[workload]).check()

    def close(self) -> None:
        """End what nobody has waited for."""
        for task in (self._settled, self._idle, self._restarted):
            task.cancel()

    async def _settle(self, workloads: Sequence[Workload]) -> dict[str, Hand]:
        """Run workloads to their ends, and until no Event is left to be written."""
        hands = await asyncio.gather(*map(self._run, workloads))
        await eventually(self._no_event, within=60, what="no Event is left to be written")
        return dict(zip([each.name for each in workloads], hands, strict=True))

    async def _run(self, workload: Workload) -> Hand:
        hand = await self._world.prepared(workload)
        self._world.turn(hand)
        await workload.then(hand)
        await self._world.judge(hand, workload).ended()
        return hand

    async def _stay_idle(self) -> Sequence[Exchange]:
        await self._settled
        return await self._written(len(self._world.proxy.exchanges))

    async def _restart(self) -> Sequence[Exchange]:
        await self._idle
        begun = len(self._world.proxy.exchanges)
        await self._world.kill()
        await self._world.operator.start()
        return await self._written(begun)

    async def _written(self, begun: int) -> Sequence[Exchange]:
        """Return what is written in a silence, and since the exchange `begun`."""
        await asyncio.sleep(_SILENCE)
        since = self._world.proxy.exchanges[begun:]
        lists = [each for each in since if each.verb == "list" and each.resource == _TENANTS]
        if len(lists) < _ROUNDS:
            raise AssertionError(f"in {_SILENCE:g} s the Tenants were listed {len(lists)} times only")
        return [each for each in since if each.is_write and each.resource != LEASE]

    def _no_event(self) -> bool:
        written = [each.at for each in self._world.proxy.exchanges if each.resource == EVENTS]
        return time.monotonic() - max(written, default=0.0) > _STILL


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[Trials]:
    async with opened(stage, defect, pace=RESTLESS) as world:
        quiet = _Quiet(world, list(WORKLOADS) if defect is None else [_DEFECTIVE])
        try:
            yield quiet
        finally:
            quiet.close()


G1 = Family(
    name="G1",
    title="no write after convergence",
    open=_open,
    sample=32,
    defect=Defect(
        text="each look gives the conditions a new time",
        place="tests.faults.defects_crash:renew_the_times",
        cases=[f"{_DEFECTIVE}/{_IDLE}"],
    ),
)
