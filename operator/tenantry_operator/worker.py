"""The operator's own tasks: the caches, the workers that empty the queue, the resync, and whether all that moves."""

import asyncio
import contextlib
import random
from collections.abc import Coroutine
from typing import Any

from tenantry.errors import Conflict, KubeError
from tenantry.kube import Kube
from tenantry.telemetry import get_logger
from tenantry_operator.queue import Queue
from tenantry_operator.reconcile import Reconciler

__all__ = ["Worker"]

log = get_logger(__name__)

WORKERS = 16
RESYNC_SECONDS = 600.0
STUCK_SECONDS = 180.0


class Worker:
    """Runs the reconciler. `start` and `stop` belong to one event loop."""

    def __init__(self, kube: Kube) -> None:
        self._queue = Queue()
        self.reconciler = Reconciler(kube, self._queue)
        self._tasks: list[asyncio.Task[None]] = []
        self._busy_since: dict[str, float] = {}

    def start(self) -> None:
        """Start the caches and workers; the workers wait until every cache is complete."""
        self._spawn(self.reconciler.namespaces.run(), "namespaces")
        self._spawn(self.reconciler.classes.run(), "classes")
        self._spawn(self._resync(), "resync")
        for number in range(WORKERS):
            self._spawn(self._work(), f"worker {number}")

    async def stop(self) -> None:
        """Stop everything; a write under way is abandoned, which any later look makes good."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def trouble(self) -> str:
        """Return why the operator should be restarted, or "" while it makes progress."""
        for task in self._tasks:
            if task.done():
                return f"task {task.get_name()} has ended"
        now = asyncio.get_running_loop().time()
        for name, since in self._busy_since.items():
            if now - since > STUCK_SECONDS:
                return f"tenant {name} has been worked on for {STUCK_SECONDS:.0f} s"
        return ""

    def _spawn(self, task: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(task, name=name))

    async def _synced(self) -> None:
        await self.reconciler.namespaces.synced.wait()
        await self.reconciler.classes.synced.wait()

    async def _work(self) -> None:
        await self._synced()
        while True:
            name = await self._queue.get()
            self._busy_since[name] = asyncio.get_running_loop().time()
            try:
                await self.reconciler.reconcile(name)
                self._queue.forget(name)
            except KubeError as error:
                delay = self._queue.retry(name, at_least=error.retry_after or 0.0)
                level = log.info if isinstance(error, Conflict) else log.warning
                level("reconciling failed; trying again", tenant=name, error=str(error), seconds=round(delay, 1))
            except Exception:  # the outermost loop: one tenant's surprise must not stop the others
                delay = self._queue.retry(name)
                log.exception("reconciling failed unexpectedly; trying again", tenant=name, seconds=round(delay, 1))
            finally:
                del self._busy_since[name]
                self._queue.done(name)

    async def _resync(self) -> None:
        await self._synced()
        while True:
            await asyncio.sleep(RESYNC_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
            try:
                await self.reconciler.resync()
            except KubeError as error:
                log.warning("the resync failed; the next one comes in ten minutes", error=str(error))
