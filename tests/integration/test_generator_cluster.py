"""The cluster source against a real API server."""

import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tenantry.kube import Kube
from tenantry.names import GROUP, VERSION
from tenantry.render import ClusterRow, Row
from tenantry.resources import TENANT_CLASSES, TENANTS
from tenantry_generator.sources import Read
from tenantry_generator.sources.cluster import ClusterSource
from tests.support.background import background
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually

API_VERSION = f"{GROUP}/{VERSION}"


class Follower:
    def __init__(self, kube: Kube) -> None:
        self.source = ClusterSource(kube, columns=("status", "plan"))
        self.reads: list[Read[ClusterRow]] = []

    def element(self, name: str) -> Row | None:
        row = self.reads[-1].rows.get(name) if self.reads else None
        return None if row is None else row.element


@contextlib.asynccontextmanager
async def following(kube: Kube) -> AsyncIterator[Follower]:
    follower = Follower(kube)
    async with background(follower.source.run(follower.reads.append)):
        yield follower


@pytest.fixture
def name() -> str:
    return f"generator-{secrets.token_hex(4)}"


def tenant(name: str, **spec: object) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "Tenant", "metadata": {"name": name}, "spec": spec}


async def test_a_tenant_comes_with_its_class_and_leaves_when_its_deletion_begins(kube: Kube, name: str) -> None:
    lent = {"parameters": {"plan": "gold"}, "argocd": {"project": {"name": "premium"}}}
    body = {"apiVersion": API_VERSION, "kind": "TenantClass", "metadata": {"name": name}, "spec": {"defaults": lent}}
    await kube.create(TENANT_CLASSES, body)
    async with following(kube) as follower:
        await kube.create(
            TENANTS,
            {**tenant(name, tenantClassName=name), "metadata": {"name": name, "finalizers": ["tenantry.dev/t"]}},
        )
        await eventually(lambda: follower.element(name), within=5, what="the tenant is published")
        element = follower.element(name) or {}
        assert [element[key] for key in ("plan", "project", "class", "source")] == ["gold", "premium", name, "cluster"]
        await kube.delete(TENANTS, name)
        await eventually(lambda: follower.element(name) is None, within=5, what="the tenant leaves")
        assert (await kube.get(TENANTS, name))["metadata"]["finalizers"]
    await kube.merge_patch(TENANTS, name, {"metadata": {"finalizers": None}})
    await kube.delete(TENANT_CLASSES, name)


async def test_an_outage_takes_nobody_out_and_what_happened_meanwhile_is_seen(
    control_plane: ControlPlane, kube: Kube, name: str
) -> None:
    await kube.create(TENANTS, tenant(name))
    async with following(kube) as follower:
        await eventually(lambda: follower.element(name), within=5, what="the tenant is published")
        control_plane.stop_apiserver()
        try:
            await eventually(lambda: follower.source.problem, within=10, what="the outage is noticed")
            assert follower.element(name) is not None
        finally:
            await control_plane.start_apiserver()
        await kube.merge_patch(TENANTS, name, {"spec": {"displayName": "Changed"}})
        await eventually(
            lambda: (follower.element(name) or {}).get("displayName") == "Changed", within=60, what="the change is seen"
        )
        await eventually(lambda: follower.source.problem is None, within=90, what="the source is in order again")
        assert all(name in read.rows for read in follower.reads)
    await kube.delete(TENANTS, name)


async def test_a_token_that_is_not_valid_is_said_to_be_so(control_plane: ControlPlane) -> None:
    kubeconfig = control_plane.write_kubeconfig("stranger.kubeconfig", "wrong")
    async with await Kube.connect(str(kubeconfig)) as kube, following(kube) as follower:
        await eventually(lambda: follower.source.problem, within=5, what="the source says why it can't read")
        assert follower.source.problem == "GET /apis/tenantry.dev/v1alpha1/tenants: Unauthorized"
        assert follower.reads == []
