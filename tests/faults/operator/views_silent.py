"""U3, silent streams: a watch stays open and brings nothing any more, not even bookmarks.

A stranger then does what only that watch would have told of. The watchdog must find the silence: here after two
seconds, and in one case after the seventy-five that it really has.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection

from tenantry.resources import (
    APP_PROJECTS,
    LIMIT_RANGES,
    NAMESPACES,
    NETWORK_POLICIES,
    RESOURCE_QUOTAS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    Resource,
)
from tests.faults.family import Defect, Family, Lane, Trials
from tests.faults.operator.canonical import canonical
from tests.faults.operator.hand import Hand
from tests.faults.operator.pace import PROMPT, SILENCE, WATCHFUL
from tests.faults.operator.travel import CACHED, following
from tests.faults.operator.workloads import WORKLOADS
from tests.faults.operator.world import World, opened, running
from tests.faults.stage import Stage
from tests.support.eventually import eventually
from tests.support.kube_views import Deaf, View

__all__ = ["U3"]

_AFTERWARDS = 10.0
"""Seconds from when the silence is found until all is as it should be."""
_SOON = 4.0
"""The same where no namespace has to go, as it is with the deliberate defect."""
_REAL = 75.0
_STREAMS = (*CACHED, "all")
_WORKLOADS = {"tenants.tenantry.dev": "quota", "tenantclasses.tenantry.dev": "class-change"}
"""What is told of by these alone; the others tell of what a stranger has deleted."""
_DELETED = {
    "namespaces": NAMESPACES,
    "resourcequotas": RESOURCE_QUOTAS,
    "limitranges": LIMIT_RANGES,
    "networkpolicies.networking.k8s.io": NETWORK_POLICIES,
    "rolebindings.rbac.authorization.k8s.io": ROLE_BINDINGS,
    "serviceaccounts": SERVICE_ACCOUNTS,
    "appprojects.argoproj.io": APP_PROJECTS,
}


class SilentStreams:
    """The cases, by the kind whose streams fall silent; the last has the real watchdog's time."""

    at_once = 1

    def __init__(self, world: World, stage: Stage, *, afterwards: float) -> None:
        self._world = world
        self._afterwards = afterwards
        self._stage = stage
        self.names = [*_STREAMS, f"all-{_REAL:g}s"]

    async def run(self, name: str) -> None:
        """Let streams fall silent, change what they would tell of, and wait for the watchdog."""
        if name in _STREAMS:
            await self._fall_silent(self._world, name, SILENCE)
            return
        await self._world.operator.stop()
        try:
            async with running(self._stage, PROMPT) as world:
                world.references = self._world.references
                await following(world)
                await self._fall_silent(world, "all", _REAL)
        finally:
            await self._world.operator.start()

    async def _fall_silent(self, world: World, stream: str, silence: float) -> None:
        workload = WORKLOADS[_WORKLOADS.get(stream, "full")]
        hand = await world.prepared(workload)
        if stream not in _WORKLOADS:
            await workload.then(hand)
        page = world.turn(hand)
        reference = world.references[workload.name]

        def lacking() -> list[str]:
            state = canonical(hand.objects, hand.token)
            # How often something was changed while others were missing is no part of the end.
            return [line for line in reference.differences(state) if "metadata.generation" not in line]

        world.proxy.view = Deaf([each for each in world.proxy.watches() if stream in (each.resource, "all")])
        page.note(f"{stream}: silent from now on")
        try:
            async with asyncio.timeout(silence + self._afterwards):
                if stream in _WORKLOADS:
                    await workload.then(hand)
                else:
                    await _delete(hand, _DELETED.values() if stream == "all" else [_DELETED[stream]])
                await eventually(lambda: not lacking(), within=2 * _REAL, what=f"{stream}: the end state is there")
        except TimeoutError:
            what = f"{stream} fell silent {silence:g} s and {self._afterwards:g} s ago, and the end state is not there"
            raise world.judge(hand, workload).broken(what, *lacking()) from None
        finally:
            world.proxy.view = View()
            world.clear(hand)


async def _delete(hand: Hand, resources: Collection[Resource]) -> None:
    """Delete one object of each kind, and wait until each is gone."""
    by_kind = {resource.kind: resource for resource in resources}
    chosen = {kind: (namespace, name) for kind, namespace, name in hand.objects if kind in by_kind}
    if chosen.keys() != by_kind.keys():
        raise AssertionError(f"the tenant has no {by_kind.keys() - chosen.keys()}")
    before = {key: hand.objects[key]["metadata"]["uid"] for key in ((kind, *name) for kind, name in chosen.items())}
    for kind, (namespace, name) in chosen.items():
        await hand.kube.delete(by_kind[kind], name, namespace or None)

    def are_gone() -> bool:
        return all(
            key not in hand.objects or hand.objects[key]["metadata"]["uid"] != uid for key, uid in before.items()
        )

    await hand.until(are_gone, "what was deleted is gone")


@contextlib.asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[Trials]:
    async with opened(stage, defect, pace=WATCHFUL) as world:
        await following(world)
        yield SilentStreams(world, stage, afterwards=_AFTERWARDS if defect is None else _SOON)


U3 = Family(
    name="U3",
    title="a watch that stays open and falls silent",
    open=_open,
    sample=2,
    defect=Defect(
        text="no watch is ever taken for dead",
        place="tests.faults.operator.defects_views:trusts_silence",
        cases=["rolebindings.rbac.authorization.k8s.io"],
    ),
    lane=Lane.INPUTS,
)
