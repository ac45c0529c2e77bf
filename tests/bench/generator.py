"""The generator among many tenants: one change, filtered answers, and what it takes beside a real Postgres.

`change` and `filters` drive the real Publisher and Answers in this process, from a source's read to the answer that has
it, the record in files included. `memory` is the real process on a real table, asked over HTTP.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog

from tenantry.classes import resolve
from tenantry.interpreter import prepare_interpreter
from tenantry.model import parse_tenant
from tenantry.render import ClusterRow, Row, TableRow, render_tenant
from tenantry_generator.answers import Answers
from tenantry_generator.applicationsets import ApplicationSet, Use
from tenantry_generator.binding import Binding
from tenantry_generator.blockmap import BlockMap
from tenantry_generator.contract import Request
from tenantry_generator.metrics import Metrics
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.publisher import Publisher
from tenantry_generator.record.file import file_store
from tenantry_generator.sources import Read
from tenantry_generator.sources.clusters import Clusters
from tests.support.eventually import eventually
from tests.support.postgres import Postgres, execute
from tests.support.tenantry import Generator

__all__ = ["measure_change", "measure_filters", "measure_memory"]

T = TypeVar("T")

_COLUMNS = ("status", "plan")
_CHANGES = 200
_ROUNDS = 10
_STATUSES = 100
"""So many statuses there are: each is one tenant in a hundred."""
_PATIENCE = 120.0


class _Told:
    """A source that reads what it is told."""

    problem = None
    read_at = 0.0

    def __init__(self, name: str) -> None:
        self.name = name
        self.publish: Callable[[Read[Any]], None]
        self.running = asyncio.Event()

    def start_over(self) -> None:
        """Nothing to forget."""

    async def run(self, publish: Callable[[Read[Any]], None]) -> None:
        """Wait to be told."""
        self.publish = publish
        self.running.set()
        await asyncio.Event().wait()


class _Plain:
    """A Directory in which every ApplicationSet is one plugin generator without a selector, and owns nothing."""

    settled = True
    behind = False

    def names(self) -> list[str]:
        """Return none: nobody looks."""
        return []

    def find(self, name: str) -> tuple[ApplicationSet, Sequence[Use]]:
        """Return the ApplicationSet of this name, which asks for the status that it is named after."""
        use = Use("tenantry", {"status": name}, None)
        return ApplicationSet(name, "uid", 0, (use,), True), (use,)


class _Service:
    """A Publisher with both sources, and its Answers."""

    def __init__(self, store: Any) -> None:
        self.cluster, self.database = _Told("cluster"), _Told("postgres")
        metrics = Metrics()
        clusters = Clusters(own=None, directory=None, metrics=metrics)
        self.publisher = Publisher(
            cluster=self.cluster, database=self.database, metrics=metrics, columns=_COLUMNS, store=store
        )
        self._served = asyncio.Event()
        self.publisher.on_served = lambda *_: self._served.set()
        accepted = accepted_parameters(_COLUMNS)
        self.answers = Answers(
            self.publisher,
            _Plain(),
            parse=lambda given: parse_query(given, accepted),
            binding=Binding(self.publisher, clusters),
            metrics=metrics,
        )

    async def first(self, cluster: BlockMap[ClusterRow], database: BlockMap[Row]) -> None:
        """Have both sources read."""
        await self.cluster.running.wait()
        await self.database.running.wait()
        self.cluster.publish(Read(cluster))
        self.database.publish(Read(database))
        await eventually(lambda: self.publisher.snapshot is not None, within=_PATIENCE, what="the first snapshot")

    async def read(self, source: _Told, entries: BlockMap[Any]) -> None:
        """Have a source read; return as soon as that is served."""
        self._served.clear()
        source.publish(Read(entries))
        await self._served.wait()


@asynccontextmanager
async def _service() -> AsyncIterator[_Service]:
    prepare_interpreter()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory(prefix="tenantry-bench-") as folder:
        async with file_store(Path(folder)) as store:
            service = _Service(store)
            running = asyncio.create_task(service.publisher.run())
            try:
                yield service
            finally:
                running.cancel()
                await asyncio.wait((running,))


def _name(number: int) -> str:
    return f"tenant-{number:06}"


def _row(number: int, *, plan: str = "gold") -> Row:
    return TableRow((_name(number), f"s{number % _STATUSES}", plan), _COLUMNS)


def _tenant(number: int, *, plan: str = "gold") -> ClusterRow:
    body = {"metadata": {"name": _name(number), "labels": {"tier": plan}}, "spec": {"parameters": {"plan": plan}}}
    return render_tenant(resolve(parse_tenant(body), {}), _COLUMNS)


async def measure_change(tenants: int) -> None:
    """Print wall and CPU from one Tenant's change, as the watch has told it, until the next answer has it."""
    rows: BlockMap[Row] = BlockMap.of({_name(each): _row(each) for each in range(tenants)})
    objects = BlockMap.of({_name(each): _tenant(each) for each in range(tenants)})
    nothing: BlockMap[Any] = BlockMap()
    for what, cluster, database in (("over database rows", nothing, rows), ("among Tenants", objects, nothing)):
        async with _service() as service:
            await service.first(cluster, database)
            request = Request("", {})
            taken: list[tuple[float, float]] = []
            for number in range(_CHANGES):
                changed = _tenant(number * 7919 % tenants, plan=f"p{number}")
                started, cpu = time.perf_counter(), time.process_time()
                cluster = cluster.updated({changed.element["name"]: changed})
                await service.read(service.cluster, cluster)
                body = (await service.answers.answer(request)).body
                taken.append((time.perf_counter() - started, time.process_time() - cpu))
                assert body.length > tenants
        walls, cpus = zip(*taken, strict=True)
        print(f"one change {what}, {tenants} in all: {_quantiles(walls)}; CPU {statistics.median(cpus) * 1000:.1f} ms")


async def measure_filters(tenants: int) -> None:
    """Print what answers of 1 % take, each asked for the first time since something changed, and repeated."""
    rows: BlockMap[Row] = BlockMap.of({_name(each): _row(each) for each in range(tenants)})
    async with _service() as service:
        await service.first(BlockMap(), rows)
        for label, rounds in (("never asked for", 1), ("first since a change", _ROUNDS)):
            first, again = [], []
            for number in range(rounds):
                for request in _requests():
                    first.append(await _timed(service, request))
                    again.append(min([await _timed(service, request) for _ in range(5)]))
                rows = rows.updated({_name(1): _row(1, plan=f"{label} {number}")})
                await service.read(service.database, rows)
            print(f"a status of {tenants} tenants, {label}: {_quantiles(first)}; repeated {_quantiles(again)}")


def _requests() -> Iterator[Request]:
    return (Request(f"s{number}", {"status": f"s{number}"}) for number in range(_STATUSES))


async def _timed(service: _Service, request: Request) -> float:
    started = time.perf_counter()
    (await service.answers.answer(request)).sent()
    return time.perf_counter() - started


async def measure_memory(tenants: int) -> None:
    """Print a real process's cold start, memory at rest and at the peak of a full change, and commit to answer."""
    with tempfile.TemporaryDirectory(prefix="tenantry-bench-") as folder:
        postgres = Postgres(Path(folder))
        await postgres.create()
        try:
            dsn = await postgres.create_database("app")
            await execute(
                dsn,
                "CREATE TABLE tenants (tenant text PRIMARY KEY, status text NOT NULL)",
                f"INSERT INTO tenants SELECT 'tenant-' || n, 'active' FROM generate_series(1, {tenants}) n",
            )
            await _process(dsn, tenants, Path(folder) / "generator")
        finally:
            postgres.destroy()


async def _process(dsn: str, tenants: int, directory: Path) -> None:
    env = {"TENANTRY_SOURCES": "postgres", "TENANTRY_DATABASE_URL": dsn, "TENANTRY_TABLE": "tenants"}
    env["MALLOC_ARENA_MAX"] = "1"  # as in the image
    for start in ("without a record", "with a record"):
        generator = Generator(token="bench", directory=directory, env=env)
        started = time.monotonic()
        await generator.start(until="/healthz")
        await _answered(generator, tenants, {})
        print(f"{tenants} rows, {start}: first answer after {time.monotonic() - started:.1f} s", flush=True)
        await asyncio.sleep(3)
        print(f"  at rest {_memory(generator, 'VmRSS')} MiB, peak until then {_memory(generator, 'VmHWM')} MiB")
        taken = [await _committed(generator, dsn, number, start) for number in range(5)]
        print(f"  one row from commit to answer: {_quantiles(taken)}")
        status = "late" if start == "without a record" else "active"
        (Path(f"/proc/{generator.process.pid}") / "clear_refs").write_text("5")  # the peak begins anew
        started = time.monotonic()
        await execute(dsn, f"UPDATE tenants SET status = '{status}'", "NOTIFY tenantry")
        await _answered(generator, tenants, {"status": status})
        print(f"  every row changed: in the answer after {time.monotonic() - started:.1f} s, ", end="")
        await asyncio.sleep(3)
        print(f"peak {_memory(generator, 'VmHWM')} MiB, at rest again {_memory(generator, 'VmRSS')} MiB", flush=True)
        await generator.stop()


async def _committed(generator: Generator, dsn: str, number: int, round_: str) -> float:
    status = f"changed {number} {round_}"
    started = time.monotonic()
    await execute(
        dsn, f"UPDATE tenants SET status = '{status}' WHERE tenant = 'tenant-{number + 1}'", "NOTIFY tenantry"
    )
    await _answered(generator, 1, {"status": status})
    taken = time.monotonic() - started
    await asyncio.sleep(2)  # reading takes at most half of the time, so right after a read the next one waits
    return taken


async def _answered(generator: Generator, count: int, parameters: dict[str, Any]) -> None:
    # Of an ApplicationSet that filters by status the guard would hold everybody when every status changes.
    name = "" if parameters else "bench"

    async def answered() -> bool:
        status, answer = await generator.getparams(parameters, applicationset=name)
        return status == 200 and len(answer["output"]["parameters"]) == count

    await eventually(answered, within=_PATIENCE, what=f"an answer of {count} elements")


def _memory(generator: Generator, key: str) -> int:
    lines = Path(f"/proc/{generator.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(f"{key}:"))


def _quantiles(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return f"p50 {statistics.median(ordered) * 1000:.3g} ms, p99 {p99 * 1000:.3g} ms"
