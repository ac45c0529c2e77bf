"""The operator while its view of the API server is wrong: restored from a backup, or heard over a deaf connection."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tenantry.credentials import load_credentials
from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.reflector import Timing
from tenantry.resources import NAMESPACES, TENANT_CLASSES, TENANTS
from tenantry_operator.metrics import Metrics
from tenantry_operator.worker import Worker
from tests.integration.test_operator import apply, namespace, ready
from tests.integration.test_standing import Door
from tests.support.binaries import Binaries
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.tenantry import Operator

CRDS = Path(__file__).parents[2] / "crds"
QUICK = Timing(silence=2, first_retry=0.1, last_retry=0.5)


@pytest.fixture
async def plane(binaries: Binaries, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """A control plane of the test's own."""
    plane = ControlPlane(binaries, tmp_path / "control-plane")
    try:
        await plane.start()
        await plane.kubectl("apply", "--filename", str(CRDS))
        await plane.serve_crds()
        yield plane
    finally:
        await plane.stop()


@asynccontextmanager
async def working(kube: Kube) -> AsyncIterator[Worker]:
    """The operator without its Lease, which an outage could cost it, and in a hurry."""
    worker = Worker(kube, Metrics())
    for cache in worker.reconciler.caches.reflectors:
        cache._timing = QUICK
    worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


async def test_what_a_restored_api_server_has_is_followed_and_what_it_lacks_is_forgotten(plane: ControlPlane) -> None:
    async with await plane.kube() as kube:
        async with working(kube):
            for name in ("acme", "beta"):
                await apply(kube, name)
                await ready(kube, name)
        backup = await plane.back_up()
        async with working(kube) as worker:
            await apply(kube, "newer")
            await ready(kube, "newer")
            for _ in range(50):  # so that the API server is not soon as far as it was
                await kube.merge_patch(TENANTS, "newer", {"metadata": {"annotations": {"x": secrets.token_hex(4)}}})
            before = int((await kube.list(TENANTS))["metadata"]["resourceVersion"])
            await plane.restore(backup)
            assert int((await kube.list(TENANTS))["metadata"]["resourceVersion"]) < before
            caches = worker.reconciler.caches
            await eventually(lambda: not caches.has("newer"), within=60, what="the older state is taken")
            await eventually(lambda: not worker.unready(), within=60, what="every cache follows again")
            await apply(kube, "acme", namespaces={"metadata": {"labels": {"changed": "yes"}}})
            await ready(kube, "acme")
            assert (await namespace(kube, "acme"))["labels"]["changed"] == "yes"
            await apply(kube, "latest")
            await ready(kube, "latest")
            assert sorted(caches.tenants()) == ["acme", "beta", "latest"]
            with pytest.raises(NotFound):
                await kube.get(TENANTS, "newer")


class Deaf(Door):
    """Tells our own client nothing of TenantClasses once they have been listed; kopf has a connection of its own."""

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        ours = request.headers["User-Agent"] == "tenantry"
        if not (ours and request.path.endswith("/tenantclasses") and request.query.get("watch") == "true"):
            return await super().pass_on(request)
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response


async def test_a_class_is_followed_while_the_connection_of_its_cache_is_deaf(
    control_plane: ControlPlane, kube: Kube, tmp_path: Path
) -> None:
    name = f"deaf{secrets.token_hex(4)}"
    await kube.create(NAMESPACES, {"metadata": {"name": name}})
    credentials = await load_credentials(str(control_plane.kubeconfig))
    door = Deaf(credentials, await credentials.authorization() or "")
    async with door.kubeconfig(tmp_path) as path:
        operator = Operator(kubeconfig=path, directory=tmp_path, env={"TENANTRY_LEASE_NAMESPACE": name})
        await operator.start()
        try:
            tenant = f"{name}x"
            await apply(kube, tenant, tenantClassName=name)
            await ready(kube, tenant, status="False")
            lent = {"namespaces": {"items": [{"name": "lent"}]}}
            await kube.create(TENANT_CLASSES, {"metadata": {"name": name}, "spec": {"defaults": lent}})
            await ready(kube, tenant)
            assert (await namespace(kube, f"{tenant}-lent"))["labels"]["tenantry.dev/tenant"] == tenant
            await kube.delete(TENANTS, tenant)
        finally:
            operator.kill()
            await kube.delete(TENANT_CLASSES, name)
            await credentials.close()
