"""The whole product in one place: the article's ten tenants, two Tenants, and their twelve Applications."""

import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.resources import TENANTS
from tests.support import article
from tests.support.argocd import Application, ArgoCD
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.identities import Identities
from tests.support.postgres import execute
from tests.support.record import forget_record, record_parts
from tests.support.tenantry import Generator, Operator

ROOT = Path(__file__).parent.parent.parent
SET = "tenant-generator-plugin-demo"
TWO = ("initech", "umbrella")


@dataclass(frozen=True, slots=True)
class World:
    """Everything that runs, and the two places where tenants come from."""

    argocd: ArgoCD
    control_plane: ControlPlane
    generator: Generator
    kube: Kube
    dsn: str
    namespace: str
    admin: str

    async def applications(self) -> dict[str, Application]:
        """The Applications that the article's ApplicationSet owns."""
        return await self.argocd.applications(SET)

    async def has_applications(self, *tenants: str, within: float = 30) -> dict[str, Application]:
        """Wait until exactly these tenants have an Application that is not being deleted; return them."""
        wanted = {article.application(tenant) for tenant in tenants}
        found: dict[str, Application] = {}

        async def same() -> bool:
            nonlocal found
            found = await self.applications()
            return set(found) == wanted and not any(each.deletion_timestamp for each in found.values())

        try:
            await eventually(same, within=within, what=f"an Application for each of {len(wanted)} tenants")
        except AssertionError as error:
            raise AssertionError(f"{error}; differing: {sorted(wanted ^ set(found))}, {found}") from None
        return found

    async def sql(self, *statements: str) -> None:
        """Run SQL as the owner of the table."""
        await execute(self.dsn, *statements)

    async def served(self) -> set[str]:
        """The tenants in an unfiltered answer, by their raw names."""
        status, answer = await self.generator.getparams()
        assert status == 200, answer
        return {row["tenant"] for row in answer["output"]["parameters"]}

    async def serves(self, *tenants: str) -> None:
        """Wait until the generator answers with exactly these tenants."""
        seen: set[str] = set()

        async def same() -> bool:
            nonlocal seen
            status, answer = await self.generator.getparams()
            seen = {row["tenant"] for row in answer["output"]["parameters"]} if status == 200 else set()
            return seen == set(tenants)

        try:
            await eventually(same, within=10, what="the generator answers with the tenants expected")
        except AssertionError as error:
            raise AssertionError(f"{error}; differing: {sorted(seen ^ set(tenants))}") from None

    async def record(self) -> list[dict[str, Any]]:
        """The ConfigMaps of the record."""
        return await record_parts(self.kube, self.namespace)

    async def forget(self) -> None:
        """Delete the record."""
        await forget_record(self.kube, self.namespace)

    async def only_hold(self) -> dict[str, Any]:
        """Wait until there is exactly one hold, and return it."""
        found: list[dict[str, Any]] = []

        async def one() -> bool:
            nonlocal found
            found = await self.generator.holds()
            return len(found) == 1

        try:
            await eventually(one, within=15, what="there is one hold")
        except AssertionError as error:
            raise AssertionError(f"{error}; there are {found}") from None
        return found[0]

    async def acknowledge(self, hold: Mapping[str, Any]) -> None:
        """Acknowledge a hold."""
        status, answer = await self.generator.acknowledge(hold["hash"], token=self.admin)
        assert status in (200, 202), answer
        assert answer["released"] == hold["tenants"]

    async def metric(self, name: str, **labels: str) -> float:
        """The value of one of the generator's metrics, 0 if it has none with these labels."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.generator.url}/metrics") as response:
            text = await response.text()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return 0.0

    async def metric_reaches(self, value: float, name: str, **labels: str) -> None:
        """Wait until a metric has a value."""

        async def reached() -> bool:
            return await self.metric(name, **labels) == value

        await eventually(reached, within=15, what=f"{name}{labels} is {value}")


@pytest.fixture
async def world(
    argocd: ArgoCD,
    control_plane: ControlPlane,
    identities: Identities,
    operator: Operator,
    kube: Kube,
    database: str,
    tmp_path: Path,
) -> AsyncIterator[World]:
    """Twelve tenants with twelve Applications. Afterwards none of it is left."""
    token = secrets.token_urlsafe(24)
    await execute(database, (ROOT / "manifests/postgres/notify.sql").read_text())
    admin = secrets.token_urlsafe(24)
    (tmp_path / "admins").mkdir()
    (tmp_path / "admins" / "on-call").write_text(admin)
    env = {
        "KUBECONFIG": str(identities.generator),
        "TENANTRY_DATABASE_URL": database,
        "TENANTRY_LEASE_NAMESPACE": identities.namespace,
        "TENANTRY_ADMIN_TOKEN_DIR": str(tmp_path / "admins"),
    }
    generator = Generator(token=token, directory=tmp_path, env=env)
    everything = World(argocd, control_plane, generator, kube, database, identities.namespace, admin)
    try:
        for name in TWO:
            await kube.apply(TENANTS, {"metadata": {"name": name}, "spec": {}}, field_manager="test")
        await everything.forget()
        await generator.start()
        await everything.serves(*article.TENANTS, *TWO)
        await argocd.configure_plugin(article.CONFIG_MAP, url=generator.url, token=token)
        await argocd.apply_application_set(article.application_set())
        await everything.has_applications(*article.TENANTS, *TWO)
        yield everything
    finally:
        await argocd.delete_application_set(SET)
        await generator.stop()
        await everything.forget()
        for tenant in (await kube.list(TENANTS))["items"]:
            await _delete_tenant(kube, tenant["metadata"]["name"])


async def _delete_tenant(kube: Kube, name: str) -> None:
    async def gone() -> bool:
        try:
            await kube.get(TENANTS, name)
        except NotFound:
            return True
        return False

    try:
        await kube.delete(TENANTS, name)
    except NotFound:
        return
    await eventually(gone, within=30, what=f"the Tenant {name} is gone")
