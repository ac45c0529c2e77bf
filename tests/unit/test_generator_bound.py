"""An ApplicationSet whose token is for a part of the tenants: guarded as if it asked for that part itself."""

from pathlib import Path

import pytest

from tenantry.classes import resolve
from tenantry.model import parse_tenant
from tenantry.render import render_tenant
from tenantry_generator.applicationsets import Use
from tenantry_generator.contract import Request
from tenantry_generator.errors import NotReady
from tenantry_generator.scope import within
from tenantry_generator.selector import Selector, parse_label_selector
from tenantry_generator.sources import Read
from tests.support.eventually import eventually
from tests.unit.test_generator_record import Memory, Owners, Service, running

GOLD, SILVER = (parse_label_selector(f"tier={tier}", "scope") for tier in ("gold", "silver"))


def tenants(service: Service, **tiers: int) -> None:
    """Publish so many tenants of each tier, and no row."""
    publish(service, {f"{tier}-{number}": tier for tier, count in tiers.items() for number in range(count)})


def publish(service: Service, tiers: dict[str, str]) -> None:
    """Publish tenants with the labels of their tiers, and no row."""
    bodies = {name: {"metadata": {"name": name, "labels": {"tier": tier}}} for name, tier in tiers.items()}
    assert service.cluster is not None
    service.cluster.publish(
        Read({name: render_tenant(resolve(parse_tenant(body), {})) for name, body in bodies.items()})
    )
    service.rows(0)


async def ask(service: Service, scope: Selector) -> int:
    """Return how many elements are answered with."""
    reply = await service.answers.answer(within(Request("apps", {}), scope))
    return bytes(reply.body).count(b'"displayName"')


async def served(service: Service, scope: Selector, count: int) -> None:
    async def same() -> bool:
        return await ask(service, scope) == count

    await eventually(same, within=5, what=f"an answer of {count} elements")


async def refused(service: Service, scope: Selector, why: str) -> None:
    async def so() -> bool:
        with pytest.raises(NotReady, match=why):
            await ask(service, scope)
        return True

    await eventually(so, within=5, what="the answer is refused")


async def test_a_first_contact_counts_what_the_token_lets_be_asked_for() -> None:
    owners = Owners()
    async with running(Memory(), owners, cluster=True) as service:
        tenants(service, gold=3, silver=7)
        owners.own("apps", 10)
        await refused(service, GOLD, "owns 10 Applications and the answer has only 3 elements")
        owners.own("apps", 3)
        await served(service, GOLD, 3)


async def test_many_that_leave_the_part_are_held_in_it() -> None:
    owners = Owners()
    owners.own("apps", 0)
    async with running(Memory(), owners, cluster=True) as service:
        tenants(service, gold=10)
        await served(service, GOLD, 10)
        publish(service, {f"gold-{number}": "bronze" for number in range(10)})
        await eventually(service.holds, within=5, what="they are held")
        assert await ask(service, GOLD) == 10


async def test_with_several_tokens_no_view_takes_the_place_of_another() -> None:
    owners = Owners()
    owners.own("apps", 0, Use("one", {}, None), Use("two", {}, None))
    async with running(Memory(), owners, cluster=True) as service:
        tenants(service, gold=3, silver=7)
        await served(service, GOLD, 3)
        await served(service, SILVER, 7)
        assert len(service.publisher.membership.views) == 2
        owners.own("apps", 10, Use("one", {}, None), Use("two", {}, None))
        assert (await ask(service, GOLD), await ask(service, SILVER)) == (3, 7)


async def test_a_first_contact_with_several_tokens_is_judged_by_each_answer() -> None:
    owners = Owners()
    owners.own("apps", 10, Use("one", {}, None), Use("two", {}, None))
    async with running(Memory(), owners, cluster=True) as service:
        tenants(service, gold=3, silver=7)
        await refused(service, GOLD, "owns 10 Applications and the answer has only 3 elements")


async def test_a_bound_token_lists_and_acknowledges_nothing(tmp_path: Path) -> None:
    (tmp_path / "on-call").write_text("admin")
    (tmp_path / "on-call.selector").write_text("tier=gold")
    async with running(Memory(), Owners(), tmp_path, cluster=True) as service:
        tenants(service, gold=3)
        bound = (403, {"message": "this token is bound to a selector, and only asks for parameters"})
        assert await service.acknowledge({"hash": "x"}) == bound
        for path in ("holds", "explain/gold-0", "preview?applicationSet=apps"):
            headers = {"Authorization": "Bearer admin"}
            async with service.client.get(f"/api/v1/{path}", headers=headers) as response:
                assert (response.status, await response.json()) == bound
