"""Two generators with one Lease, one record and one table, each with its own way to the API server, and a Service.

What stands for the Service leads new connections to the Pod with the label; those that are open stay where they are, as
kube-proxy keeps them.
"""

import asyncio
import itertools
import secrets
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from tenantry.errors import KubeError
from tenantry.kube import Kube
from tenantry.resources import NAMESPACES, PODS
from tenantry_generator.role import LEASE
from tenantry_generator.role_label import ROLE_LABEL
from tests.faults.generator.client import Client
from tests.faults.generator.parts import Gate, Table, gate_to_api_server, table
from tests.faults.generator.terms import Terms
from tests.faults.stage import Stage
from tests.support.background import background
from tests.support.eventually import eventually
from tests.support.tcp_proxy import Proxy
from tests.support.tenantry import Generator

__all__ = ["SHIPPED", "SHORT", "Pace", "Pair", "Replica", "start_pair"]

_TENANTS = 12
_LABELS = {"app.kubernetes.io/name": "tenantry-generator"}
_LOOK = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a Lease lasts, and within what time another one answers. `place` makes it so, "" as shipped."""

    name: str
    lease: float
    takes: float
    place: str


SHORT = Pace("short", lease=4.0, takes=12.0, place="tests.faults.generator.hurry:short_leases")
SHIPPED = Pace("shipped", lease=15.0, takes=22.0, place="")


@dataclass(frozen=True, slots=True)
class Replica:
    """One of the two, by the name of its Pod."""

    name: str
    generator: Generator
    api: Gate

    @property
    def url(self) -> str:
        """Where it is asked past the Service."""
        return self.generator.url


@dataclass
class Pair:
    """Both, and whom every answer owes."""

    replicas: tuple[Replica, ...]
    table: Table
    terms: Terms
    token: str
    service_url: str
    owed: set[str]
    known: set[str]
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def client(self, url: str) -> Client:
        """Return somebody who asks there."""
        return Client(url, self.token, applicationset="watched")

    def new_tenant(self) -> str:
        """Return a name that nobody has had."""
        return f"new{next(self._numbers):04}"


async def start_pair(stage: Stage, stack: AsyncExitStack, pace: Pace, place: str | None) -> Pair:
    """Start two generators; `stack` stops them. `place` is a defect."""
    kube, server = await stage.kube(), await stage.postgres()
    space, token = f"e2-{secrets.token_hex(4)}", secrets.token_urlsafe(24)
    tenants = [f"t{number:02}" for number in range(_TENANTS)]
    await kube.create(NAMESPACES, {"metadata": {"name": space}})
    stack.push_async_callback(kube.delete, NAMESPACES, space)
    ours = await stack.enter_async_context(table(server, dict.fromkeys(tenants, "active")))
    replicas = []
    for name in ("first", "second"):
        directory = stage.directory / f"{space}-{name}"
        api, kubeconfig = await stack.enter_async_context(gate_to_api_server(stage, directory))
        await _make_pod(kube, space, name)
        env = {
            "KUBECONFIG": str(kubeconfig),
            "TENANTRY_SOURCES": "postgres",
            "TENANTRY_DATABASE_URL": ours.direct,
            "TENANTRY_LEASE_NAMESPACE": space,
            "TENANTRY_POD_NAME": name,
        }
        places = ",".join(filter(None, (pace.place, place))) or None
        generator = Generator(token=token, directory=directory, env=env, defect=places)
        replicas.append(Replica(name, generator, api))
        stack.push_async_callback(_end, generator)
    await asyncio.gather(*(each.generator.start() for each in replicas))
    service = Proxy(0)
    address = await stack.enter_async_context(service.listening())
    await stack.enter_async_context(background(_follow_label(kube, space, replicas, service)))
    return Pair(
        tuple(replicas),
        ours,
        Terms(kube, namespace=space, name=LEASE),
        token,
        f"http://{address}",
        set(tenants),
        set(tenants),
    )


async def _end(generator: Generator) -> None:
    generator.process.send(signal.SIGCONT)
    await generator.stop()


async def _make_pod(kube: Kube, space: str, name: str) -> None:
    """Make a Pod that no kubelet runs: a process stands for it. A namespace needs its ServiceAccount before."""
    body = {
        "metadata": {"name": name, "labels": _LABELS},
        "spec": {
            "containers": [{"name": "generator", "image": "example.com/x"}],
            "automountServiceAccountToken": False,
        },
    }

    async def made() -> bool:
        await kube.create(PODS, body, space)
        return True

    await eventually(made, within=20, what=f"the Pod {name} is made")


async def _follow_label(kube: Kube, space: str, replicas: list[Replica], service: Proxy) -> None:
    ports = {each.name: int(each.url.rpartition(":")[2]) for each in replicas}
    selector = ",".join(f"{key}={value}" for key, value in {**_LABELS, ROLE_LABEL: "answering"}.items())
    while True:
        try:
            labelled = [body["metadata"]["name"] for body in (await kube.list(PODS, space, selector))["items"]]
        except KubeError:
            labelled = []
        if len(labelled) == 1:
            service.port = ports[labelled[0]]
        await asyncio.sleep(_LOOK)
