"""The operator in a world that can be disturbed: the real process under its own rights, the proxy, and who looks on.

One operator serves many cases at once, each with a tenant of its own; a case is told apart by its token. What
undisturbed runs come to is found out once for each control plane.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

from tenantry.kube import Kube
from tests.faults.family import Defect
from tests.faults.operator.hand import Hand
from tests.faults.operator.ledger import Ledger, Page, Steering
from tests.faults.operator.observer import Observer, new_token
from tests.faults.operator.oracle import Judge
from tests.faults.operator.pace import PROMPT
from tests.faults.operator.reference import Outcome, Reference, outcome, reference_of
from tests.faults.operator.workloads import WORKLOADS, Workload
from tests.faults.stage import Stage
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.kube_proxy import KubeProxy
from tests.support.tenantry import Operator

__all__ = ["World", "opened", "running"]

_QUIET = 2.0
_references: WeakKeyDictionary[ControlPlane, Mapping[str, Reference]] = WeakKeyDictionary()


class World:
    """What cases share. `references` is by workload."""

    def __init__(self, kube: Kube, observer: Observer, proxy: KubeProxy, operator: Operator) -> None:
        self.kube = kube
        self.observer = observer
        self.proxy = proxy
        self.ledger = Ledger()
        self.operator = operator
        self.references: Mapping[str, Reference] = {}
        self._clearing: set[asyncio.Task[None]] = set()

    def hand(self) -> Hand:
        """Return the hand of a new tenant."""
        return Hand(self.kube, self.observer, new_token())

    def judge(self, hand: Hand, workload: Workload) -> Judge:
        """Return who judges what became of the workload with this tenant."""
        return Judge(hand, self.observer, self.ledger, self.references[workload.name])

    async def prepared(self, workload: Workload) -> Hand:
        """Bring about what is there before a workload, undisturbed; return the hand that did."""
        hand = self.hand()
        if workload.before is not None:
            await workload.before(hand)
        return hand

    def turn(self, hand: Hand, steering: Steering | None = None) -> Page:
        """Count the tenant's writes from 1 again, and give them to `steering`."""
        return self.ledger.turn(hand.token, steering)

    async def kill(self) -> None:
        """Kill the operator with SIGKILL. The next one finds its own name in the Lease, and need not wait."""
        await asyncio.to_thread(self.operator.kill)

    def clear(self, hand: Hand) -> None:
        """Remove what a case has left, without waiting for it."""
        task = asyncio.create_task(self._clear(hand))
        self._clearing.add(task)
        task.add_done_callback(self._clearing.discard)

    async def cleared(self) -> None:
        """Wait until everything that was to be removed is gone."""
        await asyncio.gather(*self._clearing)

    async def undisturbed(self, workload: Workload) -> Outcome:
        """Run a workload without any fault; return how it ended."""
        hand = await self.prepared(workload)
        page = self.turn(hand)
        history = self.observer.history[hand.token]
        begun = len(history)
        await workload.then(hand)
        seen: list[tuple[int, int]] = []

        def quiet() -> bool:
            seen.append((len(history), len(page.writes)))
            return len(seen) > _QUIET / 0.05 and seen[-1] == seen[-int(_QUIET / 0.05)]

        await eventually(quiet, within=30, what=f"nothing more happens to {hand.token} ({workload.name})")
        result = replace(outcome(self.observer, self.ledger, hand.token), begun=begun)
        self.clear(hand)
        return result

    async def _clear(self, hand: Hand) -> None:
        await hand.clear()
        await eventually(hand.is_cleared, within=120, what=f"all of {hand.token} is removed")
        self.observer.forget(hand.token)
        self.ledger.forget(hand.token)


@contextlib.asynccontextmanager
async def opened(stage: Stage, defect: Defect | None, *, pace: str = PROMPT) -> AsyncIterator[World]:
    """Run an operator behind a proxy meanwhile, with a defect if one is given, its times set by `pace`."""
    plane = await stage.control_plane()
    if plane not in _references:
        async with running(stage, PROMPT) as honest:
            _references[plane] = await _learn(honest)
    async with running(stage, pace if defect is None else f"{pace},{defect.place}") as world:
        world.references = _references[plane]
        yield world


@contextlib.asynccontextmanager
async def running(stage: Stage, places: str) -> AsyncIterator[World]:
    """Run an operator behind a proxy meanwhile, changed by the functions `places`; nothing is known of references."""
    plane = await stage.control_plane()
    kube, identities = await stage.kube(), await stage.identities()
    observer, proxy = Observer(kube), KubeProxy(plane.server, plane.authority)
    directory = Path(stage.directory) / f"operator-{new_token()}"
    directory.mkdir()
    operator = Operator(
        kubeconfig=proxy.kubeconfig(identities.operator, directory),
        directory=directory,
        env={"TENANTRY_LEASE_NAMESPACE": identities.namespace},
        defect=places,
    )
    world = World(kube, observer, proxy, operator)
    async with observer.watching(), proxy.listening():
        with proxy.hooked(world.ledger):
            await operator.start()
            try:
                yield world
                await world.cleared()
            finally:
                await operator.stop()


async def _learn(world: World) -> Mapping[str, Reference]:
    async def twice(workload: Workload) -> tuple[Outcome, Outcome]:
        return await asyncio.gather(world.undisturbed(workload), world.undisturbed(workload))

    found = dict(zip(WORKLOADS, await asyncio.gather(*map(twice, WORKLOADS.values())), strict=True))
    counts = {name: [run.writes for run in runs] for name, runs in found.items()}
    if wrong := {name: seen for name, seen in counts.items() if {*seen} != {WORKLOADS[name].writes}}:
        raise AssertionError(f"undisturbed runs took other numbers of writes than workloads.py says: {wrong}")
    return {name: reference_of(name, *runs) for name, runs in found.items()}
