"""E2o: of two operators never both write, however they are stopped, frozen and cut off while Tenants change.

Each reaches the API server through a proxy of its own, which notes every write. An operator that loses its Lease ends,
and is started again, as Kubernetes would.
"""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from tenantry.resources import TENANTS
from tests.faults.family import Broken, Defect, Family, Lane
from tests.faults.generator.client import Trace
from tests.faults.generator.operator_pair import OperatorPair, Worker, start_operators
from tests.faults.generator.pair import SHIPPED, SHORT, Pace
from tests.faults.generator.parts import seeded
from tests.faults.generator.terms import Act
from tests.faults.stage import Stage
from tests.support.background import background
from tests.support.eventually import eventually
from tests.support.processes import Ended

__all__ = ["OPERATORS"]

_SEEDS = 2


class _Takeovers:
    """Cases `KIND/SEED`, or `shipped-KIND/0`."""

    at_once = 1
    names: Sequence[str]

    def __init__(self, stage: Stage, defect: Defect | None) -> None:
        self._stage = stage
        self._defect = defect
        self._running: tuple[Pace, OperatorPair, AsyncExitStack] | None = None
        self.names = (
            *(f"{kind}/{seed}" for seed in range(_SEEDS) for kind in _KINDS),
            *(f"shipped-{kind}/0" for kind in ("frozen", "silent")),
        )

    async def run(self, name: str) -> None:
        pace = SHIPPED if name.startswith("shipped-") else SHORT
        if self._running is None or self._running[0] is not pace:
            await self.close()
            stack = AsyncExitStack()
            place = None if self._defect is None else self._defect.place
            self._running = (pace, await start_operators(self._stage, stack, pace, place), stack)
        case = _Case(name, self._running[1], pace)
        try:
            await case.judge(_KINDS[name.removeprefix("shipped-").partition("/")[0]])
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End both operators."""
        if self._running is not None:
            await self._running[2].aclose()
        self._running = None


class _Case:
    """Two operators in one case; `working` is the one whose turn it is at its start."""

    def __init__(self, name: str, pair: OperatorPair, pace: Pace) -> None:
        self.chance = seeded(name)
        self.pair = pair
        self.pace = pace
        self.trace = Trace()
        self.working: Worker
        self.other: Worker
        self._stopped: set[str] = set()

    async def judge(self, work: "Callable[[_Case], Coroutine[Any, Any, None]]") -> None:
        """Do the work of a case while Tenants change, and look at every write afterwards."""
        async with background(self._change()), background(self._start_again()):
            await self._find_out()
            await self.pair.terms.begin()
            before = {each.name: len(each.writes) for each in self.pair.workers}
            await work(self)
            await self._find_out()
        await eventually(self._converged, within=30, what=f"every Tenant is as it was last declared; {self.trace}")
        made = {each.name: each.writes[before[each.name] :] for each in self.pair.workers}
        acts = [Act(who, each.at, each.at, str(each.target)) for who, some in made.items() for each in some]
        await self.pair.terms.check(acts, self.trace)
        deletes = [each for some in made.values() for each in some if "delete" in each.verb]
        if deletes:
            raise Broken(f"something was deleted, and nobody wanted that: {deletes[:3]}\n  {self.trace}")

    async def _find_out(self) -> None:
        """Wait until one of them writes."""
        seen = {each.name: len(each.writes) for each in self.pair.workers}

        def one() -> Worker | None:
            return next((each for each in self.pair.workers if len(each.writes) > seen[each.name] + 2), None)

        self.working = await eventually(one, within=self.pace.takes + 20, what=f"an operator writes; {self.trace}")
        (self.other,) = (each for each in self.pair.workers if each is not self.working)

    async def writes(self, worker: Worker) -> None:
        """Wait until an operator writes."""
        seen = len(worker.writes)
        what = f"the {worker.name} operator writes; {self.trace}"
        await eventually(lambda: len(worker.writes) > seen, within=self.pace.takes + 5, what=what)

    async def stop(self, worker: Worker) -> None:
        """End an operator as Kubernetes does, and leave it so."""
        self.trace.note(f"the {worker.name} operator is told to end")
        self._stopped.add(worker.name)
        await worker.operator.stop()

    def kill(self, worker: Worker) -> None:
        """End an operator with SIGKILL, and leave it so."""
        self.trace.note(f"the {worker.name} operator is killed")
        self._stopped.add(worker.name)
        worker.operator.kill()

    async def start(self, worker: Worker) -> None:
        """Start an operator that was stopped."""
        await worker.operator.start()
        self._stopped.discard(worker.name)

    def send(self, worker: Worker, number: signal.Signals) -> None:
        """Send a signal."""
        self.trace.note(f"the {worker.name} operator gets {number.name}")
        worker.operator.process.send(number)

    async def _start_again(self) -> None:
        """Start what has ended by itself, as a kubelet does."""
        while True:
            for each in self.pair.workers:
                if each.name not in self._stopped and each.operator.process.exit_code is not None:
                    self.trace.note(f"the {each.name} operator has ended and is started again")
                    with suppress(Ended):  # without an API server; then once more
                        await each.operator.start()
            await asyncio.sleep(0.2)

    async def _change(self) -> None:
        """Change a Tenant every now and then."""
        while True:
            name, spec = self.chance.choice(self.pair.tenants), {"displayName": secrets.token_hex(4)}
            await self.pair.kube.merge_patch(TENANTS, name, {"spec": spec})
            await asyncio.sleep(self.chance.uniform(0.02, 0.2))

    async def _converged(self) -> bool:
        bodies = [await self.pair.kube.get(TENANTS, name) for name in self.pair.tenants]
        return all(
            body.get("status", {}).get("observedGeneration") == body["metadata"]["generation"]
            and any(each["type"] == "Ready" and each["status"] == "True" for each in body["status"]["conditions"])
            for body in bodies
        )


async def _rolling(case: _Case) -> None:
    """Each is stopped as Kubernetes does and started again."""
    for worker in case.chance.sample(case.pair.workers, 2):
        other = next(each for each in case.pair.workers if each is not worker)
        await case.stop(worker)
        await case.writes(other)
        await case.start(worker)


async def _killed(case: _Case) -> None:
    """The one that works is killed, and comes back when the other has taken over."""
    case.kill(case.working)
    await case.writes(case.other)
    await case.start(case.working)


async def _frozen(case: _Case) -> None:
    """The one that works is frozen for longer than its Lease lasts."""
    case.send(case.working, signal.SIGSTOP)
    try:
        await case.writes(case.other)
        await asyncio.sleep(case.chance.uniform(0, 1))
    finally:
        case.send(case.working, signal.SIGCONT)
    await asyncio.sleep(1)


async def _dozing(case: _Case) -> None:
    """The one that works is frozen about as long as its Lease lasts."""
    case.send(case.working, signal.SIGSTOP)
    try:
        await asyncio.sleep(case.chance.uniform(0.6, 1.3) * case.pace.lease)
    finally:
        case.send(case.working, signal.SIGCONT)
    await asyncio.sleep(1)


async def _cut_off(case: _Case) -> None:
    """The one that works no longer gets through to the API server."""
    case.trace.note(f"the {case.working.name} operator is cut off")
    case.working.api.shut()
    try:
        await case.writes(case.other)
    finally:
        case.working.api.heal()


async def _silent(case: _Case) -> None:
    """What the one that works sends to the API server gets lost."""
    case.trace.note(f"the {case.working.name} operator is not heard")
    case.working.api.mute()
    try:
        await case.writes(case.other)
    finally:
        case.working.api.heal()


_KINDS: Mapping[str, Callable[[_Case], Coroutine[Any, Any, None]]] = {
    "rolling": _rolling,
    "frozen": _frozen,
    "killed": _killed,
    "cut-off": _cut_off,
    "dozing": _dozing,
    "silent": _silent,
}


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[_Takeovers]:
    takeovers = _Takeovers(stage, defect)
    try:
        yield takeovers
    finally:
        await takeovers.close()


OPERATORS = Family(
    name="E2o",
    title="two operators that are rolled, killed, frozen and cut off while Tenants change",
    open=_open,
    sample=1,
    defect=Defect(
        "an operator whose Lease is lost only says so",
        "tests.faults.generator.defects_standing:go_on_without_a_lease",
        cases=("frozen/0",),
    ),
    drawn=True,
    lane=Lane.GENERATOR,
)
