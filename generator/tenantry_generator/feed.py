"""One source as the publisher sees it: its last complete read, and why there is none at present."""

import asyncio
from collections.abc import Callable
from typing import Any

from tenantry.telemetry import get_logger
from tenantry_generator.metrics import Metrics
from tenantry_generator.sources import Read, Source

__all__ = ["Feed"]

log = get_logger(__name__)

_AFTER_CRASH = 5.0


class Feed:
    """Follows a source; calls `on_read` after each complete read. `fresh`: the last one has not been judged yet."""

    def __init__(self, source: Source[Any], metrics: Metrics, on_read: Callable[[], None]) -> None:
        self._source = source
        self._metrics = metrics
        self._on_read = on_read
        self._crash: str | None = None
        self._reading: asyncio.Task[None] | None = None
        self._starting_over = False
        self.read: Read[Any] | None = None
        self.fresh = False
        self.name = source.name
        metrics.source_up.labels(self.name).set_function(lambda: float(self.up))
        metrics.source_last_read.labels(self.name).set_function(lambda: source.read_at or 0.0)
        metrics.guard_held.labels(self.name).set(0)
        metrics.quarantined.labels(self.name).set_function(lambda: len(self.read.quarantined) if self.read else 0)

    @property
    def complete(self) -> bool:
        """Whether it has been read completely since the start."""
        return self.read is not None

    @property
    def problem(self) -> str | None:
        """Why it can't be read at present."""
        return self._crash or self._source.problem

    @property
    def up(self) -> bool:
        """Whether what was last read is how it is."""
        return self.complete and self.problem is None

    @property
    def state(self) -> str:
        """What keeps it from being read, for a message."""
        return f"{self.name} ({self.problem or 'still reading'})"

    async def run(self) -> None:
        """Follow the source for ever. A defect of ours ends neither the process nor what is being served."""
        while True:
            self._starting_over = False
            self._reading = asyncio.create_task(self._source.run(self._take), name=f"reading {self.name}")
            try:
                await self._reading
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not self._starting_over or (task is not None and task.cancelling()):
                    raise
                continue
            except Exception as error:
                # The outermost loop: without it one surprising object would take every tenant's answer away.
                self._crash = f"internal error: {type(error).__name__}"
                self._metrics.discarded.labels("defect").inc()
                log.exception("reading a source failed unexpectedly; trying again", source=self.name)
            await asyncio.sleep(_AFTER_CRASH)

    def start_over(self) -> None:
        """Read everything anew, since what was read may be older than what another process has served."""
        self.read, self.fresh = None, False
        self._source.start_over()
        if self._reading is not None and not self._reading.done():
            self._starting_over = self._reading.cancel()

    def _take(self, read: Read[Any]) -> None:
        self.read, self.fresh, self._crash = read, True, None
        for reason, count in read.rejected.items():
            self._metrics.rows_rejected.labels(self.name, reason).inc(count)
        self._on_read()
