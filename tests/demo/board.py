"""What the demo's table shows: every tenant of both sources, and how far the cluster has followed.

Each fact is taken where it is true: tenants from the table and the Tenant objects, status from the generator's answer,
namespaces and Applications from the API server. So a tenant that got lost on the way shows as an empty cell.
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg

from tenantry.names import TENANT_LABEL
from tenantry.reflector import Key, Reflector
from tenantry.resources import APPLICATIONS, NAMESPACES, TENANTS
from tests.demo.stack import Stack

__all__ = ["Board", "Line"]

_POLL = 0.1


@dataclass(frozen=True, slots=True)
class Line:
    """One tenant; `seconds` from its change, or from the ApplicationSet's creation if later, to its Application."""

    tenant: str
    source: str
    status: str
    namespace: str
    application: str
    seconds: float | None


class Board:
    """Follows every part while `run` runs."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._opened = time.monotonic()
        self._rows: frozenset[str] = frozenset()
        self._answer: list[dict[str, Any]] = []
        self._changed_at: dict[str, float] = {}
        self._arrived_at: dict[str, float] = {}
        self.changed = asyncio.Event()
        self._tenants = Reflector(stack.kube, TENANTS, transform=_name, on_change=self._on_tenant)
        self._namespaces = Reflector(
            stack.kube, NAMESPACES, transform=_tenant_of, on_change=self._on_namespace, label_selector=TENANT_LABEL
        )
        self._applications = Reflector(
            stack.kube, APPLICATIONS, transform=_application, on_change=self._on_application, label_selector="org"
        )

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for reflector in (self._tenants, self._namespaces, self._applications):
                tasks.create_task(reflector.run())
            tasks.create_task(self._follow_rows())
            tasks.create_task(self._follow_answer())

    def note_change(self, tenant: str) -> None:
        """Count the time to this tenant's Application from now."""
        self._changed_at[tenant] = time.monotonic()

    def lines(self) -> list[Line]:
        """Return the table, in the order in which tenants appeared."""
        answered = {element["tenant"]: element for element in self._answer}
        applications = dict(self._applications.items.values())
        everyone = dict.fromkeys([*self._changed_at, *answered, *applications])
        return [self._line(each, answered.get(each, {}), applications.get(each, "")) for each in everyone]

    def missing(self, expected: Collection[str]) -> list[str]:
        """Return the tenants, `expected` or found, that lack an Application, and the Tenants that lack a namespace."""
        names = {name for _, name in self._tenants.items}
        with_application = {tenant for tenant, _ in self._applications.items.values()}
        with_namespace = set(self._namespaces.items.values())
        return sorted((self._rows | names | set(expected)) - with_application | names - with_namespace)

    def _line(self, tenant: str, element: Mapping[str, Any], application: str) -> Line:
        namespaces = sorted(name for (_, name), owner in self._namespaces.items.items() if owner == tenant)
        arrived, changed = self._arrived_at.get(tenant), self._changed_at.get(tenant, 0.0)
        return Line(
            tenant=tenant,
            source=element.get("source", ""),
            status=element.get("status", ""),
            namespace=", ".join(namespaces),
            application=application,
            seconds=None if arrived is None else arrived - max(changed, self._opened),
        )

    def _on_tenant(self, key: Key, before: str | None, after: str | None) -> None:
        self._see(key[1], present=after is not None)

    def _on_namespace(self, key: Key, before: str | None, after: str | None) -> None:
        self.changed.set()

    def _on_application(self, key: Key, before: tuple[str, str] | None, after: tuple[str, str] | None) -> None:
        if after is None and before is not None:
            self._arrived_at.pop(before[0], None)
        elif after is not None:
            self._arrived_at.setdefault(after[0], time.monotonic())
        self.changed.set()

    def _see(self, tenant: str, *, present: bool) -> None:
        if present:
            self._changed_at.setdefault(tenant, time.monotonic())
        else:
            self._changed_at.pop(tenant, None)
        self.changed.set()

    async def _follow_rows(self) -> None:
        while True:
            try:
                await self._read_rows()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(1)  # somebody tries what happens without the database, or without the table

    async def _read_rows(self) -> None:
        connection = await asyncpg.connect(self._stack.dsn, timeout=5)
        try:
            while True:
                records = await connection.fetch("SELECT tenant FROM organization", timeout=5)
                rows = frozenset(record["tenant"] for record in records)
                for tenant in sorted(rows ^ self._rows):
                    self._see(tenant, present=tenant in rows)
                self._rows = rows
                await asyncio.sleep(_POLL)
        finally:
            connection.terminate()

    async def _follow_answer(self) -> None:
        while True:
            try:
                status, body = await self._stack.generator.getparams(applicationset="tenantry-demo")
            except (aiohttp.ClientError, TimeoutError):
                status, body = 0, {}
            if status == 200 and (answer := body["output"]["parameters"]) != self._answer:
                self._answer = answer
                self.changed.set()
            await asyncio.sleep(_POLL)


def _name(body: Mapping[str, Any]) -> str:
    name: str = body["metadata"]["name"]
    return name


def _tenant_of(body: Mapping[str, Any]) -> str:
    tenant: str = body["metadata"]["labels"][TENANT_LABEL]
    return tenant


def _application(body: Mapping[str, Any]) -> tuple[str, str]:
    """Return the tenant that the article's template writes into a label, and what to show."""
    metadata = body["metadata"]
    gone = " (being deleted)" if "deletionTimestamp" in metadata else ""
    return metadata["labels"]["org"], metadata["name"] + gone
