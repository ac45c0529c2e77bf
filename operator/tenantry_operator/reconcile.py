"""Brings one Tenant at a time from what is there to what should be: observe, plan, write, look again.

The cache takes in the answer to every write, so the next look sees it without waiting for the watch, and one pass
usually settles a Tenant. Whatever fails is tried again by the queue; nothing is remembered but what the cluster shows.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tenantry.classes import resolve
from tenantry.errors import Conflict, Forbidden, InUse, Invalid, KubeError, NotFound
from tenantry.kube import Kube
from tenantry.names import ARGOCD_NAMESPACE, FIELD_MANAGER
from tenantry.resources import TENANTS
from tenantry.telemetry import get_logger
from tenantry_operator import notes
from tenantry_operator.actions import (
    Action,
    ApplyChild,
    DeleteChild,
    DeleteNamespace,
    DeleteProject,
    ReleaseNamespace,
    RemoveFinalizer,
)
from tenantry_operator.caches import Caches
from tenantry_operator.entry import Entry
from tenantry_operator.events import Recorder
from tenantry_operator.execute import execute
from tenantry_operator.live import Live
from tenantry_operator.metrics import Metrics
from tenantry_operator.plan import Plan, View, make_plan, refused_plan, wanted_names
from tenantry_operator.plan_project import awaited, concerned
from tenantry_operator.queue import Lane, Queue
from tenantry_operator.status import status_patch
from tenantry_operator.status_quota import only_usage_differs
from tenantry_operator.usage import UsagePace

__all__ = ["Reconciler"]

log = get_logger(__name__)

PASSES = 5
"""Looks at one Tenant in a row before it goes back into the queue: finalizer, children, status need two."""


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_what_was_looked_at(written: Mapping[str, Any], entry: Entry, status: Mapping[str, Any]) -> bool:
    metadata = written["metadata"]
    found = (metadata.get("generation"), tuple(metadata.get("finalizers") or ()), written.get("status"))
    return found == (entry.generation, entry.finalizers, status)


class Reconciler:
    """Looks at one Tenant and writes what is missing."""

    def __init__(
        self,
        kube: Kube,
        queue: Queue,
        events: Recorder,
        *,
        clock: Callable[[], str] = _now,
        argocd_namespace: str = ARGOCD_NAMESPACE,
        metrics: Metrics | None = None,
    ) -> None:
        self._kube = kube
        self._metrics = metrics or Metrics()
        self._queue = queue
        self._events = events
        self._clock = clock
        self._usage = UsagePace(self._used, clock=asyncio.get_running_loop())
        self.caches = Caches(
            kube,
            on_tenant=self._touched,
            on_gone=self._forget,
            on_all=self._look_at_all,
            on_usage=self._usage.changed,
            argocd_namespace=argocd_namespace,
        )

    async def reconcile(self, name: str) -> None:
        """Bring the Tenant `name` as far as it goes now; raises KubeError or InUse when it should be tried again."""
        refused: dict[str, KubeError | InUse] = {}
        live = Live(self._kube, self.caches)
        generation = None
        for _ in range(PASSES):
            # A cache shows what it tells of, so this look sees all that has come: mostly the echoes of our own writes.
            self._queue.caught_up(name)
            entry = self.caches.entry(name)
            if entry is None:
                return
            if entry.generation != generation:
                generation = entry.generation
                refused.clear()  # what was refused may not be asked for any more
            plan = await self._plan(entry, {target: str(error) for target, error in refused.items()})
            live.planned(plan.actions)
            self._events.say(entry, notes.of_deletion(entry))
            actions = [action for action in plan.actions if action.target not in refused]
            if not actions:
                await self._write_status(entry, plan.status)
                break
            for action in actions:
                if isinstance(action, ApplyChild) and action.child.key[1] in refused:
                    continue  # its namespace was refused a moment ago
                await live.confirm(entry, action)
                try:
                    await self._carry_out(entry, action)
                    live.done(entry, action)
                    if isinstance(action, RemoveFinalizer):
                        return  # what is still to be seen of the Tenant is its past
                except (Forbidden, Invalid, InUse) as error:
                    # The server would say the same again at once: show it, and go on with the rest.
                    refused[action.target] = error
                except Conflict as error:
                    if not (isinstance(action, ApplyChild) and action.first):
                        raise
                    refused[action.target] = error  # somebody else's object of that name; it stays theirs
        else:
            raise Conflict(f"tenant {name} did not settle in {PASSES} looks; somebody else writes to the same objects")
        for refusal in refused.values():
            raise refusal

    async def _carry_out(self, entry: Entry, action: Action) -> None:
        drift = isinstance(action, ApplyChild) and action.child.digest == self.caches.last_digest(
            entry.name, action.child.key
        )
        try:
            await execute(self._kube, entry, action, self)
        except Conflict:
            if isinstance(action, DeleteNamespace | DeleteChild | DeleteProject):
                self._metrics.count_prevented()
            raise
        self._measure(action, drift=drift)
        self._events.say(entry, notes.of_action(action, drift=drift))

    def _measure(self, action: Action, *, drift: bool) -> None:
        match action:
            case ApplyChild() if drift:
                self._metrics.count_repair(action.child.resource.kind)
            case DeleteNamespace():
                self._metrics.count_namespace("deleted")
            case ReleaseNamespace():
                self._metrics.count_namespace("released")

    async def _plan(self, entry: Entry, failures: dict[str, str]) -> Plan:
        if entry.tenant is None:
            return refused_plan(entry, now=self._clock())
        resolved = resolve(entry.tenant, self.caches.classes)
        if concerned(entry, resolved):
            await self.caches.projects.tried()
        wanted = frozenset() if entry.deleting else frozenset(wanted_names(resolved))
        namespaces = self.caches.namespaces(entry.name, wanted)
        projects = self.caches.projects.look(entry.name, awaited(entry, resolved))
        children, lost = self.caches.children(entry.name), self.caches.lost(entry.name)
        view = View(entry, resolved, namespaces, children, failures, projects, lost)
        return make_plan(view, now=self._clock())

    async def _write_status(self, entry: Entry, status: dict[str, Any] | None) -> None:
        if status is None or (only_usage_differs(entry.status, status) and not self._usage.may_write(entry.name)):
            return
        # The uid keeps this from landing on a Tenant that was deleted and created anew meanwhile.
        patch = {"metadata": {"uid": entry.uid}, "status": status_patch(status, previous=entry.status)}
        try:
            written = await self._kube.merge_patch(
                TENANTS, entry.name, patch, subresource="status", field_manager=FIELD_MANAGER
            )
        except NotFound:
            return  # deleted for good since it was looked at: there is nobody to tell
        self.absorb(entry, written)
        if not _is_what_was_looked_at(written, entry, status):
            self._queue.add(entry.name)  # the watch has nothing new to tell of it any more
        self._usage.wrote(entry.name)
        self._events.say(entry, notes.of_transition(entry.status, status))
        if status["phase"] != entry.status.get("phase"):
            log.info("tenant is now " + status["phase"], tenant=entry.name, generation=entry.generation)

    def absorb(self, entry: Entry, body: dict[str, Any]) -> None:
        """Let the next look at `entry` see what a write just answered with."""
        self.caches.absorb(entry.name, body)

    def discard(self, entry: Entry, action: DeleteChild | DeleteProject) -> None:
        """Let the next look at `entry` see that an object is gone."""
        self.caches.discard(entry.name, action.key, action.resource_version)

    def _touched(self, tenant: str) -> None:
        if self.caches.has(tenant):
            self._queue.add(tenant)

    def _used(self, tenant: str) -> None:
        if self.caches.has(tenant):
            self._queue.add(tenant, Lane.RESYNC)  # no work waits behind a number

    def _forget(self, name: str) -> None:
        self._queue.forget(name)
        self.caches.forget(name)
        self._usage.forget(name)

    def _look_at_all(self) -> None:
        for tenant in self.caches.tenants():
            self._queue.add(tenant, Lane.RESYNC)
