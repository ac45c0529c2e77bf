"""Tenants out of Tenant objects, each with its TenantClass merged in.

An object that can't be used, whose class is missing, or whose parameters the class does not accept, is quarantined with
the row that it had: it is there, so it must not look as if it had left. Only a deletion takes a Tenant out, and
deletions that follow each other closely are published together, so that the guard sees how many they are: a CRD that is
deleted takes its objects along one by one.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tenantry.classes import KnownClass, Reason, Resolved, UnusableClass, read_class, resolve
from tenantry.errors import InvalidTenant, NotFound
from tenantry.kube import Kube
from tenantry.model import TenantClass, parse_tenant
from tenantry.reflector import Key, Reflector, Timing
from tenantry.render import CLUSTER, ClusterRow, render_tenant, schema_keys
from tenantry.resources import TENANT_CLASSES, TENANTS
from tenantry.telemetry import get_logger
from tenantry_generator.blockmap import BlockMap
from tenantry_generator.sources import RESTORED, Read

__all__ = ["ClusterSource"]

log = get_logger(__name__)

T = TypeVar("T")

_COALESCE = 0.05
"""Seconds after a change was published in which more of them are awaited, so that a `kubectl apply` of many is few
snapshots. The first one after a silence does not wait.
"""
_BURST = 0.4
"""Seconds after a departure in which another one joins it; what else changes is published meanwhile."""
_LONGEST_BURST = 2.0


@dataclass(frozen=True, slots=True)
class _Unusable:
    reason: str
    deleting: bool


class ClusterSource:
    """The Tenants that the API server has, without those that are being deleted."""

    name = CLUSTER

    def __init__(self, kube: Kube, *, columns: Sequence[str], timing: Timing | None = None) -> None:
        self._columns = tuple(columns)
        self._rows: BlockMap[ClusterRow] = BlockMap()
        self._rendered: dict[str, ClusterRow] = {}
        """What has come or changed since the rows were last published."""
        self._classes: dict[str, KnownClass] = {}
        self._dirty: set[str] = set()
        self._changed = asyncio.Event()
        self._rejected: Counter[str] = Counter()
        self._problems: dict[str, str] = {}
        self._published = False
        self._leaving: dict[str, float] = {}
        self._doubted: dict[str, str] = {}
        self._tenants = Reflector(
            kube,
            TENANTS,
            transform=_reader(parse_tenant),
            on_change=self._tenant_changed,
            on_restored=self._tenants_restored,
            timing=timing,
        )
        self._class_objects = Reflector(
            kube, TENANT_CLASSES, transform=read_class, on_change=self._class_changed, timing=timing
        )

    @property
    def caches(self) -> tuple[Reflector[Any], ...]:
        """The caches of both kinds, to be measured."""
        return self._tenants, self._class_objects

    @property
    def problem(self) -> str | None:
        """Why the API server can't be followed."""
        error = self._tenants.error or self._class_objects.error
        if isinstance(error, NotFound):
            return f"{error}; apply Tenantry's CRDs"
        return None if error is None else str(error)

    @property
    def read_at(self) -> float | None:
        """When both kinds were last heard of."""
        if not self._synced:
            return None
        loop = asyncio.get_running_loop()
        return time.time() - loop.time() + min(self._tenants.last_activity, self._class_objects.last_activity)

    def start_over(self) -> None:
        """Have both kinds listed anew before anything is published."""
        self._tenants.start_over()
        self._class_objects.start_over()

    async def run(self, publish: Callable[[Read[ClusterRow]], None]) -> None:
        """Follow both kinds and publish every change, once both have been listed completely."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tenants.run())
            tasks.create_task(self._class_objects.run())
            tasks.create_task(self._publish_changes(publish))

    @property
    def _synced(self) -> bool:
        return self._tenants.synced.is_set() and self._class_objects.synced.is_set()

    async def _publish_changes(self, publish: Callable[[Read[ClusterRow]], None]) -> None:
        await self._tenants.synced.wait()
        await self._class_objects.synced.wait()
        while True:
            self._changed.clear()
            again = self._now() + _COALESCE
            publish(self._read())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._burst_ends()):
                    await self._changed.wait()
            await asyncio.sleep(max(0.0, again - self._now()))

    def _read(self) -> Read[ClusterRow]:
        while self._dirty:
            self._render(self._dirty.pop())
        gone: set[str] = set()
        if (ends := self._burst_ends()) is not None and self._now() >= ends:
            gone = set(self._leaving)
            self._leaving.clear()
        self._rows = self._rows.updated(self._rendered, gone)
        self._rendered = {}
        read = Read(
            self._rows,
            dict(self._rejected),
            dict(self._problems),
            dict(self._doubted),
            schema_keys(self._classes.values()),
        )
        self._rejected.clear()
        self._published = True
        return read

    def _burst_ends(self) -> float | None:
        """Return when the departures that are kept back go together; None while there is none."""
        if not self._leaving:
            return None
        return min(min(self._leaving.values()) + _LONGEST_BURST, max(self._leaving.values()) + _BURST)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _tenants_restored(self, missing: frozenset[Key]) -> None:
        self._doubted.update((name, RESTORED) for _, name in missing)

    def _tenant_changed(self, key: Key, before: object, after: object) -> None:
        self._dirty.add(key[1])
        self._changed.set()

    def _class_changed(self, key: Key, before: object, after: KnownClass | None) -> None:
        match after:
            case TenantClass():
                self._classes[after.name] = after
            case None:
                self._classes.pop(key[1], None)
            case UnusableClass(name=name, reason=reason):
                if not isinstance(self._classes.get(name), TenantClass):
                    self._classes[name] = after
                self._rejected["invalid_class"] += 1
                log.warning("a class can't be used; its tenants keep what it lent before", reason=reason)
        self._dirty.update(name for _, name in self._tenants.items)
        self._changed.set()

    def _render(self, name: str) -> None:
        seen = self._tenants.items.get(("", name))
        if seen is None or seen.deleting:
            self._problems.pop(name, None)
            if self._has(name):
                self._leaving.setdefault(name, self._now())
            return
        self._leaving.pop(name, None)
        self._doubted.pop(name, None)
        if isinstance(seen, _Unusable):
            self._reject(name, "invalid", seen.reason)
        else:
            self._render_resolved(name, resolve(seen, self._classes))

    def _render_resolved(self, name: str, resolved: Resolved) -> None:
        problem = resolved.problem
        lacks_class = problem is not None and problem.without_class
        # What was there when this process started may have Applications, which leaving it out would delete.
        is_needed = not self._has(name) and (lacks_class or not self._published)
        if is_needed or not (lacks_class or resolved.parameters_problem):
            self._rendered[name] = render_tenant(resolved, self._columns)
        if problem is not None and lacks_class:
            reason = "class_not_found" if problem.reason is Reason.CLASS_NOT_FOUND else "class_unusable"
            self._reject(name, reason, problem.message)
        elif resolved.parameters_problem:
            self._reject(name, "invalid_parameters", resolved.parameters_problem)
        elif self._problems.pop(name, None) is not None:
            log.info("the tenant is in order again", tenant=name)

    def _has(self, name: str) -> bool:
        return name in self._rendered or name in self._rows

    def _reject(self, name: str, reason: str, message: str) -> None:
        self._rejected[reason] += 1
        if self._problems.get(name) != message:
            self._problems[name] = message
            served = "as it was last usable, or as it stands if it never was" if self._has(name) else "not at all"
            log.warning("the tenant is not as it should be", tenant=name, reason=message, served=served)


def _reader(parse: Callable[[dict[str, Any]], T]) -> Callable[[dict[str, Any]], T | _Unusable]:
    """Return `parse` with its refusal as a value, as a Reflector needs it."""

    def read(body: dict[str, Any]) -> T | _Unusable:
        try:
            return parse(body)
        except InvalidTenant as error:
            return _Unusable(str(error), deleting=body["metadata"].get("deletionTimestamp") is not None)

    return read
