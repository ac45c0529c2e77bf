"""Two operators with one Lease, each with a way of its own to the API server on which every write is noted."""

import asyncio
import secrets
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tenantry.kube import Kube
from tenantry.resources import TENANTS
from tenantry_operator.standing import LEASE
from tests.faults.generator.pair import Pace
from tests.faults.generator.parts import Gate, gate_to
from tests.faults.generator.terms import Terms
from tests.faults.stage import Stage
from tests.support.kube_proxy import KubeProxy
from tests.support.kube_request import Exchange
from tests.support.tenantry import Operator

__all__ = ["OperatorPair", "Worker", "start_operators"]

_TENANTS = 4
_NO_WORK = {"leases.coordination.k8s.io", "events.events.k8s.io", "events"}
"""What a standby may write: its tries for the Lease, and what it says about them."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One operator, its way to the API server, and what it asked for there."""

    name: str
    operator: Operator
    api: Gate
    proxy: KubeProxy

    @property
    def writes(self) -> list[Exchange]:
        """Everything that it has written, or tried to."""
        return [each for each in self.proxy.exchanges if each.is_write and each.resource not in _NO_WORK]


@dataclass
class OperatorPair:
    """Both, their Lease, and Tenants without namespaces that they look after."""

    workers: tuple[Worker, ...]
    kube: Kube
    terms: Terms
    tenants: tuple[str, ...]


async def start_operators(stage: Stage, stack: AsyncExitStack, pace: Pace, place: str | None) -> OperatorPair:
    """Start two operators and make their Tenants; `stack` ends both. `place` is a defect."""
    plane, kube, identities = await stage.control_plane(), await stage.kube(), await stage.identities()
    mark = f"e2o-{secrets.token_hex(4)}"
    tenants = tuple(f"{mark}-{number}" for number in range(_TENANTS))
    workers = []
    for name in ("first", "second"):
        proxy, directory = KubeProxy(plane.server, plane.authority), stage.directory / f"{mark}-{name}"
        await stack.enter_async_context(proxy.listening())
        api, kubeconfig = await stack.enter_async_context(gate_to(proxy.url, identities.operator, directory))
        places = ",".join(filter(None, (pace.place, place))) or None
        env = {"TENANTRY_LEASE_NAMESPACE": identities.namespace}
        operator = Operator(kubeconfig=kubeconfig, directory=directory, env=env, defect=places)
        workers.append(Worker(name, operator, api, proxy))
    for tenant in tenants:
        await kube.create(TENANTS, {"metadata": {"name": tenant}, "spec": {"namespaces": {"items": []}}})
        stack.push_async_callback(_forget, kube, tenant)
    for worker in workers:
        stack.push_async_callback(_end, worker.operator)
    await asyncio.gather(*(worker.operator.start() for worker in workers))
    terms = Terms(kube, namespace=identities.namespace, name=LEASE)
    return OperatorPair(tuple(workers), kube, terms, tenants)


async def _forget(kube: Kube, tenant: str) -> None:
    """Delete a Tenant, which has nothing, when there is no operator any more."""
    await kube.merge_patch(TENANTS, tenant, {"metadata": {"finalizers": None}})
    await kube.delete(TENANTS, tenant)


async def _end(operator: Operator) -> None:
    operator.process.send(signal.SIGCONT)
    await operator.stop()
