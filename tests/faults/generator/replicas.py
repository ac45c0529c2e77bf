"""E2g: of two generators never both answer, however they are stopped, frozen and cut off, and no answer is a short one.

Both are asked all the time, and so is what stands for the Service. Tenants come meanwhile, so that a replica that woke
up with what it knew before would be found out. Most cases run with a Lease of four seconds, some as shipped.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.faults.family import Defect, Family, Lane
from tests.faults.generator.client import Trace, Watch, judged
from tests.faults.generator.pair import SHIPPED, SHORT, Pace, Pair, Replica, start_pair
from tests.faults.generator.parts import seeded
from tests.faults.generator.terms import Act
from tests.faults.stage import Stage
from tests.support.background import background
from tests.support.eventually import eventually

__all__ = ["REPLICAS"]

_SEEDS = 4
_AS_SHIPPED = ("killed", "frozen", "cut-off", "silent")


class _Takeovers:
    """Cases `KIND/SEED`, or `shipped-KIND/SEED`. A pair that came through a case is there for the next one."""

    at_once = 2

    def __init__(self, stage: Stage, stack: AsyncExitStack, defect: Defect | None) -> None:
        self._stage = stage
        self._stack = stack
        self._defect = defect
        self._free: dict[str, list[Pair]] = {SHORT.name: [], SHIPPED.name: []}
        self.names: Sequence[str] = (
            *(f"{kind}/{seed}" for seed in range(_SEEDS) for kind in _KINDS),
            *(f"shipped-{kind}/0" for kind in _AS_SHIPPED),
        )

    async def run(self, name: str) -> None:
        pace = SHIPPED if name.startswith("shipped-") else SHORT
        free = self._free[pace.name]
        place = None if self._defect is None else self._defect.place
        pair = free.pop() if free else await start_pair(self._stage, self._stack, pace, place)
        case = _Case(name, pair, pace)
        kind = name.removeprefix("shipped-").partition("/")[0]
        await case.judge(_KINDS[kind])
        free.append(pair)


class _Case:
    """Two replicas in one case; `answering` is the one whose turn it is at its start."""

    def __init__(self, name: str, pair: Pair, pace: Pace) -> None:
        self.chance = seeded(name)
        self.pair = pair
        self.pace = pace
        self.trace = Trace()
        self.acts: list[Act] = []
        self.woken: dict[str, float] = {}
        self.answering: Replica
        self.other: Replica
        self._owed = pair.owed
        self._new = 0
        self._watches = {each.name: self._watch(each.url, each.name) for each in pair.replicas}
        self._service = self._watch(pair.service_url, "the Service")
        for each in pair.replicas:
            self._watches[each.name].on_answer = self._noter(each.name)

    def _watch(self, url: str, name: str) -> Watch:
        watch = Watch(self.pair.client(url), self.trace, owed=(), name=name)
        watch.owed, watch.known = self._owed, self.pair.known
        return watch

    def _noter(self, name: str) -> Callable[[float, float], None]:
        def note(sent: float, received: float) -> None:
            # What came of a request that had been waiting when the process woke up was said after that.
            woken = self.woken.get(name, 0.0)
            self.acts.append(Act(name, max(sent, woken) if received > woken else sent, received, "answered"))

        return note

    async def judge(self, work: "Callable[[_Case], Coroutine[Any, Any, None]]") -> None:
        """Do the work of a case while everybody asks."""

        async def do() -> None:
            await self.settle()
            await self.pair.terms.begin()
            self.acts.clear()
            async with background(self._sign_up()):
                await work(self)
                await self.settle()
            turns = await self.pair.terms.check(self.acts, self.trace)
            self.trace.note(f"the turn went {turns} times to the other one")

        await judged(do(), *(each.run() for each in (*self._watches.values(), self._service)))

    async def settle(self) -> None:
        """Wait until one answers, the other stands by, and the Service leads to the one."""

        def settled() -> bool:
            answer = [each for each in self.pair.replicas if self._watches[each.name].seen is not None]
            if len(answer) != 1 or self._service.seen is None:
                return False
            self.answering = answer[0]
            (self.other,) = (each for each in self.pair.replicas if each is not answer[0])
            return "stands by" in self._watches[self.other.name].refusal

        await eventually(settled, within=self.pace.takes + 15, what=f"one answers, one stands by; {self.trace}")
        await self._service.goes_on(3, within=self.pace.takes + 15)

    async def answers(self, replica: Replica, *, within: float) -> None:
        """Wait until a replica answers."""
        watch = self._watches[replica.name]
        answers = watch.answers
        await eventually(lambda: watch.answers > answers, within=within, what=f"{replica.name} answers; {self.trace}")

    def refuses(self, replica: Replica) -> bool:
        """Whether a replica answers nobody now."""
        return self._watches[replica.name].seen is None

    def freeze(self, replica: Replica) -> None:
        """Stop a process without its noticing."""
        self.trace.note(f"{replica.name} is frozen")
        replica.generator.process.send(signal.SIGSTOP)

    def wake(self, replica: Replica) -> None:
        """Let a frozen process go on."""
        self.trace.note(f"{replica.name} wakes up")
        self.woken[replica.name] = time.monotonic()
        replica.generator.process.send(signal.SIGCONT)

    async def _sign_up(self) -> None:
        """Have a tenant sign up every now and then; it is owed once an answer has had it."""
        while True:
            new = self.pair.new_tenant()
            self.pair.known.add(new)
            await self.pair.table.insert({new: "active"})
            asking = [*self._watches.values(), self._service]

            def served(new: str = new, asking: Sequence[Watch] = asking) -> bool:
                return any(each.seen is not None and new in each.seen for each in asking)

            await eventually(served, within=60, what=f"{new} is served; {self.trace}")
            self._owed.add(new)
            await asyncio.sleep(self.chance.uniform(0.05, 0.4))


async def _rolling(case: _Case) -> None:
    """Each is stopped as Kubernetes does and started again, the standby once the other one is ready."""
    for replica in case.chance.sample([case.answering, case.other], 2):
        case.trace.note(f"{replica.name} is told to end")
        await replica.generator.stop()
        other = next(each for each in case.pair.replicas if each is not replica)
        await case.answers(other, within=case.pace.takes)
        await replica.generator.start()


async def _killed(case: _Case) -> None:
    """The one that answers is killed, and comes back when the other has taken over."""
    case.trace.note(f"{case.answering.name} is killed")
    case.answering.generator.kill()
    await case.answers(case.other, within=case.pace.takes)
    await case.answering.generator.start()


async def _frozen(case: _Case) -> None:
    """The one that answers is frozen for longer than its Lease, and wakes up with requests that have waited."""
    case.freeze(case.answering)
    try:
        await case.answers(case.other, within=case.pace.takes)
        await asyncio.sleep(case.chance.uniform(0, 1))
    finally:
        case.wake(case.answering)


async def _dozing(case: _Case) -> None:
    """The one that answers is frozen about as long as its Lease lasts."""
    case.freeze(case.answering)
    try:
        await asyncio.sleep(case.chance.uniform(0.6, 1.3) * case.pace.lease)
    finally:
        case.wake(case.answering)


async def _cut_off(case: _Case) -> None:
    """The one that answers no longer gets through to the API server."""
    case.trace.note(f"{case.answering.name} is cut off")
    case.answering.api.shut()
    try:
        await case.answers(case.other, within=case.pace.takes)
    finally:
        case.answering.api.heal()


async def _silent(case: _Case) -> None:
    """What the one that answers sends to the API server gets lost."""
    case.trace.note(f"{case.answering.name} is not heard")
    case.answering.api.mute()
    try:
        await case.answers(case.other, within=case.pace.takes)
    finally:
        case.answering.api.heal()


async def _both_cut_off(case: _Case) -> None:
    """Nobody gets through to the API server: nobody answers any more, and one does when it is back."""
    case.trace.note("both are cut off")
    for each in case.pair.replicas:
        each.api.shut()
    try:
        what = f"nobody answers; {case.trace}"
        await eventually(lambda: all(map(case.refuses, case.pair.replicas)), within=case.pace.lease, what=what)
    finally:
        for each in case.pair.replicas:
            each.api.heal()


_KINDS: Mapping[str, Callable[[_Case], Coroutine[Any, Any, None]]] = {
    "rolling": _rolling,
    "frozen": _frozen,
    "killed": _killed,
    "cut-off": _cut_off,
    "dozing": _dozing,
    "silent": _silent,
    "both-cut-off": _both_cut_off,
}


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[_Takeovers]:
    async with AsyncExitStack() as stack:
        yield _Takeovers(stage, stack, defect)


REPLICAS = Family(
    name="E2g",
    title="two generators that are rolled, killed, frozen and cut off under load",
    open=_open,
    sample=1,
    defect=Defect(
        "a replica has the Lease until a renewal says otherwise",
        "tests.faults.generator.defects_standing:believe_until_told",
        cases=("frozen/0",),
    ),
    drawn=True,
    lane=Lane.GENERATOR,
)
