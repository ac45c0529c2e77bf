"""How long a change by hand stands until it is repaired, with a live watch, one change at a time."""

import itertools
import time

from tenantry.kube import Kube
from tenantry.resources import LIMIT_RANGES, NETWORK_POLICIES, RESOURCE_QUOTAS, ROLE_BINDINGS, Resource
from tests.bench.cluster import cluster, create_tenants, names
from tests.support.tenantry import Operator

__all__ = ["measure"]

_KINDS = (RESOURCE_QUOTAS, LIMIT_RANGES, NETWORK_POLICIES, ROLE_BINDINGS)


async def measure(tenants: int, changes: int) -> None:
    """Print the distribution of the milliseconds from a deletion or a changed quota to the repair."""
    taken = []
    async with cluster() as (plane, kube, directory):
        operator = Operator(kubeconfig=plane.kubeconfig, directory=directory)
        await operator.start()
        await create_tenants(kube, names(tenants))
        targets = itertools.cycle((resource, name) for name in names(tenants) for resource in _KINDS)
        for resource, name in itertools.islice(targets, changes):
            taken.append(await _repaired(kube, resource, name))
        await operator.stop()
    taken.sort()
    print(f"{changes} objects changed or deleted by hand among {tenants} Tenants, one at a time:")
    p50, p99 = (taken[int(len(taken) * share)] * 1000 for share in (0.5, 0.99))
    print(f"  repaired after {p50:.0f} ms (p50), {p99:.0f} ms (p99), {taken[-1] * 1000:.0f} ms (worst)", flush=True)


async def _repaired(kube: Kube, resource: Resource, namespace: str) -> float:
    listed = await kube.list(resource, namespace)
    (before,) = listed["items"]
    name = before["metadata"]["name"]
    version = listed["metadata"]["resourceVersion"]
    async with kube.watch(resource, namespace=namespace, resource_version=version) as events:
        started = time.monotonic()
        if resource is RESOURCE_QUOTAS:
            await kube.merge_patch(resource, name, {"spec": {"hard": {"pods": "9999"}}}, namespace)
        else:
            await kube.delete(resource, name, namespace)
        async for event in events:
            body = event["object"]
            if event["type"] in ("ADDED", "MODIFIED") and body.get("spec") == before.get("spec"):
                return time.monotonic() - started
    raise RuntimeError(f"{resource.kind} {namespace}/{name} was not repaired")
