"""Ten thousand Tenants, 60,000 objects with their own: do they converge, what does a restart cost, is it quiet then?

The operator runs under its own ServiceAccount; what it writes is read from the API server's audit log.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from tests.bench.cluster import cluster, cpu_seconds, create_tenants, names, rss_mib, settled
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.identities import install_identities, requests_of
from tests.support.processes import Process
from tests.support.tenantry import Operator

__all__ = ["measure"]

_USAGE = 30.0
"""Seconds in which what Kubernetes has counted of the new quotas gets into every status."""
_WRITES = ("create", "update", "patch", "delete", "deletecollection")


async def measure(tenants: int, quiet: float) -> None:
    """Print how long it took to converge and to start anew, memory, and the writes of a restart and of `quiet` s."""
    async with cluster() as (plane, kube, directory):
        identities = await install_identities(plane)
        env = {"TENANTRY_LEASE_NAMESPACE": identities.namespace}
        operator = Operator(kubeconfig=identities.operator, directory=directory, env=env)
        await operator.start()
        seconds = await _while_runs(operator.process, create_tenants(kube, names(tenants)))
        print(f"{tenants} Tenants with five children each: all Ready after {seconds:.0f} s", flush=True)
        print(f"  memory after that: {rss_mib(operator.process.pid):.0f} MiB", flush=True)
        await asyncio.sleep(_USAGE)
        await operator.stop()
        before = writes(plane)
        started = time.monotonic()
        await operator.start()
        await eventually(lambda: settled(f"{operator.url}/metrics", tenants), within=300, what="everything is settled")
        pid, taken = operator.process.pid, time.monotonic() - started
        print(
            f"  restart: settled after {taken:.1f} s, {cpu_seconds(pid):.1f} s CPU, {rss_mib(pid):.0f} MiB", flush=True
        )
        used = cpu_seconds(pid)
        await asyncio.sleep(quiet)
        print(f"  writes of the restart and of {quiet:.0f} s: {writes(plane) - before}", flush=True)
        print(f"  then {rss_mib(pid):.0f} MiB; CPU of those seconds: {cpu_seconds(pid) - used:.1f} s", flush=True)
        await operator.stop()


def writes(plane: ControlPlane) -> int:
    """Return how many writes the operator has made, those to its Lease aside."""
    return sum(
        event["verb"] in _WRITES and event.get("objectRef", {}).get("resource") != "leases"
        for event in requests_of(plane, "tenantry-operator")
    )


async def _while_runs(process: Process, work: Coroutine[Any, Any, float]) -> float:
    """Return what `work` returns. Ended: the process has ended before, so that it would wait for ever."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait((task,), timeout=1))[0]:
            process.check()
        return await task
    finally:
        task.cancel()
