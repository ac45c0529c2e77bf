"""From a change to its Application: how long a Tenant that is applied and a row that is committed take, one at a time.

Everything is real: the API server, Postgres with the trigger, the generator under its own rights with its record and
its Lease, and Argo CD's ApplicationSet controller. A change begins before its statement or request is sent and ends
when a watch shows the Application. The next one does not wait for the controller to be done with the last.
"""

import asyncio
import contextlib
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from tenantry.kube import Kube
from tenantry.reflector import Key, Reflector
from tenantry.resources import APPLICATION_SETS, APPLICATIONS, TENANTS
from tenantry_generator.applicationsets import REFRESH
from tests.bench.cluster import cluster
from tests.support import article
from tests.support.argocd import NAMESPACE, ArgoCD
from tests.support.background import background
from tests.support.binaries import ensure
from tests.support.eventually import eventually
from tests.support.identities import install_identities
from tests.support.postgres import Postgres, execute
from tests.support.progress import Progress
from tests.support.tcp_proxy import Proxy
from tests.support.tenantry import Generator

__all__ = ["measure"]

_ROOT = Path(__file__).parents[2]
_CHANGES = 200
_CHANGES_OF_MANY = 50
"""Of an ApplicationSet of a thousand, of which the controller takes seconds for each."""
_CONFIG_MAP = "tenantry"
_SMALL = 50
_BEFORE = 10
"""Applications that a small ApplicationSet has before the first change. It gets no more than fifty."""

_Write = Callable[[str, str], Awaitable[None]]
"""Makes a tenant of a name and a status, which decides about its ApplicationSet."""


@dataclass(frozen=True, slots=True)
class _Times:
    """Seconds from the beginning of a change: to the annotation, to the answer, and to the Application."""

    annotated: float
    answered: float
    arrived: float


class _Seen:
    """When the Applications and the annotations were seen."""

    def __init__(self, kube: Kube) -> None:
        self.applications: dict[str, float] = {}
        self.annotated: list[float] = []
        self.changed = asyncio.Event()
        self._reflectors = (
            Reflector(kube, APPLICATIONS, namespace=NAMESPACE, transform=lambda _: True, on_change=self._arrived),
            Reflector(kube, APPLICATION_SETS, namespace=NAMESPACE, transform=_refresh, on_change=self._refreshed),
        )

    async def run(self) -> None:
        await asyncio.gather(*(each.run() for each in self._reflectors))

    def _arrived(self, key: Key, before: object, after: object) -> None:
        if after is not None:
            self.applications.setdefault(key[1], time.monotonic())
        self.changed.set()

    def _refreshed(self, key: Key, before: str | None, after: str | None) -> None:
        if after:
            self.annotated.append(time.monotonic())

    async def arrived(self, application: str) -> float:
        async with asyncio.timeout(120):
            while application not in self.applications:
                self.changed.clear()
                await self.changed.wait()
        return self.applications[application]


async def measure(applications: int) -> None:
    """Print what changes through each source take, with an ApplicationSet of so many Applications.

    Fifty: the changes are divided among ApplicationSets that have ten at first and get forty more, each with a filter.
    """
    async with _running() as (kube, argocd, dsn, answered):
        connection = await asyncpg.connect(dsn)
        seen = _Seen(kube)

        async def row(name: str, status: str) -> None:
            await connection.execute("INSERT INTO organization VALUES ($1, $2)", name, status)

        async def tenant(name: str, status: str) -> None:
            body = {"metadata": {"name": name}, "spec": {"parameters": {"status": status}}}
            await kube.apply(TENANTS, body, field_manager="bench")

        async with background(seen.run()):
            for source, write in (("a committed row", row), ("an applied Tenant", tenant)):
                times = await _measure(source, write, applications, argocd, connection, seen, answered)
                _show(f"{source}, {applications} Applications", times)
        await connection.close()


async def _measure(
    source: str,
    write: _Write,
    applications: int,
    argocd: ArgoCD,
    connection: asyncpg.Connection,
    seen: _Seen,
    answered: list[float],
) -> list[_Times]:
    times: list[_Times] = []
    small = applications <= _SMALL
    before, each = (_BEFORE, _SMALL - _BEFORE) if small else (applications, _CHANGES_OF_MANY)
    for first in range(0, _CHANGES if small else _CHANGES_OF_MANY, each):
        status = f"{source.split()[-1].lower()}-{first}"
        rows = [(f"{status}-there-{number}", status) for number in range(before)]
        await connection.executemany("INSERT INTO organization VALUES ($1, $2)", rows)
        await argocd.apply_application_set(_application_set(status))
        for name, _ in rows:
            await seen.arrived(name)
        for number in range(first, first + each):
            times.append(await _one(write, f"{status}-new-{number}", status, seen, answered))
    return times


async def _one(write: _Write, name: str, status: str, seen: _Seen, answered: list[float]) -> _Times:
    seen.annotated.clear()
    answered.clear()
    began = time.monotonic()
    await write(name, status)
    arrived = await seen.arrived(name)
    told = [at for at in answered if at <= arrived]
    # The last answer before the Application; the annotation may be seen after what it caused, over another watch.
    annotated = seen.annotated[0] if seen.annotated else arrived
    return _Times(annotated - began, told[-1] - began, arrived - began)


def _show(what: str, times: Sequence[_Times]) -> None:
    print(f"{what}, {len(times)} changes; milliseconds: p50, p99, worst")
    parts = {
        "to the Application": [each.arrived for each in times],
        "ours: to the annotation": [each.annotated for each in times],
        "ours: to the answer": [each.answered for each in times],
        "the controller's: from the answer": [each.arrived - each.answered for each in times],
    }
    for name, values in parts.items():
        p99 = statistics.quantiles(values, n=100, method="inclusive")[98]
        numbers = (statistics.median(values), p99, max(values))
        print(f"  {name:<36}" + "".join(f"{1000 * each:8.0f}" for each in numbers), flush=True)


@contextlib.asynccontextmanager
async def _running() -> AsyncIterator[tuple[Kube, ArgoCD, str, list[float]]]:
    async with cluster() as (plane, kube, directory), contextlib.AsyncExitStack() as parts:
        with Progress() as progress:
            binaries = ensure(progress)
        postgres = Postgres(directory)
        parts.callback(postgres.destroy)
        await postgres.create()
        dsn = await postgres.create_database("organization")
        await execute(dsn, article.TABLE, (_ROOT / "manifests/postgres/notify.sql").read_text())
        await execute(dsn, article.rows(("there", "always")))
        identities = await install_identities(plane)
        env = {
            "KUBECONFIG": str(identities.generator),
            "TENANTRY_DATABASE_URL": dsn,
            "TENANTRY_LEASE_NAMESPACE": identities.namespace,
        }
        argocd = ArgoCD(binaries, plane, directory)
        parts.push_async_callback(argocd.stop)
        await argocd.start()
        generator = Generator(token=secrets.token_urlsafe(24), directory=directory, env=env)
        parts.push_async_callback(generator.stop)
        await generator.start()
        await eventually(lambda: _answers(generator), within=20, what="the generator answers")
        answered: list[float] = []
        proxy = Proxy(int(generator.url.rpartition(":")[2]))
        proxy.on_answer = lambda _: answered.append(time.monotonic())
        address = await parts.enter_async_context(proxy.listening())
        await argocd.configure_plugin(_CONFIG_MAP, url=f"http://{address}", token=generator.token)
        yield kube, argocd, dsn, answered


async def _answers(generator: Generator) -> bool:
    return (await generator.getparams())[0] == 200


def _refresh(body: dict[str, Any]) -> str:
    return str((body["metadata"].get("annotations") or {}).get(REFRESH, ""))


def _application_set(status: str) -> dict[str, Any]:
    generator = {"plugin": {"configMapRef": {"name": _CONFIG_MAP}, "input": {"parameters": {"status": status}}}}
    template = {
        "metadata": {"name": "{{ .name }}"},
        "spec": {
            "project": "default",
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"},
            "source": {"repoURL": "https://git.example.com/x.git", "targetRevision": "main", "path": "x"},
        },
    }
    spec = {"goTemplate": True, "generators": [generator], "template": template}
    return {"metadata": {"name": status, "namespace": NAMESPACE}, "spec": spec}
