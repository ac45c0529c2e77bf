"""Where a tenant is and what an ApplicationSet would get, as the generator tells it, against what Argo CD then does."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tenantry.names import slug
from tests.e2e.conftest import SET, TWO, World
from tests.e2e.test_faults import EVERYONE, asks_again, start_again
from tests.e2e.test_holds import ask_with
from tests.support import article
from tests.support.eventually import eventually

ACTIVE, LATE = "acme_corp", "innova_systems"


async def explained(world: World, tenant: str, **parameters: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is known of a tenant, and of its part in the view that the article's ApplicationSet asks for."""
    status, answer = await world.generator.look(f"explain/{tenant}")
    assert status == 200, answer
    # Right after an edit there may be the view from before it, too.
    views = [each for each in answer["applicationSets"] if each["parameters"] == parameters]
    (told,) = (each for each in views if each["applicationSet"] == SET)
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


async def test_after_a_restart_only_what_was_answered_since_is_told(world: World) -> None:
    with world.argocd.paused():
        world.generator.kill()
        await start_again(world)
        assert (await explained(world, ACTIVE))[1]["lastAnswer"] is None
        told = await previewed(world)
        assert (told["last"], told["removed"], told["now"]["count"]) == (None, None, len(EVERYONE))
    await asks_again(world)
    assert (await explained(world, ACTIVE))[1]["lastAnswer"]["hadIt"] is True


async def test_a_preview_shows_what_argo_cd_does_when_it_next_asks(world: World) -> None:
    active = {tenant for tenant, status in article.TENANTS.items() if status == "active"}
    await ask_with(world, input={"parameters": {"status": "active"}})
    await world.has_applications(*active, *TWO)
    with world.argocd.paused():
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
    assert (await world.argocd.refresh(SET)).ok
    await world.has_applications(*active - {ACTIVE}, LATE, *TWO)
    after = await previewed(world)
    assert [after[key]["count"] for key in ("added", "removed", "changed")] == [0, 0, 0]
    assert after["last"]["revision"] > before["last"]["revision"]
    assert (await explained(world, ACTIVE, status="active"))[1]["lastAnswer"]["hadIt"] is False


async def test_an_application_set_that_has_not_asked_yet_is_previewed_by_what_it_says(world: World) -> None:
    body = article.application_set("tenantry")
    body["metadata"]["name"] = "unasked"
    body["spec"]["generators"][0]["plugin"]["input"] = {"parameters": {"status": "trial"}}
    trial = sorted(slug(tenant) for tenant, status in article.TENANTS.items() if status == "trial")
    found: tuple[int, dict[str, Any]] = (0, {})

    async def known() -> bool:
        nonlocal found
        found = await world.generator.look("preview?applicationSet=unasked")
        return found[0] == 200

    assert (await world.generator.look("preview?applicationSet=unasked"))[0] == 404
    try:
        await world.argocd.apply_application_set(body)
        await eventually(known, within=10, what="the ApplicationSet is known, though its ConfigMap is not there")
        (generator,) = found[1]["generators"]
        assert (generator["now"]["elements"], generator["last"], generator["problem"]) == (trial, None, None)
        assert "unasked" in (await world.generator.look("preview?applicationSet=other"))[1]["message"]
    finally:
        await world.argocd.delete_application_set("unasked")
