"""One generator as `tenantry_generator.__main__` puts it together, without sockets and on an event loop of its own."""

import asyncio
import itertools
from bisect import insort
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, cast

from multidict import CIMultiDict

from tenantry.kube import Kube
from tenantry.lease import Elector
from tenantry.render import RESERVED
from tenantry_generator.acknowledging import acknowledge_hold, describe
from tenantry_generator.answers import Answers
from tenantry_generator.applicationsets import ApplicationSet, read_application_set
from tenantry_generator.argocd import ApplicationSets
from tenantry_generator.auth import Tokens
from tenantry_generator.binding import Binding
from tenantry_generator.errors import GeneratorError, Refused
from tenantry_generator.getparams import Getparams
from tenantry_generator.metrics import Metrics
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.publisher import Publisher
from tenantry_generator.query import Query
from tenantry_generator.record import RecordStore, Stored
from tenantry_generator.record.configmaps import configmap_store
from tenantry_generator.responses import Answer
from tenantry_generator.role import LEASE, Role
from tenantry_generator.settings import Database, Table
from tenantry_generator.sources.cluster import ClusterSource
from tenantry_generator.sources.clusters import Clusters
from tenantry_generator.sources.departures import State
from tenantry_generator.sources.postgres import PostgresSource
from tenantry_generator.sources.postgres import Timing as PostgresTiming
from tenantry_generator.sources.table import Rendering
from tests.faults.virtual.api import VirtualApi
from tests.faults.virtual.clock import Clock, VirtualLoop
from tests.faults.virtual.database import VirtualConnector, VirtualPostgres
from tests.faults.virtual.kube import VirtualKube

__all__ = ["NAMESPACE", "Recording", "Replica"]

NAMESPACE = "tenantry-system"
_NUMBERS = itertools.count()
_DATABASE = Database(
    arguments={"host": "db"},
    address="db:5432",
    user="app",
    name="app",
    user_setting="DB_USER",
    name_setting="DB_NAME",
    address_setting="DB_HOST",
)
_TABLE = Table(schema=None, name="organization", tenant_column="tenant", columns=("status",))
_TOKEN = "s3cret"
_HEADERS = CIMultiDict({"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"})

Answered = Callable[["Replica", int, bytes], None]


class Replica:
    """A process. `wall` is its clock; `records` tells what became of the record that it loads and saves.

    `leased`: whether there is a Lease, and so a second replica; `recorded`: whether a record is kept.
    """

    def __init__(
        self,
        clock: Clock,
        api: VirtualApi,
        postgres: VirtualPostgres,
        *,
        wall: Callable[[], float],
        records: Callable[["Replica", RecordStore], RecordStore],
        leased: bool = False,
        recorded: bool = True,
        timing: PostgresTiming | None = None,
    ) -> None:
        self.number = next(_NUMBERS)
        self.started = clock.now
        self.lineage = 0
        self._clock = clock
        self.loop: VirtualLoop = clock.loop()
        self.kube = VirtualKube(api)
        self.kube_of_lease = VirtualKube(api)
        timing = timing or PostgresTiming()
        self.connector = VirtualConnector(_DATABASE, _TABLE, timeout=timing.connect, command_timeout=timing.command)
        self.connector.postgres = postgres
        self._wall = wall
        self._records = records
        self._leased = leased
        self._recorded = recorded
        self._timing = timing
        self._postgres = postgres
        self.role: Role
        self.publisher: Publisher
        self._getparams: Getparams | None = None
        self._task = self.loop.create_task(self._run())

    def ask(self, body: bytes, answered: Answered) -> None:
        """Send a request; `answered` gets status and body once the last byte has been sent, unless none ever is."""
        self.loop.create_task(self._answer(body, answered))

    def holds(self) -> list[dict[str, Any]]:
        """Return what GET /api/v1/holds shows."""
        return describe(self.publisher, self.answers)

    def acknowledge(self, given: str, refused: Callable[[], None]) -> None:
        """Agree to a hold as POST /api/v1/holds does; `refused` is called if it certainly came to nothing."""
        self.loop.create_task(self._acknowledge(given, refused))

    @property
    def answers_now(self) -> bool:
        """Whether it may answer."""
        if self.loop.stopped or self._task.done() or self._getparams is None:
            return False
        return self.loop.within(self.role.answering)

    @property
    def read_as_of(self) -> float | None:
        """The time of what was last read of the table."""
        return self.database.known if self._getparams is not None else None

    @property
    def first_read(self) -> float | None:
        """That of the first read."""
        return self.database.first if self._getparams is not None else None

    @property
    def blind(self) -> bool:
        """Whether it was told that it may not read the ApplicationSets, or that there are none, and never read them."""
        sets = self.answers.directory
        return isinstance(sets, ApplicationSets) and sets.settled and not sets.synced

    def knows(self, applicationset: Mapping[str, Any]) -> bool:
        """Whether it has heard of an ApplicationSet as it is, or never will."""
        found = self.answers.directory.find(applicationset["metadata"]["name"])
        return self.blind or (found is not None and found[0].uses == _read_set(applicationset).uses)

    def first_reads(self, plural: str | None) -> list[float]:
        """Return the times of the first reads of a kind, or of the table (None), since the start or a takeover."""
        if plural is not None:
            return self.kube.first_lists.get(plural, [])
        return self.database.first_reads if self._getparams is not None else []

    def has_loaded(self) -> None:
        """Note that the record was loaded: the reads that it is compared with count as first ones."""
        self.kube.counts_next = {"tenants", "namespaces"}
        self.database.counts_next = True
        if self.database.known is not None:
            self.database.first_reads.append(self.database.known)

    def cut_off(self, *, api: bool | None = None, postgres: bool | None = None) -> None:
        """Cut the network to the API server or to Postgres, or mend it."""
        if api is not None:
            self.kube.cut_off(api)
            self.kube_of_lease.cut_off(api)
        if postgres is not None:
            self.connector.cut = postgres

    def end(self, *, killed: bool) -> None:
        """End the process, as SIGTERM does or as SIGKILL does."""
        if killed:
            self.kube.dead = self.kube_of_lease.dead = True
            self.connector.dead = True
        self.loop.stopped = False
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        while asyncio.all_tasks(self.loop):
            self.loop.run_until_idle()
            if asyncio.all_tasks(self.loop):
                self._clock.advance(1.0)
        self.connector.dead = self.kube.dead = True
        for connection in [each for each in self._postgres.connections if each._client is self.connector]:
            connection.lose()
        self._clock.drop(self.loop)

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            await self._serve(stack)

    async def _serve(self, stack: AsyncExitStack) -> None:
        kube, lease = cast(Kube, self.kube), cast(Kube, self.kube_of_lease)
        metrics = Metrics()
        elector = Elector(lease, namespace=NAMESPACE, name=LEASE, identity=f"replica-{self.number}")
        role = self.role = Role(elector if self._leased else None)
        clusters = Clusters(own=kube, directory=None, metrics=metrics)
        database = self.database = _WatchedPostgres(self.connector, timing=self._timing)
        store: RecordStore | None = None
        if self._recorded:
            store = await stack.enter_async_context(configmap_store(kube, namespace=NAMESPACE))
            store = self._records(self, store)
        publisher = self.publisher = Publisher(
            cluster=ClusterSource(kube, columns=_TABLE.columns),
            database=database,
            metrics=metrics,
            columns=_TABLE.columns,
            store=store,
            clock=self._wall,
            may_write=role.answering,
            may_stand_by=self._leased,
            clusters=clusters.feeds,
        )
        clusters.on_read = publisher.wake

        def parse(given: Mapping[str, Any]) -> Query:
            return parse_query(given, accepted_parameters(_TABLE.columns, publisher.membership.merged.keys))

        directory = ApplicationSets(kube, namespace="argocd", config_maps=("tenantry",), columns=_TABLE.columns)
        answers = self.answers = Answers(
            publisher, directory, parse=parse, binding=Binding(publisher, clusters), metrics=metrics
        )
        role.on_promoted = answers.take_over
        self._getparams = Getparams(
            answers.answer,
            given=answers.given,
            tokens=Tokens(literal=_TOKEN, directory=None),
            metrics=metrics,
            why_not=role.why_not,
            made_of=lambda: "fresh",
        )
        async with role.holding(), asyncio.TaskGroup() as tasks:
            tasks.create_task(directory.run())
            tasks.create_task(clusters.run())
            tasks.create_task(publisher.run())

    async def _answer(self, body: bytes, answered: Answered) -> None:
        if self._getparams is None:
            return  # nobody listens yet
        request: Any = _Request(body)
        response: Any = await self._getparams(request)
        if not isinstance(response, Answer):
            answered(self, response.status, response.body)
            return
        await response.prepare(request)
        await response.write_eof()
        head, _, sent = b"".join(request.writer.sent).partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        length = next(int(line[16:]) for line in lines if line.startswith(b"Content-Length: "))
        assert length == len(sent), "the body is as long as its header says"
        answered(self, int(lines[0].split()[1]), sent)

    async def _acknowledge(self, given: str, refused: Callable[[], None]) -> None:
        if self.role.why_not():
            refused()
            return
        try:
            await acknowledge_hold(self.publisher, self.answers, given, by="on-call")
        except Refused:
            refused()
        except GeneratorError:
            return  # it may have been recorded, and its answer lost


class _WatchedPostgres(PostgresSource):
    """`known`: the time as of which the last read was that was not refused; `first`: that of the first one.

    `first_reads`: those of the first one, and of the first one after the record was loaded (`counts_next`).
    """

    def __init__(self, connector: VirtualConnector, *, timing: PostgresTiming | None) -> None:
        super().__init__(_DATABASE, _TABLE, timing=timing)
        self._connector = connector
        self._of = connector
        self.known: float | None = None
        self.first: float | None = None
        self.first_reads: list[float] = []
        self.counts_next = False

    def _accept(self, rendering: Rendering, state: State) -> None:
        super()._accept(rendering, state)
        self.known = self._of.read_as_of
        insort(self._of.accepted, self.known or 0.0)
        if self.first is None or self.counts_next:
            self.first_reads.append(self.known or 0.0)
            self.counts_next = False
        if self.first is None:
            self.first = self.known


def _read_set(body: Mapping[str, Any]) -> ApplicationSet:
    return read_application_set(dict(body), RESERVED | set(_TABLE.columns))


class Recording:
    """A RecordStore that tells what is loaded and saved."""

    def __init__(
        self,
        store: RecordStore,
        *,
        loaded: Callable[[Stored | None], None],
        saving: Callable[[Stored], None],
        saved: Callable[[Stored], None],
    ) -> None:
        self._store = store
        self._loaded = loaded
        self._held: Stored | None = None
        self._saving = saving
        self._saved = saved

    async def load(self) -> Stored | None:
        self._held = await self._store.load()
        self._loaded(self._held)
        return self._held

    async def is_current(self) -> bool:
        current = await self._store.is_current()
        if current:
            self._loaded(self._held)
        return current

    def adopt(self, tables: Mapping[str, Mapping[str, bytes]]) -> None:
        self._store.adopt(tables)

    async def save(self, stored: Stored) -> None:
        self._saving(stored)
        await self._store.save(stored)
        self._held = stored
        self._saved(stored)


class _Content:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def is_eof(self) -> bool:
        return True

    def read_nowait(self) -> bytes:
        return self._body


class _Writer:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def write(self, data: bytes) -> None:
        self.sent.append(bytes(data))

    async def drain(self) -> None:
        """Everything is sent at once."""


class _Request:
    """What Getparams and its Answer look at in a request."""

    headers = _HEADERS
    keep_alive = True
    version = (1, 1)
    transport = object()
    protocol = None

    def __init__(self, body: bytes) -> None:
        self.content = _Content(body)
        self.writer = _Writer()
