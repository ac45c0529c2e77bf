"""Writes Events about Tenants, without ever being in the way: see docs/adr/0012.

Notes wait in a short queue and are written one after the other, slowly. What finds the queue full, or what the API
server refuses, is dropped and counted: an Event is a courtesy, and the status says the same.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from tenantry.errors import KubeError
from tenantry.events import event
from tenantry.kube import Kube
from tenantry.resources import EVENTS, TENANTS
from tenantry.telemetry import get_logger
from tenantry_operator.entry import Entry
from tenantry_operator.metrics import Metrics
from tenantry_operator.notes import Note

__all__ = ["EVENTS_NAMESPACE", "Recorder"]

log = get_logger(__name__)

EVENTS_NAMESPACE = "default"
"""Where the API server wants Events about cluster-scoped objects to be."""


class Recorder:
    """The Events of one process. `rate` a second at most, but for a burst after silence; `capacity` may wait.

    The same is said of the same Tenant once in `repeat` seconds. While `busy()`, only one comes every `give_way`
    seconds: the API server's time is then wanted for Tenants.
    """

    def __init__(
        self,
        kube: Kube,
        metrics: Metrics,
        *,
        rate: float = 5.0,
        burst: int = 20,
        capacity: int = 500,
        repeat: float = 60.0,
        busy: Callable[[], bool] = lambda: False,
        give_way: float = 1.0,
    ) -> None:
        self._kube = kube
        self._metrics = metrics
        self._rate, self._burst = rate, burst
        self._capacity, self._repeat = capacity, repeat
        self._busy, self._give_way = busy, give_way
        self._clock = asyncio.get_running_loop().time
        self._said: dict[tuple[str, Note], float] = {}
        self._waiting: dict[bool, deque[dict[str, Any]]] = {True: deque(), False: deque()}
        self._available = asyncio.Event()
        self._refused = False

    def say(self, entry: Entry, note: Note | None) -> None:
        """Have an Event written about a Tenant some time soon, or not at all; None is nothing to say."""
        if note is None or self._repeats(entry.uid, note):
            return
        lane = self._waiting[note.warning]
        if len(lane) >= self._capacity:
            self._metrics.count_event("dropped")
            return
        lane.append(_body(entry, note))
        self._available.set()

    async def run(self) -> None:
        """Write what waits, warnings first, for ever."""
        tokens, last = float(self._burst), self._clock()
        while True:
            await self._some()
            if self._busy():
                await asyncio.sleep(self._give_way)
            body = self._next()
            now = self._clock()
            tokens, last = min(self._burst, tokens + (now - last) * self._rate), now
            await self._write(body)
            tokens -= 1
            if tokens < 1:
                await asyncio.sleep((1 - tokens) / self._rate)

    async def _some(self) -> None:
        while not any(self._waiting.values()):
            self._available.clear()
            await self._available.wait()

    def _next(self) -> dict[str, Any]:
        return (self._waiting[True] or self._waiting[False]).popleft()

    async def _write(self, body: dict[str, Any]) -> None:
        try:
            await self._kube.create(EVENTS, body, EVENTS_NAMESPACE)
        except KubeError as error:
            self._metrics.count_event("refused")
            if not self._refused:
                log.warning("Events can't be written", error=str(error))
            self._refused = True
            return
        self._metrics.count_event("written")
        if self._refused:
            log.info("Events are written again")
        self._refused = False

    def _repeats(self, uid: str, note: Note) -> bool:
        now = self._clock()
        # Oldest first, as a dict keeps its order: what is too old to matter goes.
        while self._said and now - self._said[oldest := next(iter(self._said))] >= self._repeat:
            del self._said[oldest]
        if (uid, note) in self._said:
            return True
        self._said[uid, note] = now
        return False


def _body(entry: Entry, note: Note) -> dict[str, Any]:
    regarding = {"apiVersion": TENANTS.api_version, "kind": TENANTS.kind, "name": entry.name, "uid": entry.uid}
    return event(
        "tenantry-operator",
        regarding,
        about=entry.name,
        namespace=EVENTS_NAMESPACE,
        action="Reconcile",
        reason=note.reason,
        note=note.text,
        warning=note.warning,
    )
