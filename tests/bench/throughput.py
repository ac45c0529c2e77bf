"""How fast Tenants become ready: the operator against a bare client that sends the same writes.

The bare client knows what to write and never looks at anything, so it is the limit that the API server and this machine
set. Rounds alternate, since these machines are noisy; the ratio of the medians is what counts. Both go through one API
server, in namespaces of their own, and both figures include the creation of the Tenants.

    make bench                       # 300 and 1,000 Tenants, three rounds each
    .venv/bin/python -m tests.bench.throughput --tenants 300 --rounds 6
"""

import argparse
import asyncio
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenantry.classes import resolve
from tenantry.kube import Kube
from tenantry.model import parse_tenant
from tenantry.names import FIELD_MANAGER, FINALIZER
from tenantry.resources import NAMESPACES, TENANTS
from tenantry_operator.children import namespace
from tenantry_operator.children.child import complete
from tenantry_operator.children.wanted import wanted_children
from tenantry_operator.status import Findings, build_status, namespace_status
from tests.support.binaries import ensure
from tests.support.control_plane import ControlPlane
from tests.support.progress import Progress
from tests.support.tenantry import Operator

_ROOT = Path(__file__).parent.parent.parent
_CONCURRENCY = 16

SPEC: dict[str, Any] = {
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


@dataclass(frozen=True, slots=True)
class Round:
    """Tenants a second, and the writer's CPU time a tenant in milliseconds."""

    rate: float
    cpu: float


def tenant(name: str) -> dict[str, Any]:
    """Return the Tenant that both sides create."""
    return {"metadata": {"name": name}, "spec": SPEC}


async def bare(kube: Kube, names: list[str]) -> Round:
    """Send everything that the operator would, without looking at anything."""

    async def one(name: str) -> None:
        created = await kube.create(TENANTS, tenant(name))
        resolved = resolve(parse_tenant(created), {})
        await kube.merge_patch(TENANTS, name, {"metadata": {"finalizers": [FINALIZER]}})
        body = namespace.build(name, name, labels={}, annotations={})
        await kube.create(NAMESPACES, body, field_manager=FIELD_MANAGER)
        for kind, child in wanted_children(resolved, [name]).bodies:
            wanted = complete(name, kind, child)
            await kube.apply(kind, wanted.body, field_manager=FIELD_MANAGER, force=False)
        findings = Findings(1, "Active", "", [namespace_status(name, ready=True)])
        status = build_status(findings, previous={}, now="2026-01-01T00:00:00Z")
        await kube.apply(
            TENANTS, {"metadata": {"name": name}, "status": status}, field_manager=FIELD_MANAGER, subresource="status"
        )

    used = time.process_time()
    seconds = await _timed(names, one)
    return Round(len(names) / seconds, (time.process_time() - used) / len(names) * 1000)


async def ours(kube: Kube, operator: Operator, names: list[str]) -> Round:
    """Create the Tenants and wait until the operator has said of each that it is ready."""
    listed = await kube.list(TENANTS)
    waiting = set(names)
    used = cpu_seconds(operator.process.pid)
    started = time.monotonic()
    creating = asyncio.create_task(_timed(names, lambda name: kube.create(TENANTS, tenant(name))))
    async with kube.watch(TENANTS, resource_version=listed["metadata"]["resourceVersion"]) as events:
        async for event in events:
            if _ready(event["object"]):
                waiting.discard(event["object"]["metadata"]["name"])
            if not waiting:
                break
    seconds = time.monotonic() - started
    await creating
    return Round(len(names) / seconds, (cpu_seconds(operator.process.pid) - used) / len(names) * 1000)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time, user and system, that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


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
            async with await plane.kube() as kube:
                yield plane, kube, Path(folder)
        finally:
            await plane.stop()


async def measure(tenants: int, rounds: int) -> float:
    """Print each round and the medians; return ours divided by the bare client's."""
    limit: list[Round] = []
    mine: list[Round] = []
    for number in range(rounds):
        names = [f"bench-{each}" for each in range(tenants)]
        async with cluster() as (plane, kube, _):
            limit.append(await bare(kube, names))
        async with cluster() as (plane, kube, directory):
            operator = Operator(kubeconfig=plane.kubeconfig, directory=directory)
            await operator.start()
            mine.append(await ours(kube, operator, names))
            await operator.stop()
        print(f"  round {number + 1}: bare {limit[-1].rate:.1f}/s, operator {mine[-1].rate:.1f}/s", flush=True)
    return _report(tenants, limit, mine)


def _report(tenants: int, limit: list[Round], mine: list[Round]) -> float:
    bare_rate, our_rate = (statistics.median(each.rate for each in rounds) for rounds in (limit, mine))
    bare_cpu, our_cpu = (statistics.median(each.cpu for each in rounds) for rounds in (limit, mine))
    ratio = our_rate / bare_rate
    print(f"{tenants} tenants, medians of {len(mine)} rounds:")
    print(f"  bare client  {bare_rate:6.1f} tenants/s  {bare_cpu:5.2f} ms CPU/tenant")
    print(f"  operator     {our_rate:6.1f} tenants/s  {our_cpu:5.2f} ms CPU/tenant  ratio {ratio:.2f}", flush=True)
    return ratio


async def _timed(names: list[str], write: Callable[[str], Coroutine[Any, Any, Any]]) -> float:
    pending = iter(names)

    async def work() -> None:
        for name in pending:
            await write(name)

    started = time.monotonic()
    await asyncio.gather(*(work() for _ in range(_CONCURRENCY)))
    return time.monotonic() - started


def _ready(body: dict[str, Any]) -> bool:
    conditions = body.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tenants", type=int, nargs="+", default=[300, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for tenants in arguments.tenants:
        asyncio.run(measure(tenants, arguments.rounds))
    print(f"peak memory of the bench itself: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    main()
