"""Departures on a large scale, and what a restart may not forget: nothing is deleted until somebody says so.

The real ApplicationSet controller asks again after each fault. After an acknowledgement it deletes exactly the
Applications of the tenants that the hold named.
"""

from typing import Any

import pytest

from tenantry.errors import NotFound
from tenantry.names import slug
from tenantry.resources import APPLICATION_SETS, CONFIG_MAPS
from tests.e2e.conftest import SET, TWO, World
from tests.e2e.test_faults import EVERYONE, asks_again, nothing_deleted, start_again
from tests.support import article
from tests.support.argocd import NAMESPACE
from tests.support.eventually import eventually
from tests.support.postgres import Postgres

HALF = sorted(article.TENANTS)[:5]
ACTIVE = {tenant for tenant, status in article.TENANTS.items() if status == "active"}
HALF_GONE = f"DELETE FROM organization WHERE tenant IN ({', '.join(map(repr, HALF))})"


def slugs(*tenants: str) -> list[str]:
    return sorted(map(slug, tenants))


async def ask_with(world: World, **generator: Any) -> None:
    """Change the article's only generator, so that Argo CD asks anew."""
    body = article.application_set()
    body["spec"]["generators"][0].update(generator.pop("outside", {}))
    body["spec"]["generators"][0]["plugin"].update(generator)
    await world.argocd.apply_application_set(body)
    assert (await world.argocd.refresh(SET)).ok


async def refused(world: World) -> str:
    """Wait until Argo CD shows a 503 of ours; return its message."""
    refreshed = await world.argocd.refresh(SET)
    assert "API error with status code 503" in refreshed.message, refreshed
    return refreshed.message


async def test_after_a_truncate_exactly_the_acknowledged_are_deleted(world: World) -> None:
    async with nothing_deleted(world):
        await world.sql("TRUNCATE organization")
        hold = await world.only_hold()
        assert (hold["set"], hold["tenants"]) == ("source postgres", slugs(*article.TENANTS))
        await asks_again(world)
        assert await world.served() == EVERYONE
    assert (await world.generator.acknowledge(hold["hash"], token=world.generator.token))[0] == 403
    await world.acknowledge(hold)
    assert (await world.generator.acknowledge(hold["hash"], token=world.admin))[0] == 409
    assert (await world.argocd.refresh(SET)).ok
    await world.has_applications(*TWO)
    asked = ("get", "events", "--output=jsonpath={.items[*].message}")
    events = await world.control_plane.kubectl("--namespace", world.namespace, *asked)
    assert f"the test (token on-call) acknowledged the hold {hold['hash']} of source postgres: 10 released" in events


async def test_a_tenant_that_returned_is_not_deleted_by_the_acknowledgement(world: World) -> None:
    await world.sql(HALF_GONE)
    hold = await world.only_hold()
    await world.sql(article.rows((HALF[0], "active")))

    async def fewer() -> bool:
        return bool((await world.only_hold())["tenants"] == slugs(*HALF[1:]))

    await eventually(fewer, within=10, what="the returned tenant has left the hold")
    status, answer = await world.generator.acknowledge(hold["hash"], token=world.admin)
    assert (status, answer["released"]) == (200, slugs(*HALF[1:]))
    assert (await world.argocd.refresh(SET)).ok
    await world.has_applications(*EVERYONE.difference(HALF[1:]))


async def test_a_restart_forgets_neither_who_was_served_nor_a_hold(world: World) -> None:
    async with nothing_deleted(world):
        world.generator.kill()
        await world.sql(HALF_GONE)
        await start_again(world)
        hold = await world.only_hold()
        assert hold["tenants"] == slugs(*HALF)
        world.generator.kill()
        await start_again(world)
        assert (await world.only_hold())["hash"] == hold["hash"]
        await asks_again(world)
    await world.acknowledge(hold)
    assert (await world.argocd.refresh(SET)).ok
    await world.has_applications(*EVERYONE.difference(HALF))


async def test_killed_in_the_middle_of_a_change_it_holds_what_it_would_have_held(world: World) -> None:
    async with nothing_deleted(world):
        await world.sql("TRUNCATE organization")
        world.generator.kill()
        await start_again(world)
        assert (await world.only_hold())["tenants"] == slugs(*article.TENANTS)
        await asks_again(world)


async def test_an_acknowledgement_during_an_outage_waits_until_it_is_known_who_is_missing(
    world: World, postgres: Postgres
) -> None:
    await world.sql(HALF_GONE)
    hold = await world.only_hold()
    postgres.stop()
    try:
        await world.metric_reaches(0, "tenantry_source_up", source="postgres")
        status, answer = await world.generator.acknowledge(hold["hash"], token=world.admin)
        assert (status, answer["released"]) == (202, []), answer
        assert await world.served() == EVERYONE
    finally:
        await postgres.start()
    await world.serves(*EVERYONE.difference(HALF))


async def test_restarted_during_an_outage_it_answers_from_its_record(world: World, postgres: Postgres) -> None:
    async with nothing_deleted(world):
        postgres.stop()
        try:
            world.generator.kill()
            await start_again(world)
            await asks_again(world)
            assert await world.served() == EVERYONE
        finally:
            await postgres.start()


async def test_an_old_record_during_an_outage_deletes_nothing(world: World, postgres: Postgres) -> None:
    old = await world.record()
    await world.sql(article.rows(("pied_piper", "trial")))
    await world.serves(*EVERYONE, "pied_piper")
    await asks_again(world)
    before = await world.has_applications(*EVERYONE, "pied_piper")
    world.generator.kill()
    await world.forget()
    for part in old:
        metadata = {key: part["metadata"][key] for key in ("name", "labels")}
        body = {"metadata": metadata, **{key: part[key] for key in part if key in _CONTENT}}
        await world.kube.create(CONFIG_MAPS, body, world.namespace)
    postgres.stop()
    try:
        await start_again(world)
        message = await refused(world)
        assert "owns 13 Applications and the answer has only 12 elements" in message
        assert await world.applications() == before
    finally:
        await postgres.start()
    await world.serves(*EVERYONE, "pied_piper")
    await asks_again(world)
    assert await world.applications() == before


@pytest.mark.parametrize("way", ["input", "selector"])
async def test_a_mass_change_of_status_deletes_nothing_until_acknowledged(world: World, way: str) -> None:
    wanted = {"matchExpressions": [{"key": "status", "operator": "In", "values": ["active", "trial"]}]}
    if way == "input":
        await ask_with(world, input={"parameters": {"status": ["active", "trial"]}})
    else:
        await ask_with(world, outside={"selector": wanted})
    async with nothing_deleted(world):
        await world.sql("UPDATE organization SET status = 'suspended' WHERE status = 'active'")
        hold = await world.only_hold()
        assert (hold["set"].partition(" of ")[2], hold["tenants"]) == (f"ApplicationSet {SET}", slugs(*ACTIVE))
        await asks_again(world)
        world.generator.kill()
        await start_again(world)
        assert (await world.only_hold())["hash"] == hold["hash"]
        await asks_again(world)
    await world.acknowledge(hold)
    assert (await world.argocd.refresh(SET)).ok
    await world.has_applications(*EVERYONE.difference(ACTIVE))


async def test_a_wrong_database_on_the_first_day_deletes_nothing_until_acknowledged(world: World) -> None:
    async with nothing_deleted(world):
        world.generator.kill()
        await world.forget()
        await world.sql(HALF_GONE)
        await start_again(world)
        assert "owns 12 Applications and the answer has only 7 elements" in await refused(world)
        hold = await world.only_hold()
        assert hold["hash"] in await refused(world)
    await world.acknowledge(hold)
    assert (await world.argocd.refresh(SET)).ok
    await world.has_applications(*EVERYONE.difference(HALF))
    assert await world.generator.holds() == []


async def test_an_empty_database_on_the_first_day_deletes_nothing(world: World) -> None:
    async with nothing_deleted(world):
        world.generator.kill()
        await world.forget()
        await world.sql("TRUNCATE organization")
        await start_again(world)
        await refused(world)
        await world.sql(article.rows(*article.TENANTS.items()))
        await world.serves(*EVERYONE)
        await asks_again(world)


async def test_the_record_deleted_while_it_is_used_deletes_nothing(world: World) -> None:
    async with nothing_deleted(world):
        await world.forget()
        await world.sql(article.rows(("pied_piper", "trial")))
        await world.serves(*EVERYONE, "pied_piper")
        world.generator.kill()
        await world.sql("TRUNCATE organization")
        await start_again(world)
        assert len((await world.only_hold())["tenants"]) == 11
        await asks_again(world)


@pytest.mark.parametrize("part", ["index", "chunk"])
async def test_a_damaged_record_deletes_nothing_and_is_begun_anew_only_by_a_person(world: World, part: str) -> None:
    async with nothing_deleted(world):
        world.generator.kill()
        for body in await world.record():
            if body["metadata"]["labels"]["tenantry.dev/record"] == part:
                await world.kube.delete(CONFIG_MAPS, body["metadata"]["name"], world.namespace)
        await world.sql(HALF_GONE)
        await world.generator.start(until="/healthz")

        async def unreadable() -> bool:
            return "the record of what was served can't be read" in await refused(world)

        await eventually(unreadable, within=20, what="it says what is the matter")
        await world.forget()

        async def first_contact() -> bool:
            return "owns 12 Applications" in await refused(world)

        await eventually(first_contact, within=40, what="it goes on without a record, and refuses a first contact")


async def test_another_writer_of_the_record_silences_it_until_it_has_read_what_was_written(world: World) -> None:
    async with nothing_deleted(world):
        index = next(part for part in await world.record() if part["metadata"]["name"].endswith("-index"))
        await world.kube.merge_patch(CONFIG_MAPS, index["metadata"]["name"], _SPOILT, world.namespace)
        await world.sql(article.rows(("pied_piper", "trial")))

        async def silent() -> bool:
            status, answer = await world.generator.getparams()
            return status == 503 and "record" in answer["message"]

        await eventually(silent, within=10, what="it answers no more")
        await refused(world)


async def test_an_application_set_that_owns_nothing_is_answered_at_once(world: World) -> None:
    body = article.application_set()
    body["metadata"]["name"] = "second"
    body["spec"]["template"]["metadata"]["name"] = "second-{{ .name }}"
    try:
        await world.argocd.apply_application_set(body)
        assert (await world.argocd.refresh("second")).ok
        assert len(await world.argocd.applications("second")) == len(EVERYONE)
    finally:
        await world.argocd.delete_application_set("second")
    with pytest.raises(NotFound):
        await world.kube.get(APPLICATION_SETS, "second", NAMESPACE)


_CONTENT = ("data", "binaryData", "immutable")
_SPOILT = {"data": {"content": "somebody else's\n"}}
