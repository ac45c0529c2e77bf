"""T1, time travel: the operator is started on a view of the cluster as it once was, and then shown what has come since.

Sieve's stale-state pattern, for every revision of a trace in which things were given up and taken back. At its end all
is settled, and everything that is there is wanted; so whatever an operator deletes, makes or lets go of after that, it
does on the word of the past.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.family import Broken, Defect, Family, Trials
from tests.faults.operator.hand import Hand
from tests.faults.operator.observer import Change
from tests.faults.operator.pace import IMPATIENT
from tests.faults.operator.trace import Trace, played
from tests.faults.operator.world import World, running
from tests.faults.stage import Stage
from tests.support.eventually import eventually
from tests.support.kube_request import Exchange
from tests.support.kube_views import Frozen, View

__all__ = ["T1"]

_CACHED = frozenset(
    {
        "tenants.tenantry.dev",
        "tenantclasses.tenantry.dev",
        "namespaces",
        "resourcequotas",
        "limitranges",
        "networkpolicies.networking.k8s.io",
        "rolebindings.rbac.authorization.k8s.io",
        "serviceaccounts",
        "appprojects.argoproj.io",
    }
)
"""What the operator follows. It reads other things, and single objects, from etcd, and those are never old."""
_KEPT = 200.0
"""Seconds that a trace is used; the API server forgets what is older than five minutes."""
_WITHIN = 20.0
_QUIET = 1.0


class TimeTravel:
    """The cases: NAME/NN is the NNth revision of a story."""

    at_once = 1

    def __init__(self, world: World, trace: Trace) -> None:
        self._world = world
        self._trace = trace
        self._spoilt = False
        self.names = [
            f"{story}/{number:02d}"
            for story, revisions in trace.revisions.items()
            for number in range(1, len(revisions) + 1)
        ]

    async def run(self, name: str) -> None:
        """Start the operator in the past, let it act, show it the present, and see that nothing has come of it."""
        story, _, number = name.partition("/")
        if self._spoilt or time.monotonic() - self._trace.begun > _KEPT:
            await self.clear()
            self._trace = await played(self._world)
        revisions = self._trace.revisions[story]
        self._spoilt = True  # should this fail, then nobody else starts from what it leaves
        await self._travel(self._trace, revisions[min(int(number), len(revisions)) - 1])
        self._spoilt = False

    async def clear(self) -> None:
        """Remove what the stories have left."""
        for hand in self._trace.hands.values():
            self._world.clear(hand)
        await self._world.cleared()

    async def _travel(self, trace: Trace, version: int) -> None:
        world = self._world
        before = {hand.token: len(world.observer.history[hand.token]) for hand in trace.hands.values()}
        for hand in trace.hands.values():
            world.turn(hand)
        await asyncio.to_thread(world.operator.kill)
        world.proxy.exchanges.clear()
        world.proxy.view = view = Frozen(version, _CACHED)
        try:
            await world.operator.start()
            await eventually(self._has_looked, within=_WITHIN, what="the operator has looked at all that it sees")
        finally:
            view.release()
            world.proxy.view = View()
        await self._settled(trace, version)
        for hand in trace.hands.values():
            changes = world.observer.history[hand.token][before[hand.token] :]
            if wrong := list(_wrong(changes, world.ledger.pages[hand.token].writes)):
                text = f"started at revision {version}, the operator made or deleted what was settled long ago"
                raise self._broken(text, hand, *wrong)

    async def _has_looked(self) -> bool:
        """Whether every Tenant that the operator sees has been looked at since it was started, and nothing waits."""
        seen = await _metrics(self._world.operator.url)
        return (
            0 < seen["tenantry_tenants"] <= seen["controller_runtime_reconcile_total"]
            and seen["workqueue_depth"] == seen["controller_runtime_active_workers"] == 0
        )

    async def _settled(self, trace: Trace, version: int) -> None:
        deadline = time.monotonic() + _WITHIN
        writes, since = -1, time.monotonic()
        while (off := trace.off()) or time.monotonic() < since + _QUIET:
            if time.monotonic() > deadline:
                if off is None:
                    raise Broken(f"started at revision {version}, the operator never stops writing")
                raise self._broken(f"started at revision {version}, the end does not come back", off[0], *off[1])
            count = sum(len(self._world.ledger.pages[hand.token].writes) for hand in trace.hands.values())
            if count != writes:
                writes, since = count, time.monotonic()
            await asyncio.sleep(0.05)

    def _broken(self, promise: str, hand: Hand, *lines: str) -> Broken:
        trace = self._world.ledger.pages[hand.token].trace()
        return Broken("\n".join([promise, *lines, f"what the operator wrote for {hand.token}:", trace]))


def _wrong(changes: Sequence[Change], writes: Sequence[Exchange]) -> Iterator[str]:
    for change in changes:
        if change.kind != "MODIFIED" or "deletionTimestamp" in change.body["metadata"]:
            yield f"{change.kind} {change.key}"
    for write in writes:
        if write.verb.startswith("delete"):
            given = (write.body or {}).get("preconditions", {})
            if not (given.get("uid") and given.get("resourceVersion")):
                yield f"a DELETE without uid and resourceVersion: {write}"


async def _metrics(url: str) -> Mapping[str, float]:
    sums: defaultdict[str, float] = defaultdict(float)
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
        for family in text_string_to_metric_families(await response.text()):
            for sample in family.samples:
                sums[sample.name] += sample.value
    return sums


@contextlib.asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[Trials]:
    places = IMPATIENT if defect is None else f"{IMPATIENT},{defect.place}"
    async with running(stage, places) as world:
        trials = TimeTravel(world, await played(world))
        yield trials
        await trials.clear()


T1 = Family(
    name="T1",
    title="started on an old view of the cluster, which then catches up",
    open=_open,
    sample=3,
    defect=Defect(
        text="a namespace is deleted without another look at it",
        place="tests.faults.operator.defects_views:deletes_unseen",
        cases=["given-back/12"],
    ),
)
