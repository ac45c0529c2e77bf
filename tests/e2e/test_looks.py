"""Where a tenant is, and what an ApplicationSet would get, as the generator tells it, against what Argo CD then does."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tenantry.names import slug
from tests.e2e.conftest import SET, TWO, World
from tests.e2e.test_faults import start_again
from tests.e2e.test_holds import ask_with
from tests.support import article
from tests.support.eventually import eventually

ACTIVE, LATE = "acme_corp", "innova_systems"
LONG_AGO = "1800"
"""Seconds after which Argo CD asks again by itself, so that a test decides when it does."""


async def explained(world: World, tenant: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is known of a tenant, and of its part in the article's ApplicationSet."""
    status, answer = await world.generator.look(f"explain/{tenant}")
    assert status == 200, answer
    (told,) = (each for each in answer["applicationSets"] if each["applicationSet"] == SET)
    return answer, told


async def previewed(world: World) -> dict[str, Any]:
    """What the article's only generator would get."""
    status, answer = await world.generator.look(f"preview?applicationSet={SET}")
    assert status == 200, answer
    (generator,) = answer["generators"]
    return dict(generator)


async def test_once_it_has_an_application_it_is_known_who_received_the_tenant_and_when(world: World) -> None:
    for tenant in (ACTIVE, slug(ACTIVE), *TWO):
        answer, told = await explained(world, tenant)
        assert (answer["listed"], told["matches"], told["held"]) == (True, True, None)
        assert told["lastAnswer"]["hadIt"] is True
        assert told["lastAnswer"]["revision"] <= answer["revision"]
        ago = datetime.now(UTC) - datetime.fromisoformat(told["lastAnswer"]["at"])
        assert timedelta(seconds=-1) < ago < timedelta(minutes=2)
    world.generator.kill()
    await start_again(world)
    status, answer = await world.generator.look("explain/nobody-knows-this-one")
    assert status == 404, answer
    # Argo CD may have asked again by now; what it was given before is not known.
    last = (await explained(world, ACTIVE))[1]["lastAnswer"]
    assert last is None or last["revision"] == (await explained(world, ACTIVE))[0]["revision"]


async def test_a_preview_shows_what_argo_cd_does_when_it_next_asks(world: World) -> None:
    await ask_with(world, input={"parameters": {"status": "active"}}, requeueAfterSeconds=int(LONG_AGO))
    await world.has_applications(*(tenant for tenant, status in article.TENANTS.items() if status == "active"), *TWO)
    before = await previewed(world)
    assert [before[key]["count"] for key in ("added", "removed", "changed")] == [0, 0, 0]
    await world.sql(
        f"UPDATE organization SET status = 'late' WHERE tenant = '{ACTIVE}'",
        f"UPDATE organization SET status = 'active' WHERE tenant = '{LATE}'",
    )
    told = before

    async def differs() -> bool:
        nonlocal told
        told = await previewed(world)
        return bool(told["added"]["count"] and told["removed"]["count"])

    await eventually(differs, within=10, what="the preview shows the change")
    assert (told["added"]["elements"], told["removed"]["elements"]) == ([slug(LATE)], [slug(ACTIVE)])
    assert told["last"] == before["last"], "looking is no answer"
    assert article.application(ACTIVE) in await world.applications()
    assert (await world.argocd.refresh(SET)).ok
    wanted = {tenant for tenant, status in article.TENANTS.items() if status == "active"} - {ACTIVE} | {LATE}
    await world.has_applications(*wanted, *TWO)
    after = await previewed(world)
    assert [after[key]["count"] for key in ("added", "removed", "changed")] == [0, 0, 0]
    assert after["last"] != before["last"]
    assert (await explained(world, ACTIVE))[1]["lastAnswer"]["hadIt"] is False
