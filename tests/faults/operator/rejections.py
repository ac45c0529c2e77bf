"""C3: each write is refused, in each of eight ways, once or for some seconds; it must be tried again, in good time.

No process is restarted, so many cases share one operator. Beyond the end, what is judged is how often it tries: after
the back-off, which doubles, and not in a loop.
"""

import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from tests.faults.family import Defect, Family, Trials
from tests.faults.operator.ledger import Steering
from tests.faults.operator.pace import IMPATIENT
from tests.faults.operator.workloads import WORKLOADS
from tests.faults.operator.world import World, opened
from tests.faults.stage import Stage
from tests.support.background import background
from tests.support.kube_fates import Fate, Hang, Pass, Reject, Reset
from tests.support.kube_request import Exchange, Target

__all__ = ["C3"]

_TOGETHER = 8
_LONG = 6.0
"""Seconds for which an object's writes are refused in a case that ends in `for-long`."""
_MOST = 12
"""Tries in that time: five by the back-off of the operator's queue, each of them two where the HTTP client repeats what
was reset by itself, and some more when something else calls for a look. What Kubernetes deletes does, each time."""
_MORE = 6
"""Writes that a refusal may cost besides: the one that is repeated, and statuses that tell of it and of its end."""
_LISTED = 6
"""And a namespace's: the AppProject and the policies of two others list it; written without it, then with it."""
_FATES: Mapping[str, Fate] = {
    "conflict": Reject(409, "Conflict"),
    "invalid": Reject(422, "Invalid"),
    "throttled": Reject(429, "TooManyRequests", retry_after=1),
    "failed": Reject(500, "InternalError"),
    "unavailable": Reject(503, "ServiceUnavailable"),
    "unanswered": Hang(),
    "reset": Reset(),
    "forbidden": Reject(403, "Forbidden"),
}


class _Refusal(Steering):
    """Refuses write `at`, and for `seconds` every further one to the same object."""

    def __init__(self, at: int, fate: Fate, seconds: float) -> None:
        self.tried: list[float] = []
        self._at = at
        self._fate = fate
        self._seconds = seconds
        self._target: Target | None = None

    @property
    def resource(self) -> str | None:
        """What was refused."""
        return None if self._target is None else self._target.resource

    def decide(self, number: int, exchange: Exchange) -> Fate:
        if number == self._at and self._target is None:
            self._target = exchange.target
        elif self._target != exchange.target or time.monotonic() > self.tried[0] + self._seconds:
            return Pass()
        self.tried.append(time.monotonic())
        return self._fate


class _Rejections:
    """Cases named WORKLOAD/WRITE/FATE, or WORKLOAD/WRITE/FATE/for-long."""

    def __init__(self, world: World) -> None:
        self.names = _names()
        self.at_once = _TOGETHER
        self._world = world

    async def run(self, name: str) -> None:
        """Run one case beside others."""
        workload_name, at, fate, *more = name.split("/")
        workload, refusal = WORKLOADS[workload_name], _Refusal(int(at), _FATES[fate], _LONG if more else 0.0)
        hand = self._world.hand()
        try:
            if workload.before is not None:
                await workload.before(hand)
            judge, page = self._world.judge(hand, workload), self._world.turn(hand, refusal)
            async with background(workload.then(hand)) as script:
                await judge.ended()
                await script
            judge.check()
            if not refusal.tried:
                raise judge.broken(f"the workload was over before its write {at}")
            changes = self._world.observer.summary(hand.token)
            deleted = sum(count for (kind, _), count in changes.items() if kind == "DELETED")
            if len(refusal.tried) > _MOST + deleted:
                raise judge.broken(f"no back-off: it was tried {len(refusal.tried)} times in {_LONG:g} s")
            allowed = workload.writes + _MORE + (_LISTED if refusal.resource == "namespaces" else 0)
            if not more and len(page.numbers) > allowed:
                raise judge.broken(f"one refusal cost {len(page.numbers) - workload.writes} writes more")
        finally:
            self._world.clear(hand)


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[Trials]:
    async with opened(stage, defect, pace=IMPATIENT) as world:
        yield _Rejections(world)


def _names() -> Sequence[str]:
    once = [
        f"{name}/{at:02}/{fate}"
        for name, workload in WORKLOADS.items()
        for at in range(1, workload.writes + 1)
        for fate in _FATES
    ]
    draw = random.Random(3)  # noqa: S311 - draws cases
    long = [
        f"{name}/{draw.randint(1, workload.writes):02}/{fate}/for-long"
        for name, workload in WORKLOADS.items()
        if not name.startswith("class")  # a changed class has every tenant looked at
        for fate in _FATES
    ]
    return [*once, *long]


C3 = Family(
    name="C3",
    title="a write refused in eight ways",
    open=_open,
    sample=16,
    defect=Defect(
        text="what is sent counts as what is there, whatever the API server says",
        place="tests.faults.defects_crash:believe_what_was_sent",
        cases=["full/10/invalid", "full/10/unavailable"],
    ),
)
