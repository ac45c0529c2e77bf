"""The record, read once and written before anything of it is served; without a store, nothing outlives the process."""

import asyncio
import time
from collections.abc import Sequence

from tenantry.backoff import Backoff
from tenantry.telemetry import get_logger
from tenantry_generator.errors import RecordConflict, RecordCorrupt, RecordUnavailable
from tenantry_generator.membership import Membership
from tenantry_generator.membership_codec import decode, encode
from tenantry_generator.metrics import Metrics
from tenantry_generator.record import RecordStore

__all__ = ["Recorder"]

log = get_logger(__name__)

_FIRST_RETRY, _LAST_RETRY = 0.2, 10.0


class Recorder:
    """Loads and saves a Membership. `problem` is why the record can't be used at present, None while it can."""

    def __init__(self, store: RecordStore | None, *, columns: Sequence[str], metrics: Metrics) -> None:
        self._store = store
        self._columns = tuple(columns)
        self._metrics = metrics
        self._backoff = Backoff(first=_FIRST_RETRY, cap=_LAST_RETRY)
        self._last: Membership | None = None
        """What was last loaded or saved."""
        self.problem: str | None = None

    async def load(self) -> Membership:
        """Return what was recorded, an empty Membership if nothing ever was. What nobody has changed is not read again.

        Waits for as long as it can't be read. A damaged record is an error that a person has to mend, for what it held
        is not known; so that is waited for as well.
        """
        while True:
            try:
                if self._last is not None and self._store is not None and await self._store.is_current():
                    self._worked()
                    return self._last
                self._last = None  # whatever comes of reading it, what is known is older
                stored = None if self._store is None else await self._store.load()
                # Beside the event loop: with many tenants it takes a second or two, in which a Lease has to be renewed.
                membership = Membership() if stored is None else await asyncio.to_thread(decode, stored, self._columns)
            except (RecordUnavailable, RecordCorrupt) as error:
                self._failed(f"the record of what was served can't be read: {error}")
                await self.pause()
                continue
            self._worked()
            if stored is not None and self._store is not None:
                await asyncio.to_thread(self._store.adopt, encode(membership).tables)
                self._last = membership
                self._metrics.record_revision.set(stored.revision)
                tenants = len(membership.merged.rows)
                log.info("the record was read", revision=stored.revision, tenants=tenants)
            return membership

    async def save(self, membership: Membership) -> bool:
        """Write it; return whether that is known to have succeeded. RecordConflict: somebody else has written."""
        if self._store is None:
            return True
        started = time.perf_counter()
        try:
            await self._store.save(encode(membership))
        except RecordUnavailable as error:
            self._metrics.discarded.labels("not_recorded").inc()
            self._failed(f"the record can't be written, so nothing new is served: {error}")
            return False
        except RecordConflict:
            self._metrics.discarded.labels("conflict").inc()
            raise
        finally:
            self._metrics.record_save.observe(time.perf_counter() - started)
        self._last = membership
        self._metrics.record_revision.set(membership.revision)
        self._worked()
        return True

    async def pause(self) -> None:
        """Wait before the next try."""
        await asyncio.sleep(self._backoff.next())

    def _failed(self, problem: str) -> None:
        self._metrics.record_errors.inc()
        if problem != self.problem:
            log.error("the record can't be used; trying again", error=problem)
        self.problem = problem

    def _worked(self) -> None:
        if self.problem is not None:
            log.info("the record can be used again")
        self.problem = None
        self._backoff.reset()
