"""The operator on a cluster without Argo CD's kinds, which then come, go and come back."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.names import ARGOCD_NAMESPACE
from tenantry.resources import APP_PROJECTS, CRDS, NAMESPACES, ROLE_BINDINGS, TENANTS
from tests.integration.test_operator import absent, apply, condition, ready
from tests.support.argocd import install_kinds
from tests.support.binaries import Binaries
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.identities import install_identities, refusals, requests_of
from tests.support.tenantry import Operator

ROOT = Path(__file__).parents[2]
ASKED: dict[str, Any] = {"argocd": {"enabled": True, "impersonation": True}}


@pytest.fixture(scope="module")
async def plane(binaries: Binaries, logs: Path) -> AsyncIterator[ControlPlane]:
    """A control plane of this module's own, in which nobody else installs Argo CD."""
    control_plane = ControlPlane(binaries, logs / "control-plane-without-argocd")
    try:
        await control_plane.start()
        await control_plane.kubectl("apply", "--filename", str(ROOT / "crds"))
        await control_plane.serve_crds()
        yield control_plane
    finally:
        await control_plane.stop()


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[Kube]:
    async with await plane.kube() as kube:
        yield kube


@pytest.fixture
async def lone_operator(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Operator]:
    """An operator of this module's own, under its ServiceAccount."""
    identities = await install_identities(plane)
    env = {"TENANTRY_LEASE_NAMESPACE": identities.namespace}
    operator = Operator(kubeconfig=identities.operator, directory=tmp_path, env=env)
    await operator.start()
    yield operator
    await operator.stop()
    assert refusals(plane) == []


@pytest.fixture
def name() -> str:
    return f"w{secrets.token_hex(4)}"


async def without_argocd(kube: Kube) -> None:
    for item in (await kube.list(CRDS))["items"]:
        if item["spec"]["group"] == "argoproj.io":
            await kube.delete(CRDS, item["metadata"]["name"])

    async def gone() -> bool:
        try:
            await kube.list(APP_PROJECTS)
        except NotFound:
            return True
        return False

    await eventually(gone, within=30, what="AppProjects are not served")


def asked_for_projects(plane: ControlPlane) -> int:
    return sum("/appprojects" in event["requestURI"] for event in requests_of(plane, "tenantry-operator"))


@pytest.mark.usefixtures("lone_operator")
async def test_nothing_is_asked_of_argo_cd_until_a_tenant_wants_a_project(
    client: Kube, plane: ControlPlane, name: str
) -> None:
    await apply(client, name, deletionPolicy="Delete")
    await ready(client, name)
    await client.delete(TENANTS, name)
    await absent(client, TENANTS, name)
    assert asked_for_projects(plane) == 0


@pytest.mark.usefixtures("lone_operator")
async def test_the_kind_may_be_missing_come_go_and_come_back(
    client: Kube, plane: ControlPlane, binaries: Binaries, name: str
) -> None:
    async def waits() -> dict[str, Any] | None:
        tenant = await client.get(TENANTS, name)
        found = {each["type"]: each for each in tenant.get("status", {}).get("conditions", ())}
        return tenant if found.get("ProjectReady", {}).get("reason") == "ArgoCDNotInstalled" else None

    await without_argocd(client)
    await apply(client, name, owners=[{"kind": "Group", "name": "g", "role": "owner"}], **ASKED)
    tenant = await eventually(waits, within=15, what="the Tenant says that Argo CD is not installed")
    assert condition(tenant, "Ready")["status"] == "False"
    for kind in ("NamespacesReady", "AccessReady"):
        assert condition(tenant, kind)["status"] == "True", "everything else works"
    assert await client.get(ROLE_BINDINGS, "tenantry-deployer", name)

    await install_kinds(binaries, plane)
    await ready(client, name)
    first = await client.get(APP_PROJECTS, name, ARGOCD_NAMESPACE)
    assert [each["namespace"] for each in first["spec"]["destinations"]] == [name]

    await without_argocd(client)
    tenant = await eventually(waits, within=15, what="the Tenant says that Argo CD is gone")
    assert "argocd" not in tenant["status"]
    namespace = await client.get(NAMESPACES, name)
    assert "deletionTimestamp" not in namespace["metadata"]

    await install_kinds(binaries, plane)
    await ready(client, name)
    second = await client.get(APP_PROJECTS, name, ARGOCD_NAMESPACE)
    assert second["spec"] == first["spec"]
    assert second["metadata"]["uid"] != first["metadata"]["uid"]


@pytest.mark.usefixtures("lone_operator")
async def test_a_tenant_can_go_where_the_kind_is_missing(client: Kube, name: str) -> None:
    await without_argocd(client)
    await apply(client, name, deletionPolicy="Delete", **ASKED)
    await ready(client, name, status="False")
    await client.delete(TENANTS, name)
    await absent(client, TENANTS, name)
    await absent(client, NAMESPACES, name)


@pytest.mark.usefixtures("lone_operator")
async def test_a_missing_kind_is_no_hot_loop(client: Kube, plane: ControlPlane, name: str) -> None:
    await without_argocd(client)
    await apply(client, name, deletionPolicy="Delete", **ASKED)
    waiting = await ready(client, name, status="False")
    before = asked_for_projects(plane)

    async def tried_twice_more() -> bool:
        return asked_for_projects(plane) >= before + 2

    await eventually(tried_twice_more, within=15, what="AppProjects are tried again")
    after = await client.get(TENANTS, name)
    assert after["metadata"]["resourceVersion"] == waiting["metadata"]["resourceVersion"], "it writes nothing"


async def test_the_namespace_of_argo_cd_is_nobodys_whatever_its_name(
    client: Kube, plane: ControlPlane, tmp_path: Path, name: str
) -> None:
    identities = await install_identities(plane)
    env = {"TENANTRY_LEASE_NAMESPACE": identities.namespace, "TENANTRY_ARGOCD_NAMESPACE": name}
    operator = Operator(kubeconfig=identities.operator, directory=tmp_path, env=env)
    await client.create(NAMESPACES, {"metadata": {"name": name, "labels": {"tenantry.dev/adopt-by": name}}})
    await operator.start()
    try:
        await apply(client, name)
        tenant = await ready(client, name, status="False")
    finally:
        await operator.stop()
    assert "it is a system namespace" in condition(tenant, "NamespacesReady")["message"]
    assert "tenantry.dev/tenant" not in (await client.get(NAMESPACES, name))["metadata"]["labels"]
