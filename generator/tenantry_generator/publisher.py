"""Turns what the sources read into what is served: guard, merge and views, then the record, and only then a snapshot.

Nothing is served that has not been recorded. While the record can't be written the last snapshot stays, and what
changes meanwhile becomes one change. After a start the record is what new reads are compared with, and what is served
when a source can't be read.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tenantry.render import ClusterRow, Row
from tenantry.telemetry import get_logger
from tenantry_generator.answer_metrics import Outcome
from tenantry_generator.errors import NotReady, RecordConflict, Refused
from tenantry_generator.feed import Feed
from tenantry_generator.feeds import Feeds
from tenantry_generator.membership import Membership, forget_unused, release_views
from tenantry_generator.membership_namespaces import forget_clusters
from tenantry_generator.metrics import Metrics
from tenantry_generator.record import RecordStore
from tenantry_generator.recorder import Recorder
from tenantry_generator.reporting import measure, report_holds
from tenantry_generator.snapshot import Snapshot, build_snapshot, prepare
from tenantry_generator.sources import Read, Source
from tenantry_generator.taking import take_clusters, take_reads

__all__ = ["Change", "Publisher"]

log = get_logger(__name__)

_PATIENCE = 10.0
"""Seconds that a start waits for sources that are still being read before it serves from the record."""
_POLL = 0.25
_AT_ONCE = 0.02
_ANSWER_WITHIN = 5.0
_AT_A_STRETCH = 0.01
"""Seconds for which encoding keeps the event loop from everything else."""

Change = Callable[[Membership, float], Membership]
"""What is to become of the state at a Unix time. Refused or NotReady: it can't be done."""


@dataclass(frozen=True, slots=True)
class _Request:
    change: Change
    done: asyncio.Future[Membership]


class Publisher:
    """Holds the snapshot that is served now, None until there is one that is safe.

    A source that is not used is None; `feeds` are those that are. `membership` is what was recorded, which `snapshot`
    serves. `on_served(before, after)` is called with the recorded states when another one is served, and when one is
    after a takeover.
    """

    def __init__(
        self,
        *,
        cluster: Source[ClusterRow] | None,
        database: Source[Row] | None,
        metrics: Metrics,
        columns: Sequence[str] = (),
        store: RecordStore | None = None,
        clock: Callable[[], float] = time.time,
        may_write: Callable[[], bool] = lambda: True,
        may_stand_by: bool = True,
        clusters: Mapping[str, Feed] | None = None,
    ) -> None:
        self.snapshot: Snapshot | None = None
        self.membership = Membership()
        self._built: Snapshot | None = None
        self._metrics = metrics
        self._clock = clock
        self._may_write = may_write
        self._may_stand_by = may_stand_by
        self._loaded = asyncio.Event()
        self._must_load = False
        self._recorder = Recorder(store, columns=columns, metrics=metrics)
        self._changed = asyncio.Event()
        self._requests: list[_Request] = []
        self._later: dict[str, Change] = {}
        self._conflict: str | None = None
        self._crash: str | None = None
        self._loaded_at: float | None = None
        used = [source for source in (cluster, database) if source is not None]
        self.feeds = Feeds({source.name: Feed(source, metrics, self._changed.set) for source in used})
        self._clusters = {} if clusters is None else clusters
        self.on_served: Callable[[Membership, Membership], None] = lambda before, after: None

    async def run(self) -> None:
        """Follow every source for ever."""
        async with asyncio.TaskGroup() as tasks:
            for feed in self.feeds.values():
                tasks.create_task(feed.run(), name=f"source {feed.name}")
            tasks.create_task(self._keep(), name="record")

    def current(self) -> Snapshot:
        """Return what to serve. NotReady: nothing is safe to serve yet; the text says why."""
        if self.snapshot is not None:
            return self.snapshot
        if self._conflict is not None:
            raise NotReady(self._conflict)
        if self._loaded_at is None and self._recorder.problem is not None:
            raise NotReady(self._recorder.problem)
        waiting = self.feeds.unread
        if not waiting and self._recorder.problem is not None:
            raise NotReady(self._recorder.problem)
        raise NotReady(f"no complete read yet from: {', '.join(waiting) or 'any source'}")

    @property
    def problem(self) -> str | None:
        """Why what is served may be behind; None while it isn't."""
        return self._crash or self._recorder.problem

    @property
    def made_of(self) -> Outcome:
        """What an answer of now is made of."""
        outcome = self.feeds.outcome
        return "last_good" if outcome == "fresh" and self.problem is not None else outcome

    def wake(self) -> None:
        """Look at what was read of the clusters."""
        self._changed.set()

    async def change(self, change: Change) -> Membership:
        """Make a change; return the state once it has been recorded and is served.

        NotReady: it could not be recorded in time, and will not be. What `change` raises is raised here.
        """
        request = _Request(change, asyncio.get_running_loop().create_future())
        self._requests.append(request)
        self._changed.set()
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                return await request.done
        except TimeoutError:
            raise NotReady(self._recorder.problem or "the record could not be written in time") from None

    def change_later(self, what: str, change: Change) -> None:
        """Make a change, which must not fail, with the next one; of several of the same `what` the last counts."""
        self._later[what] = change

    def now(self) -> float:
        """Return the Unix time."""
        return self._clock()

    async def take_over(self) -> None:
        """Begin anew, as another process may have written the record: return when that is read.

        Every source is read anew too: what this process read before may lack what the other one has served since.
        NotReady: the record can't be read; then this has to be called again.
        """
        self.snapshot = self._built = None
        self._read_anew()
        self._must_load = True
        self._loaded.clear()
        self._changed.set()
        while not self._loaded.is_set():
            if self._recorder.problem is not None:
                raise NotReady(self._recorder.problem)
            await asyncio.sleep(_AT_ONCE)

    def require_ready(self) -> None:
        """Raise NotReady unless this process answers, or could at once if it no longer stood by.

        Without a Lease nobody stands by: what does not answer yet is only starting.
        """
        standing_by = self._may_stand_by and not self._may_write() and self._loaded_at is not None
        if standing_by and (not self.feeds.unread or self.feeds.keys() <= self.membership.sources.keys()):
            return
        self.current()

    def _read_anew(self) -> None:
        """What was read so far may be older than what another process has served since."""
        for feed in (*self.feeds.values(), *self._clusters.values()):
            feed.start_over()

    async def _keep(self) -> None:
        """Keep the record and the snapshot in step with the sources, for ever."""
        while True:
            self._must_load = False
            self.membership = await self._recorder.load()
            self._loaded_at = asyncio.get_running_loop().time()
            self._loaded.set()
            for feed in (*self.feeds.values(), *self._clusters.values()):
                feed.fresh = feed.complete
            self._changed.set()
            try:
                while not self._must_load:
                    await self._wait()
                    if not self._may_write():
                        await asyncio.sleep(_POLL)
                    elif not self._must_load:
                        await self._settle()
                continue
            except RecordConflict as error:
                self.snapshot = None
                self._read_anew()
                self._conflict = f"another process writes the record of this one: {error}"
                log.error(
                    "another process writes the record; nothing is served until it is read anew", error=str(error)
                )
            except Exception as error:
                # The outermost loop: a defect must not end the following of changes for good.
                self._crash = f"internal error: {type(error).__name__}"
                self._metrics.discarded.labels("defect").inc()
                log.exception("following a change failed unexpectedly; what was served last stays")
            await self._recorder.pause()

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if self.snapshot is not None else _POLL):
                await self._changed.wait()

    async def _settle(self) -> None:
        """Do everything that is asked for now, as one change."""
        self._changed.clear()
        requests, self._requests = [each for each in self._requests if not each.done.done()], []
        feeds = (*self.feeds.values(), *(self._clusters.values() if self._may_serve() else ()))
        taken = {feed: feed.read for feed in feeds if feed.fresh and feed.read is not None}
        after = await self._next(taken, requests)
        snapshot = await self._build(after)
        if self._must_load:  # meanwhile another process may have written: begin anew with what it wrote
            self._requests = [*requests, *self._requests]
            return
        if after is not self.membership:
            after = replace(after, revision=self.membership.revision + 1)
            if not await self._recorder.save(after):
                self._requests = [*requests, *self._requests]
                self._changed.set()
                await self._recorder.pause()
                return
        for feed, read in taken.items():
            feed.fresh = feed.read is not read
        report_holds(self.membership, after, self._metrics)
        before, served = self.membership, self.snapshot
        self.membership, self._crash = after, None
        if not self._must_load:
            self._built = snapshot
            self._publish()
        if self.snapshot is not None and (after is not before or served is None):
            self.on_served(before, after)
        for request in requests:
            if not request.done.done():
                request.done.set_result(after)

    async def _next(self, taken: Mapping[Feed, Read[Any]], requests: Sequence[_Request]) -> Membership:
        now = self._clock()
        reads = {source: taken[feed] for source, feed in self.feeds.items() if feed in taken}
        membership = await take_reads(self.membership, reads, configured=self.feeds.keys(), now=now)
        for request in requests:
            try:
                membership = request.change(membership, now)
            except (Refused, NotReady) as error:
                if not request.done.done():
                    request.done.set_exception(error)
        membership = take_clusters(membership, self._clusters, taken, now=now)
        if membership is not self.membership:
            for change in self._later.values():
                membership = change(membership, now)
            self._later = {}
            membership = forget_unused(membership, now=now)
            membership = forget_clusters(membership, known=self._clusters.keys(), now=now)
        return release_views(membership, now=now) if self.feeds.all_up else membership

    async def _build(self, membership: Membership) -> Snapshot | None:
        """Return what would be served, before it is recorded: what can't be encoded shall not be in the record."""
        if not self.feeds.keys() <= membership.sources.keys():
            return None
        built, rows = self._built, membership.merged.rows
        clock = asyncio.get_running_loop().time
        parts, until = {}, clock() + _AT_A_STRETCH
        for block, part in prepare(rows, built):
            parts[block] = part
            if clock() > until:
                await asyncio.sleep(0)  # others have a Lease to renew, and requests to answer
                until = clock() + _AT_A_STRETCH
        return build_snapshot(rows, built, first=max(1, self.membership.revision), parts=parts)

    def _may_serve(self) -> bool:
        """Whether every source has been read, or those that have not been won't be soon."""
        if self.snapshot is not None or self._loaded_at is None:
            return self.snapshot is not None
        waited = asyncio.get_running_loop().time() - self._loaded_at
        return self.feeds.are_served(impatient=waited > _PATIENCE)

    def _publish(self) -> None:
        if self._built is None or not self._may_serve():
            return
        self._conflict = None
        if self.snapshot is self._built:
            return
        self.snapshot = self._built
        measure(self.snapshot, self.membership, tuple(self.feeds), self._metrics)
        log.info(
            "a new snapshot is served",
            revision=self.snapshot.revision,
            tenants=len(self.snapshot.rows),
            unread=self.feeds.unread,
        )
