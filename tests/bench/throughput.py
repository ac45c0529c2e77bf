"""How fast Tenants become ready: the operator, a bare client that sends the same writes, and controller-runtime.

The bare client knows what to write and never looks at anything, so it is the limit that the API server and this machine
set. Rounds alternate, since these machines are noisy; the ratio of the medians is what counts. Each runs on a control
plane of its own; every figure includes the creation of the Tenants, and a watch by which this process sees them Ready.
"""

import statistics
import time
from dataclasses import dataclass

from tenantry.classes import resolve
from tenantry.kube import Kube
from tenantry.model import parse_tenant
from tenantry.names import FIELD_MANAGER, FINALIZER
from tenantry.resources import NAMESPACES, TENANTS
from tenantry_operator.children import namespace
from tenantry_operator.children.child import complete
from tenantry_operator.children.wanted import wanted_children
from tenantry_operator.status import Findings, build_status, namespace_status
from tests.bench.cluster import at_rest, cluster, cpu_seconds, create_tenants, names, settled, tenant
from tests.bench.peers import GoPeer
from tests.support.eventually import eventually
from tests.support.tenantry import Operator

__all__ = ["measure"]


@dataclass(frozen=True, slots=True)
class _Round:
    """Tenants a second, once who writes has started, and the writer's CPU time a tenant in milliseconds."""

    rate: float
    cpu: float


async def measure(tenants: int, rounds: int) -> None:
    """Print each round, the medians, and their ratio to the bare client's."""
    measured: dict[str, list[_Round]] = {"bare client": [], "controller-runtime": [], "operator": []}
    for number in range(rounds):
        measured["bare client"].append(await _bare(tenants))
        measured["controller-runtime"].append(await _controller_runtime(tenants))
        measured["operator"].append(await _operator(tenants))
        rates = ", ".join(f"{name} {each[-1].rate:.1f}/s" for name, each in measured.items())
        print(f"  round {number + 1}: {rates}", flush=True)
    print(f"{tenants} tenants, medians of {rounds} rounds:")
    limit = statistics.median(each.rate for each in measured["bare client"])
    for name, each in measured.items():
        rate, cpu = (statistics.median(values) for values in zip(*((r.rate, r.cpu) for r in each), strict=True))
        print(f"  {name:<20}{rate:6.1f} tenants/s  {cpu:5.2f} ms CPU/tenant  ratio {rate / limit:.2f}", flush=True)


async def _bare(tenants: int) -> _Round:
    async with cluster() as (_, kube, _):
        used = time.process_time()
        seconds = await create_tenants(kube, names(tenants), lambda name: _write_all(kube, name))
        return _Round(tenants / seconds, (time.process_time() - used) / tenants * 1000)


async def _controller_runtime(tenants: int) -> _Round:
    async with cluster() as (plane, kube, directory):
        peer = GoPeer(kubeconfig=plane.kubeconfig, directory=directory)
        with peer.start() as process:
            await eventually(lambda: settled(peer.metrics, 0), within=30, what="the peer runs")
            await at_rest(process.pid, "the peer")
            return await _timed(kube, process.pid, tenants)


async def _operator(tenants: int) -> _Round:
    async with cluster() as (plane, kube, directory):
        operator = Operator(kubeconfig=plane.kubeconfig, directory=directory)
        await operator.start()
        await at_rest(operator.process.pid, "the operator")
        measured = await _timed(kube, operator.process.pid, tenants)
        await operator.stop()
        return measured


async def _timed(kube: Kube, pid: int, tenants: int) -> _Round:
    used = cpu_seconds(pid)
    seconds = await create_tenants(kube, names(tenants))
    return _Round(tenants / seconds, (cpu_seconds(pid) - used) / tenants * 1000)


async def _write_all(kube: Kube, name: str) -> None:
    """Send everything that the operator would, without looking at anything."""
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
    await kube.merge_patch(TENANTS, name, {"status": status}, subresource="status", field_manager=FIELD_MANAGER)
