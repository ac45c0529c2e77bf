"""A generator that was stopped for longer than its Lease lasts wakes up beside the one that answers now.

Argo CD asks through what behaves like the Service: new connections lead to the Pod with the label, those that are open
stay where they are, as kube-proxy keeps them.
"""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.reflector import Key, Reflector
from tenantry.resources import APPLICATION_SETS, APPLICATIONS, LEASES, PODS, TENANTS
from tenantry_generator.applicationsets import REFRESH
from tenantry_generator.role import LEASE
from tenantry_generator.role_label import ROLE_LABEL
from tests.e2e.conftest import SET, TWO
from tests.support import article
from tests.support.argocd import NAMESPACE, Application, ArgoCD
from tests.support.background import background
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.identities import Identities, generator_pod, refusals
from tests.support.postgres import execute
from tests.support.record import forget_record
from tests.support.tcp_proxy import Proxy
from tests.support.tenantry import Generator

EVERYONE = {*article.TENANTS, *TWO}
LEASE_AND_MORE = 15 + 2 + 3
"""Seconds after which another one answers."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two generators by the names of their Pods, `first` answering, and the way to whichever has the label."""

    generators: dict[str, Generator]
    service: Proxy


class Deletions:
    """Which Applications were deleted, or were to be, since this began to look."""

    def __init__(self, kube: Kube) -> None:
        self.found: list[str] = []
        self._reflector = Reflector(
            kube,
            APPLICATIONS,
            namespace=NAMESPACE,
            transform=lambda body: "deletionTimestamp" in body["metadata"],
            on_change=self._note,
        )

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        async with background(self._reflector.run()):
            await self._reflector.synced.wait()
            yield

    def _note(self, key: Key, before: bool | None, after: bool | None) -> None:
        if after or after is None:
            self.found.append(key[1])


@pytest.fixture
async def pair(
    control_plane: ControlPlane, identities: Identities, argocd: ArgoCD, kube: Kube, database: str, tmp_path: Path
) -> AsyncIterator[Pair]:
    """Both run; Argo CD's plugin leads through the service."""
    token = secrets.token_urlsafe(24)
    await execute(database, (Path(__file__).parents[2] / "manifests/postgres/notify.sql").read_text())
    await forget_record(kube, identities.namespace)
    generators = {}
    async with AsyncExitStack() as stack:
        for name in TWO:
            await kube.apply(TENANTS, {"metadata": {"name": name}, "spec": {}}, field_manager="test")
            stack.push_async_callback(kube.delete, TENANTS, name)
        for name in ("first", "second"):
            await kube.create(PODS, generator_pod(name), identities.namespace)
            stack.push_async_callback(kube.delete, PODS, name, identities.namespace)
            env = {
                "KUBECONFIG": str(identities.generator),
                "TENANTRY_DATABASE_URL": database,
                "TENANTRY_LEASE_NAMESPACE": identities.namespace,
                "TENANTRY_POD_NAME": name,
                "TENANTRY_CONFIGMAPS": article.CONFIG_MAP,
            }
            generators[name] = Generator(token=token, directory=tmp_path / name, env=env)
            stack.push_async_callback(generators[name].stop)
            await generators[name].start()
            stack.callback(generators[name].process.send, signal.SIGCONT)
        service = Proxy(0)
        both = Pair(generators, service)
        address = await stack.enter_async_context(service.listening())
        await stack.enter_async_context(background(follow_label(kube, identities, both)))
        await argocd.configure_plugin(article.CONFIG_MAP, url=f"http://{address}", token=token)
        stack.push_async_callback(argocd.delete_application_set, SET)
        yield both
    with suppress(NotFound):
        await kube.delete(LEASES, LEASE, identities.namespace)
    await forget_record(kube, identities.namespace)
    assert refusals(control_plane) == []


async def follow_label(kube: Kube, identities: Identities, pair: Pair) -> None:
    """Lead new connections to the Pod that is labelled, as the Service does."""
    selector = f"app.kubernetes.io/name=tenantry-generator,{ROLE_LABEL}=answering"
    while True:
        labelled = [
            body["metadata"]["name"] for body in (await kube.list(PODS, identities.namespace, selector))["items"]
        ]
        if len(labelled) == 1:
            pair.service.port = int(pair.generators[labelled[0]].url.rpartition(":")[2])
        await asyncio.sleep(0.05)


async def answers(generator: Generator, within: float) -> None:
    async def good() -> bool:
        return (await generator.getparams())[0] == 200

    await eventually(good, within=within, what="it answers")


async def has_applications(argocd: ArgoCD, *tenants: str, within: float) -> dict[str, Application]:
    found: dict[str, Application] = {}
    wanted = {article.application(tenant) for tenant in tenants}

    async def same() -> bool:
        nonlocal found
        found = await argocd.applications(SET)
        return set(found) == wanted

    await eventually(same, within=within, what=f"an Application for each of {len(wanted)} tenants")
    return found


async def test_a_leader_that_slept_through_its_lease_deletes_no_application(
    pair: Pair, argocd: ArgoCD, kube: Kube, database: str
) -> None:
    first, second = pair.generators["first"], pair.generators["second"]
    await answers(first, within=20)
    await eventually(lambda: pair.service.port != 0, within=10, what="the service leads to the first")
    await argocd.apply_application_set(article.application_set())
    before = await has_applications(argocd, *EVERYONE, within=20)
    deletions = Deletions(kube)
    async with deletions.watching():
        first.process.send(signal.SIGSTOP)
        # Asked by Argo CD over a connection that is open, the first keeps this request until it wakes up.
        patch: dict[str, Any] = {"metadata": {"annotations": {REFRESH: "asked-while-it-sleeps"}}}
        await kube.merge_patch(APPLICATION_SETS, SET, patch, NAMESPACE)
        await answers(second, within=LEASE_AND_MORE)
        await execute(database, article.rows(("pied_piper", "trial")))

        async def served() -> bool:
            return any(row["tenant"] == "pied_piper" for row in (await second.getparams())[1]["output"]["parameters"])

        await eventually(served, within=5, what="the second serves a tenant of which the first knows nothing")
        first.process.send(signal.SIGCONT)
        after = await has_applications(argocd, *EVERYONE, "pied_piper", within=20)
        assert {name: after[name] for name in before} == before
        # What the first may have had to say late would have been said by now.
        for number in range(20):
            assert (await first.getparams())[0] == 503
            await execute(database, article.rows((f"tenant_{number}", "trial")))
        new = [f"tenant_{number}" for number in range(20)]
        after = await has_applications(argocd, *EVERYONE, "pied_piper", *new, within=10)
        assert {name: after[name] for name in before} == before
        first.process.check()
    assert deletions.found == []
