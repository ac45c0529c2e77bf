"""Brings one Tenant at a time from what is there to what should be: observe, plan, write, look again.

The cache takes in the answer to every write, so the next look sees it without waiting for the watch, and one pass
usually settles a Tenant. Whatever fails is tried again by the queue; nothing is remembered but what the cluster shows.
"""

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tenantry.classes import resolve
from tenantry.errors import Conflict, Forbidden, Invalid, InvalidTenant, KubeError, NotFound
from tenantry.kube import Kube
from tenantry.model import TenantClass, parse_class
from tenantry.names import FIELD_MANAGER
from tenantry.reflector import Key, Reflector
from tenantry.resources import NAMESPACES, TENANT_CLASSES, TENANTS
from tenantry.telemetry import get_logger
from tenantry_operator.children import namespace
from tenantry_operator.children.namespace import Namespace
from tenantry_operator.entry import Entry, TenantStore
from tenantry_operator.execute import execute
from tenantry_operator.plan import Plan, View, make_plan, refused_plan, wanted_names
from tenantry_operator.queue import Lane, Queue

__all__ = ["Reconciler"]

log = get_logger(__name__)

PASSES = 5
"""Looks at one Tenant in a row before it goes back into the queue: finalizer, children, status need two."""


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read_class(body: dict[str, Any]) -> TenantClass | None:
    try:
        return parse_class(body)
    except InvalidTenant as error:
        # Its tenants then find no class of that name, and hold still.
        log.warning("a TenantClass can't be used", error=str(error))
        return None


class Reconciler:
    """Owns the caches and the queue. `tenants` is fed from outside, by `seen` and `gone`."""

    def __init__(self, kube: Kube, queue: Queue, *, clock: Callable[[], str] = _now) -> None:
        self._kube = kube
        self._queue = queue
        self._clock = clock
        self.tenants = TenantStore()
        self.namespaces = Reflector(kube, NAMESPACES, transform=namespace.observe, on_change=self._namespace_changed)
        self.classes = Reflector(kube, TENANT_CLASSES, transform=_read_class, on_change=self._class_changed)
        self._owned: defaultdict[str, set[str]] = defaultdict(set)
        self._wanted_by: defaultdict[str, set[str]] = defaultdict(set)
        self._wants: dict[str, frozenset[str]] = {}
        self._acting_for: str | None = None

    def seen(self, body: dict[str, Any], *, lane: Lane = Lane.CHANGE) -> None:
        """Take in a version of a Tenant, and look at it if it is news."""
        if self.tenants.put(body):
            self._queue.add(body["metadata"]["name"], lane)

    def gone(self, name: str, uid: str) -> None:
        """Take in that a Tenant no longer exists."""
        self.tenants.drop(name, uid)
        self._queue.forget(name)
        self._claim(name, frozenset())

    async def resync(self) -> None:
        """Read all Tenants anew, forget those that went unnoticed, and look at every one, changes first."""
        listed = await self._kube.list(TENANTS)
        for name in self.tenants.replace(listed["items"], int(listed["metadata"]["resourceVersion"])):
            self._queue.forget(name)
            self._claim(name, frozenset())
        for name in self.tenants.names():
            self._queue.add(name, Lane.RESYNC)

    async def reconcile(self, name: str) -> None:
        """Bring the Tenant `name` as far as it goes now; raises KubeError when it should be tried again."""
        refused: dict[str, KubeError] = {}
        for _ in range(PASSES):
            entry = self.tenants.get(name)
            if entry is None:
                return
            plan = self._plan(entry, {target: str(error) for target, error in refused.items()})
            actions = [action for action in plan.actions if action.target not in refused]
            if not actions:
                await self._write_status(entry, plan.status)
                break
            for action in actions:
                try:
                    await execute(self._kube, entry, action, absorb=self._absorb)
                except (Forbidden, Invalid) as error:
                    # The server would say the same again at once: show it, and go on with the rest.
                    refused[action.target] = error
        else:
            raise Conflict(f"tenant {name} did not settle in {PASSES} looks; somebody else writes to the same objects")
        for refusal in refused.values():
            raise refusal

    def _plan(self, entry: Entry, failures: dict[str, str]) -> Plan:
        if entry.tenant is None:
            return refused_plan(entry, now=self._clock())
        resolved = resolve(entry.tenant, self._class_map())
        wanted = frozenset() if entry.deleting else frozenset(wanted_names(resolved))
        self._claim(entry.name, wanted)
        names = wanted | self._owned[entry.name]
        present = {name: found for name in names if (found := self.namespaces.items.get(("", name))) is not None}
        return make_plan(View(entry, resolved, present, failures), now=self._clock())

    async def _write_status(self, entry: Entry, status: dict[str, Any] | None) -> None:
        if status is None:
            return
        # The uid keeps this from landing on a Tenant that was deleted and created anew meanwhile.
        body = {"metadata": {"name": entry.name, "uid": entry.uid}, "status": status}
        try:
            applied = await self._kube.apply(TENANTS, body, field_manager=FIELD_MANAGER, subresource="status")
        except NotFound:
            return  # deleted for good since it was looked at: there is nobody to tell
        self.tenants.put(applied.object)
        if status["phase"] != entry.status.get("phase"):
            log.info("tenant is now " + status["phase"], tenant=entry.name, generation=entry.generation)

    def _absorb(self, entry: Entry, body: dict[str, Any]) -> None:
        """Let the next look at `entry` see what a write just answered with."""
        if body["kind"] == TENANTS.kind:
            self.tenants.put(body)
            return
        self._acting_for = entry.name
        self.namespaces.absorb(body)
        self._acting_for = None

    def _class_map(self) -> dict[str, TenantClass]:
        return {name: found for (_, name), found in self.classes.items.items() if found is not None}

    def _claim(self, tenant: str, wanted: frozenset[str]) -> None:
        """Remember which namespaces a tenant waits for, so that it is looked at when one of them changes hands."""
        before = self._wants.get(tenant, frozenset())
        if wanted == before:
            return
        for name in before - wanted:
            self._wanted_by[name].discard(tenant)
            if not self._wanted_by[name]:
                del self._wanted_by[name]
        for name in wanted - before:
            self._wanted_by[name].add(tenant)
        if wanted:
            self._wants[tenant] = wanted
        else:
            self._wants.pop(tenant, None)

    def _namespace_changed(self, key: Key, before: Namespace | None, after: Namespace | None) -> None:
        _, name = key
        owners = {found.owner for found in (before, after) if found is not None and found.owner is not None}
        if before is not None and before.owner is not None:
            self._owned[before.owner].discard(name)
        if after is not None and after.owner is not None:
            self._owned[after.owner].add(name)
        for tenant in (owners | self._wanted_by.get(name, set())) - {self._acting_for}:
            if self.tenants.get(tenant) is not None:
                self._queue.add(tenant)

    def _class_changed(self, key: Key, before: TenantClass | None, after: TenantClass | None) -> None:
        for tenant in self.tenants.names():
            self._queue.add(tenant, Lane.RESYNC)
