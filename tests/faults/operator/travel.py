"""Starts the operator on a view that is not the present, lets it act, and shows it the present.

What was played before has settled by then, and everything that is there is wanted; so whatever the operator makes,
deletes or lets go of after that, it does on the word of the past.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.family import Broken
from tests.faults.operator.hand import Hand
from tests.faults.operator.observer import Change
from tests.faults.operator.stories import STORIES, Story
from tests.faults.operator.trace import Trace, played
from tests.faults.operator.world import World
from tests.support.eventually import eventually
from tests.support.kube_request import Exchange
from tests.support.kube_views import View

__all__ = ["CACHED", "Traveller", "following"]

CACHED = (
    "tenants.tenantry.dev",
    "tenantclasses.tenantry.dev",
    "namespaces",
    "resourcequotas",
    "limitranges",
    "networkpolicies.networking.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "serviceaccounts",
    "appprojects.argoproj.io",
)
"""What the operator follows. It reads other things, and single objects, from etcd, and those are never old."""
_KEPT = 200.0
"""Seconds that a trace is used; the API server forgets what is older than five minutes."""
_WITHIN = 20.0
_QUIET = 0.7


async def following(world: World) -> None:
    """Wait until the operator watches what it follows from its start; for AppProjects it asks when it needs them."""
    wanted = {kind for kind in CACHED if not kind.startswith("appprojects")}

    def is_watching() -> bool:
        return wanted <= {watch.resource for watch in world.proxy.watches()}

    await eventually(is_watching, within=_WITHIN, what="the operator watches everything")


class Traveller:
    """Goes to and fro on one trace for as long as that is as it was played, then has another."""

    def __init__(self, world: World, stories: Sequence[Story] = STORIES) -> None:
        self._world = world
        self._stories = stories
        self._trace: Trace | None = None
        self._spoilt = False

    async def trace(self) -> Trace:
        """Return a trace in which nothing has been changed since it was played."""
        if self._trace is None or self._spoilt or time.monotonic() - self._trace.begun > _KEPT:
            await self.clear()
            self._trace = await played(self._world, self._stories)
            self._spoilt = False
        return self._trace

    async def go(self, trace: Trace, view: View, release: Callable[[], Awaitable[None]], where: str) -> None:
        """Start the operator on `view`, call `release` once it has acted, and see that nothing has come of it.

        Broken says `where` it was started.
        """
        self._spoilt = True  # should this fail, then nobody else starts from what it leaves
        world, hands = self._world, trace.hands.values()
        before = {hand.token: len(world.observer.history[hand.token]) for hand in hands}
        for hand in hands:
            world.turn(hand)
        await world.kill()
        world.proxy.exchanges.clear()
        world.proxy.view = view
        try:
            await world.operator.start()
            await eventually(self._has_looked, within=_WITHIN, what="the operator has looked at all that it sees")
        finally:
            await release()
            world.proxy.view = View()
        await self._settled(trace, before, where)
        self._spoilt = False

    async def clear(self) -> None:
        """Remove what the stories have left."""
        if self._trace is not None:
            for hand in self._trace.hands.values():
                self._world.clear(hand)
        await self._world.cleared()

    async def _has_looked(self) -> bool:
        """Whether every Tenant that the operator sees has been looked at since it was started, and nothing waits."""
        seen = await _metrics(self._world.operator.url)
        return (
            0 < seen["tenantry_tenants"] <= seen["controller_runtime_reconcile_total"]
            and seen["workqueue_depth"] == seen["controller_runtime_active_workers"] == 0
        )

    async def _settled(self, trace: Trace, before: Mapping[str, int], where: str) -> None:
        deadline = time.monotonic() + _WITHIN
        writes, since = -1, time.monotonic()
        while (off := trace.off()) or time.monotonic() < since + _QUIET:
            self._check(trace, before, where)
            if time.monotonic() > deadline:
                if off is None:
                    raise Broken(f"{where}, the operator never stops writing")
                raise self._broken(f"{where}, the end does not come back", off[0], *off[1])
            count = sum(len(self._world.ledger.pages[hand.token].writes) for hand in trace.hands.values())
            if count != writes:
                writes, since = count, time.monotonic()
            await asyncio.sleep(0.05)
        self._check(trace, before, where)

    def _check(self, trace: Trace, before: Mapping[str, int], where: str) -> None:
        for hand in trace.hands.values():
            changes = self._world.observer.history[hand.token][before[hand.token] :]
            if wrong := list(_wrong(changes, self._world.ledger.pages[hand.token].writes)):
                raise self._broken(f"{where}, the operator made or deleted what was settled long ago", hand, *wrong)

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
