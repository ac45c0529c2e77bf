"""How long a start takes over Tenants that are settled, until each has been seen and found in order.

The peers are a bare `kopf.on.event` that only counts, on the same cluster in alternate rounds, and a controller-runtime
controller over the same number of children, on a cluster of its own. Times are from the start of the process.
"""

import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench.cluster import cluster, cpu_seconds, create_tenants, names, rss_mib, settled
from tests.bench.peers import GoPeer, KopfCounter
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.tenantry import Operator

__all__ = ["measure"]

_START = 300.0


async def measure(tenants: int, rounds: int) -> None:
    """Print, for each side, the medians of seconds, CPU seconds and MiB, and the ratio to kopf's seconds."""
    measured: dict[str, list[tuple[float, float, float]]] = {"kopf, counting": [], "operator": []}
    async with cluster() as (plane, kube, directory):
        operator = Operator(kubeconfig=plane.kubeconfig, directory=directory)
        await operator.start()
        await create_tenants(kube, names(tenants))
        await operator.stop()
        for _ in range(rounds):
            measured["kopf, counting"].append(await _kopf(plane, directory, tenants))
            measured["operator"].append(await _operator(plane, directory, tenants))
    async with cluster() as (plane, kube, directory):
        peer = GoPeer(kubeconfig=plane.kubeconfig, directory=directory)
        with peer.start():
            await create_tenants(kube, names(tenants))
        measured["controller-runtime"] = [await _go(peer, tenants) for _ in range(rounds)]
    print(f"start with {tenants} settled Tenants, medians of {rounds} rounds:")
    limit = statistics.median(each[0] for each in measured["kopf, counting"])
    for name, each in measured.items():
        seconds, cpu, memory = (statistics.median(values) for values in zip(*each, strict=True))
        print(
            f"  {name:<20}{seconds:6.1f} s  {cpu:5.1f} s CPU  {memory:5.0f} MiB  ratio {seconds / limit:.2f}",
            flush=True,
        )


async def _kopf(plane: ControlPlane, directory: Path, tenants: int) -> tuple[float, float, float]:
    counter = KopfCounter(kubeconfig=plane.kubeconfig, directory=directory, count=tenants)

    async def done() -> bool:
        return counter.done()

    started = time.monotonic()
    with counter.start() as process:
        return await _until(done, process, started)


async def _operator(plane: ControlPlane, directory: Path, tenants: int) -> tuple[float, float, float]:
    operator = Operator(kubeconfig=plane.kubeconfig, directory=directory)
    started = time.monotonic()
    await operator.start()
    taken = await _until(lambda: settled(f"{operator.url}/metrics", tenants), operator.process, started)
    await operator.stop()
    return taken


async def _go(peer: GoPeer, tenants: int) -> tuple[float, float, float]:
    started = time.monotonic()
    with peer.start() as process:
        return await _until(lambda: settled(peer.metrics, tenants), process, started)


async def _until(done: Callable[[], Awaitable[bool]], process: Process, started: float) -> tuple[float, float, float]:
    await eventually(done, within=_START, what=f"{process.name} has seen every Tenant")
    return time.monotonic() - started, cpu_seconds(process.pid), rss_mib(process.pid)
