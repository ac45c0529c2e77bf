"""What must never happen: an Application that is deleted although its tenant has not left.

Each test breaks something for real, lets the real ApplicationSet controller ask again, and compares every
Application's uid and deletionTimestamp with what they were.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tenantry.render import render_row
from tests.e2e.conftest import SET, TWO, World
from tests.support import article
from tests.support.eventually import eventually
from tests.support.postgres import Postgres

EVERYONE = {*article.TENANTS, *TWO}


@asynccontextmanager
async def nothing_deleted(world: World) -> AsyncIterator[None]:
    """Fail unless every Application is the same one afterwards, and none is being deleted."""
    before = await world.has_applications(*EVERYONE)
    yield
    after = await world.applications()
    assert {name: after.get(name) for name in before} == before


async def asks_again(world: World) -> None:
    """Let Argo CD ask, and make sure that it got an answer from the generator."""
    before = await world.metric("tenantry_getparams_requests_total", applicationset=SET, code="200")
    refreshed = await world.argocd.refresh(SET)
    assert refreshed.ok, refreshed
    assert await world.metric("tenantry_getparams_requests_total", applicationset=SET, code="200") > before


async def test_postgres_stopped_deletes_nothing(world: World, postgres: Postgres) -> None:
    async with nothing_deleted(world):
        postgres.stop()
        try:
            await world.metric_reaches(0, "tenantry_source_up", source="postgres")
            await asks_again(world)
            assert await world.served() == EVERYONE
        finally:
            await postgres.start()
    await world.metric_reaches(1, "tenantry_source_up", source="postgres")


async def test_a_tenant_is_still_onboarded_while_postgres_is_away(world: World, postgres: Postgres) -> None:
    async with nothing_deleted(world):
        postgres.stop()
        try:
            await world.metric_reaches(0, "tenantry_source_up", source="postgres")
            await world.control_plane.kubectl("apply", "-f", "-", stdin=_TENANT)
            await world.serves(*EVERYONE, "hooli")
            await asks_again(world)
            await world.has_applications(*EVERYONE, "hooli")
        finally:
            await postgres.start()


async def test_the_api_server_stopped_deletes_nothing(world: World) -> None:
    async with nothing_deleted(world):
        world.control_plane.stop_apiserver()
        try:
            await world.metric_reaches(0, "tenantry_source_up", source="cluster")
            assert await world.served() == EVERYONE
            await world.sql(article.rows(("pied_piper", "trial")))
            await world.serves(*EVERYONE, "pied_piper")
        finally:
            await world.control_plane.start_apiserver()
        await asks_again(world)
        await world.has_applications(*EVERYONE, "pied_piper")


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE organization",
        "ALTER TABLE organization RENAME TO elsewhere",
        "ALTER TABLE organization DROP COLUMN status",
        "REVOKE CONNECT ON DATABASE {database} FROM PUBLIC; ALTER TABLE organization RENAME COLUMN tenant TO customer",
        "DROP TABLE organization; CREATE TABLE organization (tenant text, status text)",
    ],
    ids=["dropped", "renamed", "a column dropped", "the tenant column renamed", "dropped and created anew"],
)
async def test_a_table_that_is_gone_or_another_one_deletes_nothing(world: World, statement: str) -> None:
    async with nothing_deleted(world):
        database = world.dsn.rpartition("/")[2]
        await world.sql(statement.format(database=database), "NOTIFY tenantry")
        await world.metric_reaches(0, "tenantry_source_up", source="postgres")
        await asks_again(world)
        assert await world.served() == EVERYONE


@pytest.mark.parametrize(
    ("statement", "held"),
    [
        ("TRUNCATE organization", 10),
        ("DELETE FROM organization", 10),
        ("DELETE FROM organization WHERE tenant IN (SELECT tenant FROM organization ORDER BY 1 LIMIT 5)", 5),
    ],
    ids=["truncated", "emptied", "half deleted"],
)
async def test_many_tenants_leaving_at_once_are_held(world: World, statement: str, held: int) -> None:
    async with nothing_deleted(world):
        await world.sql(statement)
        await world.metric_reaches(held, "tenantry_guard_held_tenants", source="postgres")
        await asks_again(world)
        assert await world.served() == EVERYONE


async def test_rows_deleted_one_by_one_are_held_once_they_are_too_many(world: World) -> None:
    for tenant in list(article.TENANTS)[:2]:
        await world.sql(f"DELETE FROM organization WHERE tenant = '{tenant}'")
        remaining = EVERYONE - set(list(article.TENANTS)[: list(article.TENANTS).index(tenant) + 1])
        await world.serves(*remaining)
    third = list(article.TENANTS)[2]
    await world.sql(f"DELETE FROM organization WHERE tenant = '{third}'")
    await world.metric_reaches(1, "tenantry_guard_held_tenants", source="postgres")
    assert await world.served() == remaining
    await world.argocd.refresh(SET)
    assert article.application(third) in await world.applications()


async def test_additions_flow_while_departures_are_held_and_a_return_ends_the_hold(world: World) -> None:
    async with nothing_deleted(world):
        await world.sql("TRUNCATE organization")
        await world.metric_reaches(10, "tenantry_guard_held_tenants", source="postgres")
        await world.sql(article.rows(("pied_piper", "trial")))
        await world.serves(*EVERYONE, "pied_piper")
        await world.sql(article.rows(*article.TENANTS.items()))
        await world.metric_reaches(0, "tenantry_guard_held_tenants", source="postgres")
        await asks_again(world)
        await world.has_applications(*EVERYONE, "pied_piper")


async def test_the_generator_killed_deletes_nothing(world: World) -> None:
    async with nothing_deleted(world):
        world.generator.kill()
        refreshed = await world.argocd.refresh(SET)
        assert refreshed.reason == "ApplicationGenerationFromParamsError", refreshed
        await world.generator.start()
        await asks_again(world)


async def test_the_generator_restarted_during_an_outage_answers_503_until_it_has_read_everything(
    world: World, postgres: Postgres
) -> None:
    async def refuses_for_postgres() -> bool:
        status, answer = await world.generator.getparams()
        return status == 503 and answer["message"].startswith("no complete read yet from: postgres (")

    async with nothing_deleted(world):
        postgres.stop()
        try:
            world.generator.kill()
            await world.generator.start(until="/healthz")
            await eventually(refuses_for_postgres, within=10, what="503 for Postgres alone")
            assert await world.generator.getparams() == await world.generator.getparams(), "the text must be stable"
            refreshed = await world.argocd.refresh(SET)
            assert "API error with status code 503" in refreshed.message, refreshed
        finally:
            await postgres.start()

        async def ready() -> bool:
            async with aiohttp.ClientSession() as http, http.get(f"{world.generator.url}/readyz") as response:
                return response.status == 200

        await eventually(ready, within=40, what="the generator has read Postgres")
        await asks_again(world)


async def test_a_tenant_laid_over_a_row_and_taken_away_again_keeps_the_same_application(world: World) -> None:
    raw = "acme_corp"
    name = render_row(raw, {})["name"]

    async def comes_from(source: str) -> bool:
        _, answer = await world.generator.getparams()
        return any(row["tenant"] == raw and row["source"] == source for row in answer["output"]["parameters"])

    async with nothing_deleted(world):
        laid = _TENANT.replace("hooli", name)
        await world.control_plane.kubectl("apply", "-f", "-", stdin=laid)
        await eventually(lambda: comes_from("cluster"), within=10, what="the Tenant lies over the row")
        await asks_again(world)
        await world.has_applications(*EVERYONE)
        assert await world.metric("tenantry_shadowed_rows") == 1
    async with nothing_deleted(world):
        await world.control_plane.kubectl("delete", "-f", "-", stdin=laid)
        await eventually(lambda: comes_from("postgres"), within=10, what="the row is back")
        await asks_again(world)
        await world.has_applications(*EVERYONE)
    await world.metric_reaches(0, "tenantry_shadowed_rows")


_TENANT = """
apiVersion: tenantry.dev/v1alpha1
kind: Tenant
metadata: {name: hooli}
spec: {}
"""
