"""Turns what the sources read into what is served: guard, merge, snapshot.

Nothing is served until every configured source has been read completely once; from then on a source that fails leaves
its last rows in place.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from tenantry.render import ClusterRow, Row
from tenantry.telemetry import get_logger
from tenantry_generator.errors import NotReady
from tenantry_generator.guard import State, admit
from tenantry_generator.merge import merge, shadowed
from tenantry_generator.metrics import Metrics
from tenantry_generator.snapshot import Snapshot, build_snapshot
from tenantry_generator.sources import Read, Source, kept

__all__ = ["Publisher"]

log = get_logger(__name__)

T = TypeVar("T")

_NAMES_IN_LOG = 20
_AFTER_CRASH = 5.0


class _Feed(Generic[T]):
    """One source, with what the guard lets through of it."""

    def __init__(self, source: Source[T], metrics: Metrics, on_change: Callable[[], None]) -> None:
        self._source = source
        self._metrics = metrics
        self._on_change = on_change
        self._crash: str | None = None
        self._state: State[T] | None = None
        name = source.name
        metrics.source_up.labels(name).set_function(lambda: float(self.complete and self.problem is None))
        metrics.source_last_read.labels(name).set_function(lambda: source.read_at or 0.0)
        metrics.guard_held.labels(name).set(0)

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def complete(self) -> bool:
        return self._state is not None

    @property
    def problem(self) -> str | None:
        return self._crash or self._source.problem

    @property
    def rows(self) -> Mapping[str, T]:
        return {} if self._state is None else self._state.rows

    async def run(self) -> None:
        """Follow the source for ever. A defect of ours ends neither the process nor what is being served."""
        while True:
            try:
                await self._source.run(self._take)
            except Exception as error:
                # The outermost loop: without it one surprising object would take every tenant's answer away.
                self._crash = f"internal error: {type(error).__name__}"
                log.exception("reading a source failed unexpectedly; trying again", source=self.name)
            await asyncio.sleep(_AFTER_CRASH)

    def _take(self, read: Read[T]) -> None:
        before: State[T] = State() if self._state is None else self._state
        rows = kept(read, before.rows)
        self._state = admit(before, rows, now=asyncio.get_running_loop().time(), doubted=read.doubted.keys())
        self._metrics.guard_held.labels(self.name).set(len(self._state.held))
        for reason, count in read.rejected.items():
            self._metrics.rows_rejected.labels(self.name, reason).inc(count)
        self._log_hold(before.held, self._state.held)
        self._on_change()
        self._crash = None

    def _log_hold(self, before: frozenset[str], after: frozenset[str]) -> None:
        if after == before:
            return
        if not after:
            log.info("the held tenants are back", source=self.name)
            return
        log.warning(
            "too many tenants are missing at once: they are held, and served as they were last seen",
            source=self.name,
            held=len(after),
            tenants=sorted(after)[:_NAMES_IN_LOG],
        )


class Publisher:
    """Holds the snapshot that is served now, None until every source has been read.

    A source that is not used is None.
    """

    def __init__(self, *, cluster: Source[ClusterRow] | None, database: Source[Row] | None, metrics: Metrics) -> None:
        self.snapshot: Snapshot | None = None
        self._metrics = metrics
        self._cluster = None if cluster is None else _Feed(cluster, metrics, self._refresh)
        self._database = None if database is None else _Feed(database, metrics, self._refresh)

    async def run(self) -> None:
        """Follow every source for ever."""
        async with asyncio.TaskGroup() as tasks:
            for feed in self._feeds:
                tasks.create_task(feed.run(), name=f"source {feed.name}")

    def current(self) -> Snapshot:
        """Return what to serve. NotReady: a source has not been read completely since the start; the text says why."""
        if self.snapshot is None:
            waiting = [f"{feed.name} ({feed.problem or 'still reading'})" for feed in self._feeds if not feed.complete]
            raise NotReady(f"no complete read yet from: {', '.join(waiting) or 'any source'}")
        return self.snapshot

    @property
    def _feeds(self) -> list[_Feed[ClusterRow] | _Feed[Row]]:
        return [feed for feed in (self._cluster, self._database) if feed is not None]

    def _refresh(self) -> None:
        if not all(feed.complete for feed in self._feeds):
            return
        cluster: Mapping[str, ClusterRow] = {} if self._cluster is None else self._cluster.rows
        database: Mapping[str, Row] = {} if self._database is None else self._database.rows
        before = self.snapshot
        self.snapshot = build_snapshot(merge(cluster, database), before)
        self._metrics.shadowed_rows.set(shadowed(cluster, database))
        if self.snapshot is before:
            return
        self._metrics.snapshot_revision.set(self.snapshot.revision)
        by_source = Counter(row["source"] for row in self.snapshot.rows.values())
        for feed in self._feeds:
            self._metrics.snapshot_tenants.labels(feed.name).set(by_source[feed.name])
        log.info("a new snapshot is served", revision=self.snapshot.revision, tenants=len(self.snapshot.rows))
