"""One ApplicationSet through its disasters: its table, its generator, the ways between, and who is owed.

Who is owed is told from what was done to the table and what was acknowledged, never from what the generator says.
"""

import asyncio
import random
import secrets
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.resources import APPLICATION_SETS, APPLICATIONS, CONFIG_MAPS, NAMESPACES, SECRETS
from tenantry_generator.applicationsets import REFRESH
from tests.faults.generator.client import Trace, judged
from tests.faults.generator.deletions import Applications, Owed
from tests.faults.generator.disasters import ACTIVE, LEFT, application_set, heal, strike
from tests.faults.generator.front import Front
from tests.faults.generator.parts import Table, metric, table, with_admin
from tests.faults.generator.schedule import Disaster, End, Episode, Event, Kind, Schedule
from tests.faults.stage import Stage
from tests.support.argocd import NAMESPACE, ArgoCD
from tests.support.eventually import eventually
from tests.support.record import forget_record
from tests.support.tenantry import Generator

__all__ = ["Life"]

_SOON = 20.0
_RECOVERY = 40.0
"""Seconds: within thirty a source is read again, and then Argo CD has to ask."""
_ASKS_EVERY, _ASKS_AGAIN = 2.0, 0.3
"""Seconds between two times that Argo CD is made to ask: always, and while somebody waits for it."""
_LASTS = 6
"""Times that Argo CD asks meanwhile, 0.3 seconds apart at least: a row has left with the second read that lacks it, a
second after the first."""
_MAY_LEAVE = 2
"""So many of a set of up to 29 may leave one by one within half an hour."""
_FEWEST = 6
"""Tenants that an episode begins with at least."""


class Life:
    """The ApplicationSet `mark` with everything that it needs, and its schedule."""

    def __init__(self, mark: str, schedule: Schedule, owed: Owed, *, chance: random.Random, trace: Trace) -> None:
        self._mark = mark
        self._schedule = schedule
        self._owed = owed
        self._chance = chance
        self._trace = trace
        self._rows = [f"t{number:02}" for number in range(schedule.size)]
        self._left = 0
        self._new = 0
        self._kube: Kube
        self._table: Table
        self._generator: Generator
        self._front: Front
        self._admin = ""

    async def begin(
        self, stage: Stage, argocd: ArgoCD, applications: Applications, stack: AsyncExitStack, place: str | None
    ) -> None:
        """Start everything that is this case's own."""
        mark, kube = self._mark, await stage.kube()
        self._kube = kube
        directory = stage.directory / mark
        await kube.create(NAMESPACES, {"metadata": {"name": mark}})
        stack.push_async_callback(kube.delete, NAMESPACES, mark)
        self._table = await stack.enter_async_context(
            table(await stage.postgres(), {**dict.fromkeys(self._rows, ACTIVE), "other": LEFT})
        )
        self._admin, admins = with_admin(directory)
        env = {
            **admins,
            "KUBECONFIG": str((await stage.control_plane()).kubeconfig),
            "TENANTRY_SOURCES": "postgres",
            "TENANTRY_DATABASE_URL": self._table.dsn,
            "TENANTRY_LEASE_NAMESPACE": mark,
            "TENANTRY_CONFIGMAPS": mark,
        }
        token = secrets.token_urlsafe(24)
        self._generator = Generator(token=token, directory=directory, env=env, defect=place)
        stack.push_async_callback(self._generator.stop)
        await self._generator.start()
        self._front = Front(int(self._generator.url.rpartition(":")[2]))
        url = await stack.enter_async_context(self._front.listening())
        await argocd.configure_plugin(mark, url=url, token=token)
        stack.push_async_callback(self._clean_up, applications)
        await argocd.apply_application_set(application_set(mark, self._schedule.kind))
        self._owed.owed = {*self._rows, *(["other"] if self._schedule.kind is Kind.PLAIN else [])}

    async def _clean_up(self, applications: Applications) -> None:
        names = applications.names(self._mark)
        wanted = [(APPLICATION_SETS, self._mark), (CONFIG_MAPS, self._mark), (SECRETS, self._mark)]
        for resource, name in [*wanted, *((APPLICATIONS, name) for name in names)]:
            try:
                await self._kube.delete(resource, name, NAMESPACE)
            except NotFound:
                continue

    async def go_through(self) -> None:
        """Live through the schedule. Broken: an Application went that is owed, or what is to come or go does not."""
        await judged(self._all(), self._owed.watch(), self._ask_all_the_time())

    async def _all(self) -> None:
        await self._owed.becomes(within=_RECOVERY)
        await self._counted()
        for number, (episode, leaves) in enumerate(zip(self._schedule.episodes, self._schedule.leaves, strict=True)):
            if leaves:
                if number:  # who leaves before the healed table has been read is held with all the others
                    await self._newcomer()
                await self._one_leaves()
            self._trace.note(str(episode))
            await self._episode(episode)
        await self._newcomer()
        await self._one_leaves()
        await self._asked(2)
        await self._owed.becomes(within=_RECOVERY)

    async def _ask_all_the_time(self) -> None:
        """Have Argo CD ask; after a failure it would by itself only ask again in three minutes."""
        while True:
            await self._ask()
            await asyncio.sleep(_ASKS_EVERY)

    async def _ask(self) -> None:
        patch = {"metadata": {"annotations": {REFRESH: uuid.uuid4().hex}}}
        await self._kube.merge_patch(APPLICATION_SETS, self._mark, patch, NAMESPACE)

    async def _episode(self, episode: Episode) -> None:
        while len(self._rows) < _FEWEST:
            await self._newcomer()
        hit = self._chance.sample(self._rows, self._chance.randint(3, len(self._rows) - 1))
        if episode.disaster is Disaster.EMPTIED:
            hit = list(self._rows)
        self._front.fault = episode.front
        await strike(self._table, episode.disaster, hit)
        await self._befall(episode.event)
        await self._asked(_LASTS)
        if episode.newcomer and episode.front is None:
            await self._newcomer()
        if episode.end is End.ACKNOWLEDGE:
            self._front.fault = None
            await self._let_go(hit)
        else:
            await self._asked(2)
            self._trace.note("healed")
            await heal(self._table, episode.disaster, hit)
            if episode.disaster is Disaster.REPLACED and episode.event is not Event.NONE:
                await self._befall(Event.RESTART)  # started on the other table, it takes that for the right one
        self._front.fault = None
        await eventually(self._healthy, within=_RECOVERY, what=f"all is well again; {self._trace}")
        await self._owed.becomes(within=_SOON)
        await self._counted()

    async def _befall(self, event: Event) -> None:
        match event:
            case Event.NONE:
                return
            case Event.RESTART:
                await self._generator.stop()
            case Event.KILL | Event.FORGET:
                self._generator.kill()
        if event is Event.FORGET:
            await forget_record(self._kube, self._mark)
            self._left = 0
        await self._generator.start(until="/healthz")
        self._trace.note(f"the generator is {event}")

    async def _let_go(self, hit: Sequence[str]) -> None:
        """Acknowledge the hold of those who were hit: they, and nobody else, are to go."""
        found: list[dict[str, Any]] = []

        async def held() -> bool:
            nonlocal found
            found = [each for each in await self._generator.holds() if set(hit) & set(each["tenants"])]
            return bool(found)

        await eventually(held, within=_RECOVERY, what=f"those who were hit are held; {self._trace}")
        for each in found:
            self._trace.note(f"acknowledged: {len(each['tenants'])} of {each['set']}")
            assert set(each["tenants"]) <= set(hit), f"{each} has more than {hit}; {self._trace}"
            self._owed.owed -= set(each["tenants"])
            status, answer = await self._generator.acknowledge(each["hash"], token=self._admin)
            assert status in (200, 202), f"{answer}; {self._trace}"
        self._rows = [row for row in self._rows if row not in hit]
        await self._owed.becomes(within=_SOON)

    async def _one_leaves(self) -> None:
        """Have one tenant sign off, if it may and somebody stays: its Application is to go."""
        if self._left >= _MAY_LEAVE or len(self._rows) < 4:
            return
        self._left += 1
        leaving = self._rows.pop(self._chance.randrange(len(self._rows)))
        self._trace.note(f"{leaving} signs off")
        self._owed.owed.discard(leaving)
        await self._table.delete([leaving])
        await self._owed.becomes(within=_SOON)
        await self._counted()

    async def _newcomer(self) -> None:
        new = f"new{self._new:02}"
        self._new += 1
        self._trace.note(f"{new} signs up")
        await self._table.insert({new: ACTIVE})
        await eventually(
            lambda: new in self._owed.has, within=_RECOVERY, what=f"{new} has an Application; {self._trace}"
        )
        self._owed.owed.add(new)
        self._rows.append(new)

    async def _asked(self, more: int) -> None:
        """Wait until Argo CD has asked so many more times, whatever it was told."""
        wanted, until = self._front.asked + more, time.monotonic() + _SOON
        while self._front.asked < wanted:
            assert time.monotonic() < until, f"Argo CD does not ask; {self._trace}"
            await self._ask()
            await asyncio.sleep(_ASKS_AGAIN)

    async def _healthy(self) -> bool:
        """Whether it answers, and not out of the record alone: what it reads first is what it takes for the table."""
        status, _ = await self._generator.getparams()
        is_read = await metric(self._generator, "tenantry_source_up", source="postgres") == 1
        return status == 200 and is_read and not await self._generator.holds()

    async def _counted(self) -> None:
        """Wait until the ApplicationSet's own status has as many Applications: what a first contact is judged by."""

        async def same() -> bool:
            body = await self._kube.get(APPLICATION_SETS, self._mark, NAMESPACE)
            return len(body.get("status", {}).get("resources", [])) == len(self._owed.owed)

        await eventually(same, within=_SOON, what=f"the ApplicationSet counts its Applications; {self._trace}")
