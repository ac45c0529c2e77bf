"""The work queue: which tenants to look at next.

client-go's semantics in asyncio. A key is in the queue once however often it is added; two workers never have the same
key; a key added while it is worked on is worked on again afterwards. Changes go before resyncs, so that a person's edit
never waits behind ten thousand tenants that are looked at just in case; but one turn in eight is a resync's, so that
those don't wait for the day on which nobody changes anything.
"""

import asyncio
import enum
import math
import time
from collections import deque

from tenantry.backoff import Backoff
from tenantry_operator.metrics import Metrics

__all__ = ["Lane", "Queue"]

_TURNS = 8
"""Of so many turns the last goes to a resync first."""


class Lane(enum.IntEnum):
    """What a key waits behind: `CHANGE` before `RESYNC`, seven turns out of eight."""

    CHANGE = 0
    RESYNC = 1


class Queue:
    """Keys to reconcile. `first_retry` and `last_retry` bound the back-off of a failing key, in seconds."""

    def __init__(self, *, first_retry: float = 0.5, last_retry: float = 300.0, metrics: Metrics | None = None) -> None:
        self._first_retry = first_retry
        self._last_retry = last_retry
        self._metrics = metrics or Metrics()
        self._lanes: tuple[deque[str], deque[str]] = (deque(), deque())
        self._waiting: dict[str, tuple[Lane, float]] = {}
        self._working: dict[str, float] = {}
        self._again: dict[str, Lane] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._turn = 1
        self._available = asyncio.Event()
        self._metrics.watch_queue(
            depth=lambda: len(self._waiting),
            unfinished=lambda: sum(map(_age, self._working.values())),
            longest=self.longest_work,
        )

    def __len__(self) -> int:
        return len(self._waiting)

    def longest_wait(self) -> float:
        """Return for how many seconds the oldest key has waited; 0.0 when none does."""
        return max((_age(since) for _, since in self._waiting.values()), default=0.0)

    def longest_work(self) -> float:
        """Return for how many seconds the longest work has been under way; 0.0 when none is."""
        return max(map(_age, self._working.values()), default=0.0)

    def add(self, key: str, lane: Lane = Lane.CHANGE) -> None:
        """Put `key` in, unless it waits already; in a higher lane it moves up."""
        if key in self._working:
            if key not in self._again:
                self._metrics.adds.inc()
            self._again[key] = min(lane, self._again.get(key, lane))
            return
        present = self._waiting.get(key)
        if present is None:
            self._metrics.adds.inc()
        elif present[0] <= lane:
            return
        self._wait(key, lane, since=time.monotonic() if present is None else present[1])

    def add_after(self, key: str, delay: float) -> None:
        """Put `key` in after `delay` seconds; an earlier time already set stands."""
        loop = asyncio.get_running_loop()
        present = self._timers.get(key)
        if present is not None and present.when() <= loop.time() + delay:
            return
        if present is not None:
            present.cancel()
        self._timers[key] = loop.call_later(delay, self._due, key)

    async def get(self) -> str:
        """Return the next key, waiting for one; the caller must call `done` with it."""
        while True:
            for lane in Lane if self._turn % _TURNS else reversed(Lane):
                while self._lanes[lane]:
                    key = self._lanes[lane].popleft()
                    present = self._waiting.get(key)
                    if present is not None and present[0] is lane:
                        del self._waiting[key]
                        self._metrics.queue_seconds.observe(_age(present[1]))
                        self._working[key] = time.monotonic()
                        self._turn += 1
                        return key
            self._available.clear()
            await self._available.wait()

    def caught_up(self, key: str) -> None:
        """Say that the work on `key` begins to look anew: what has come up to now needs no further look."""
        self._again.pop(key, None)

    def done(self, key: str) -> None:
        """Say that the work on `key` has ended, whatever came of it."""
        self._metrics.work_seconds.observe(_age(self._working.pop(key)))
        lane = self._again.pop(key, None)
        if lane is not None:
            self._wait(key, lane, since=time.monotonic())

    def retry(self, key: str, *, at_least: float = 0.0, at_most: float = math.inf) -> float:
        """Put `key` in again after its back-off; return the delay in seconds.

        The back-off doubles when it has passed in vain. A try that fails before, since something else called for it,
        leaves the next one at its time: many changes near an obstacle must not put off the look at whether it is gone.
        """
        self._metrics.retries.inc()
        backoff, timer = self._backoffs.get(key), self._timers.get(key)
        if backoff is None:
            backoff = self._backoffs[key] = Backoff(first=self._first_retry, cap=self._last_retry)
        elif timer is not None:
            left = max(0.0, timer.when() - asyncio.get_running_loop().time())
            if left <= at_most:
                return left
        delay = min(at_most, max(at_least, backoff.next()))
        self.add_after(key, delay)
        return delay

    def forget(self, key: str) -> None:
        """End the back-off of `key`: the last try succeeded."""
        self._backoffs.pop(key, None)

    def _wait(self, key: str, lane: Lane, *, since: float) -> None:
        # A key that moves up leaves a ghost in the lower lane, which `get` passes over.
        self._waiting[key] = (lane, since)
        self._lanes[lane].append(key)
        self._available.set()

    def _due(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)


def _age(since: float) -> float:
    return time.monotonic() - since
