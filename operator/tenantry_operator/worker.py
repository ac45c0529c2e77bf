"""The operator's own tasks: the caches, the workers that empty the queue, and whether all that moves."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from tenantry.errors import Conflict, InUse, KubeError
from tenantry.kube import Kube
from tenantry.names import ARGOCD_NAMESPACE
from tenantry.telemetry import get_logger
from tenantry_operator.events import Recorder
from tenantry_operator.metrics import Metrics, Result
from tenantry_operator.queue import Queue
from tenantry_operator.reconcile import Reconciler

__all__ = ["Worker"]

log = get_logger(__name__)

WORKERS = 16
IN_USE_SECONDS = 30.0
"""How long at most until it is looked again whether what is to be deleted is still in use."""
STUCK_SECONDS = 180.0
IDLE_SECONDS = 60.0
"""How long a tenant may wait while a worker has nothing to do."""
SILENT_SECONDS = 180.0
"""How long a cache may hear nothing: a live API server sends a bookmark about every minute."""


class Worker:
    """Runs the reconciler. `start` and `stop` belong to one event loop."""

    def __init__(self, kube: Kube, metrics: Metrics, *, argocd_namespace: str = ARGOCD_NAMESPACE) -> None:
        self._metrics = metrics
        self._queue = Queue(metrics=metrics)
        self._events = Recorder(kube, metrics, busy=lambda: len(self._queue) > 0)
        self.reconciler = Reconciler(
            kube, self._queue, self._events, argocd_namespace=argocd_namespace, metrics=metrics
        )
        caches = self.reconciler.caches
        metrics.watch_tenants(phases=caches.phases, ready=caches.ready)
        # A standby's caches don't run, so they are not deaf.
        metrics.api.watch(kube, caches=lambda: caches.reflectors if self._tasks else ())
        self._tasks: list[asyncio.Task[None]] = []
        self._active = 0
        metrics.max_workers.set(WORKERS)
        metrics.active_workers.set_function(lambda: self._active)

    def start(self) -> None:
        """Start the caches and workers; the workers wait until every cache is complete."""
        for cache in self.reconciler.caches.reflectors:
            self._spawn(cache.run(), f"cache of {cache.kind}")
        self._spawn(self.reconciler.caches.projects.run(), "cache of AppProject")
        self._spawn(self._events.run(), "events")
        for number in range(WORKERS):
            self._spawn(self._work(), f"worker {number}")

    async def stop(self) -> None:
        """Stop everything; a write under way is abandoned, which any later look makes good."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def trouble(self) -> str:
        """Return why this process should be started anew, or "". Nothing that only waits for the API server is."""
        for task in self._tasks:
            if task.done():
                return f"{task.get_name()} has ended"
        if self._queue.longest_work() > STUCK_SECONDS:
            return f"a tenant has been worked on for more than {STUCK_SECONDS:.0f} s"
        if self._tasks and not self._behind() and self._active < WORKERS:
            waited = self._queue.longest_wait()
            if waited > IDLE_SECONDS:
                return f"a tenant has waited for {waited:.0f} s although workers are idle"
        return ""

    def unready(self) -> str:
        """Return why reconciliation makes no progress, or "" while it does or need not: before `start`."""
        return self.trouble() or (self._behind() if self._tasks else "")

    def _behind(self) -> str:
        now = asyncio.get_running_loop().time()
        for cache in self.reconciler.caches.reflectors:
            silent = now - cache.last_activity
            if not cache.synced.is_set():
                return f"the cache of {cache.kind} is not complete yet"
            if silent > SILENT_SECONDS:
                return f"the cache of {cache.kind} has heard nothing for {silent:.0f} s"
        return ""

    def _spawn(self, task: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(task, name=name))

    async def _synced(self) -> None:
        for cache in self.reconciler.caches.reflectors:
            await cache.synced.wait()

    async def _work(self) -> None:
        await self._synced()
        while True:
            name = await self._queue.get()
            self._active += 1
            started = time.monotonic()
            try:
                self._metrics.count_reconcile(await self._reconcile(name), time.monotonic() - started)
            finally:
                self._active -= 1
                self._queue.done(name)

    async def _reconcile(self, name: str) -> Result:
        try:
            await self.reconciler.reconcile(name)
        except Conflict as error:
            delay = self._queue.retry(name, at_least=error.retry_after or 0.0)
            log.info("somebody else was first; trying again", tenant=name, error=str(error), seconds=round(delay, 1))
            return "requeue"
        except InUse as error:
            delay = self._queue.retry(name, at_most=IN_USE_SECONDS)
            log.info("waiting for others", tenant=name, error=str(error), seconds=round(delay, 1))
            return "requeue"
        except KubeError as error:
            delay = self._queue.retry(name, at_least=error.retry_after or 0.0)
            log.warning("reconciling failed; trying again", tenant=name, error=str(error), seconds=round(delay, 1))
            return "error"
        except Exception:  # the outermost loop: one tenant's surprise must not stop the others
            delay = self._queue.retry(name)
            log.exception("reconciling failed unexpectedly; trying again", tenant=name, seconds=round(delay, 1))
            return "error"
        self._queue.forget(name)
        return "success"
