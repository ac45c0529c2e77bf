"""What every benchmark needs: a new control plane, the Tenants that are measured, and a process's CPU and memory."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tenantry.kube import Kube
from tenantry.resources import TENANTS
from tests.support.binaries import ensure
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.progress import Progress

__all__ = [
    "at_rest",
    "cluster",
    "cpu_seconds",
    "create_tenants",
    "in_parallel",
    "names",
    "rss_mib",
    "settled",
    "tenant",
]

_ROOT = Path(__file__).parents[2]
_LOOK = 0.5
_CONCURRENCY = 16
_WARM = 5.0
"""Seconds in which a new API server is still busy with itself; whoever comes first would pay for it."""

_SPEC: dict[str, Any] = {
    "resourceQuotas": {"hard": {"limits.cpu": "4", "limits.memory": "8Gi", "pods": "20"}},
    "limitRanges": {
        "items": [
            {"name": "defaults", "limits": [{"type": "Container", "default": {"cpu": "500m", "memory": "256Mi"}}]}
        ]
    },
    "networkPolicies": {"isolation": "Namespace"},
    "owners": [{"kind": "Group", "name": "oidc:owners", "role": "owner"}],
}
"""Five children: a namespace, a quota, a limit range, a network policy, a role binding."""


def names(count: int) -> list[str]:
    """Return the names of so many Tenants."""
    return [f"bench-{each}" for each in range(count)]


def tenant(name: str) -> dict[str, Any]:
    """Return the Tenant that every side creates."""
    return {"metadata": {"name": name}, "spec": _SPEC}


@asynccontextmanager
async def cluster() -> AsyncIterator[tuple[ControlPlane, Kube, Path]]:
    """Run a new control plane that serves the Tenant API; yield it, a client of it, and a directory for logs."""
    with Progress() as progress:
        binaries = ensure(progress)
    with tempfile.TemporaryDirectory(prefix="tenantry-bench-") as folder:
        plane = ControlPlane(binaries, Path(folder))
        try:
            await plane.start()
            await plane.kubectl("apply", "--filename", str(_ROOT / "crds"))
            await plane.serve_crds()
            await asyncio.sleep(_WARM)
            async with await plane.kube() as kube:
                yield plane, kube, Path(folder)
        finally:
            await plane.stop()


async def in_parallel(items: Sequence[str], work: Callable[[str], Coroutine[Any, Any, Any]]) -> float:
    """Do `work` for each item, sixteen at a time; return the seconds that it took."""
    pending = iter(items)

    async def worker() -> None:
        for item in pending:
            await work(item)

    started = time.monotonic()
    await asyncio.gather(*(worker() for _ in range(_CONCURRENCY)))
    return time.monotonic() - started


async def create_tenants(
    kube: Kube, wanted: Sequence[str], create: Callable[[str], Coroutine[Any, Any, Any]] | None = None
) -> float:
    """Create the Tenants and wait until each is Ready; return the seconds from the first create to the last Ready.

    `create` does more than that for a Tenant, if it is given.
    """
    create = create or (lambda name: kube.create(TENANTS, tenant(name)))
    version = (await kube.list(TENANTS))["metadata"]["resourceVersion"]

    async def watched() -> bool:
        async with kube.watch(TENANTS, resource_version=version, timeout_seconds=1):
            return True

    # A kind that was defined just now is served before it can be watched.
    await eventually(watched, within=30, what="Tenants can be watched")
    waiting = set(wanted)
    started = time.monotonic()
    creating = asyncio.create_task(in_parallel(wanted, create))
    # An API server that is short of CPU ends the watch of whoever seems slow to it; another goes on from there.
    while waiting:
        async with kube.watch(TENANTS, resource_version=version, timeout_seconds=3600) as events:
            async for event in events:
                version = event["object"]["metadata"]["resourceVersion"]
                if _ready(event["object"]):
                    waiting.discard(event["object"]["metadata"]["name"])
                if not waiting:
                    break
    await creating
    return time.monotonic() - started


async def settled(url: str, count: int) -> bool:
    """Whether the controller whose metrics are at `url` has reconciled `count` times and has nothing left to do."""
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        families = {family.name: family for family in text_string_to_metric_families(await response.text())}
    # Until something has happened, controller-runtime has neither metric.
    reconciles, depths = (
        list(families[name].samples) if name in families else []
        for name in ("controller_runtime_reconcile", "workqueue_depth")  # the parser takes _total off
    )
    done = sum(sample.value for sample in reconciles if sample.labels.get("result") == "success")
    return done >= count and not any(sample.value for sample in depths)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time, user and system, that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def at_rest(pid: int, what: str) -> None:
    """Wait until a process does next to nothing: what it has begun before must not be measured."""

    async def idle() -> bool:
        used = cpu_seconds(pid)
        await asyncio.sleep(_LOOK)
        return cpu_seconds(pid) - used < 0.1 * _LOOK

    await eventually(idle, within=60, what=f"{what} has nothing more to do")


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024


def _ready(body: dict[str, Any]) -> bool:
    conditions = body.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
