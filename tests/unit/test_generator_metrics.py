"""Each of the generator's metrics moves upon what it is said to tell."""

import re
import time

import pytest

from tenantry.render import render_row
from tenantry_generator.app import GETPARAMS
from tenantry_generator.applicationsets import Use
from tenantry_generator.errors import RecordConflict, RecordUnavailable
from tenantry_generator.generator_selector import read_selector
from tenantry_generator.metrics import Metrics
from tenantry_generator.sources import Read
from tests.support.eventually import eventually
from tests.unit import test_generator_app, test_generator_record
from tests.unit.test_generator_record import Memory, Owners, running

service = test_generator_app.service
store = test_generator_record.store
owners = test_generator_record.owners


def value(text: str, series: str) -> float | None:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return None if found is None else float(found[1])


async def told(service: test_generator_app.Service | test_generator_record.Service, series: str) -> float | None:
    async with service.client.get("/metrics") as response:
        return value(await response.text(), series)


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [(None, "missing"), ("Bearer $tenantry-generator:token", "unresolved"), ("Bearer wrong", "unknown")],
)
async def test_a_request_without_a_valid_token_is_counted_by_what_was_wrong(
    service: test_generator_app.Service, authorization: str | None, reason: str
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in (GETPARAMS, "/api/v1/holds"):
        async with service.client.post(path, headers=headers) as response:
            assert response.status in (401, 403)
    kinds = {kind: await told(service, f'tenantry_auth_failures_total{{reason="{kind}"}}') for kind in _KINDS}
    # Nobody may acknowledge here, which is no matter of the token.
    assert kinds == {**dict.fromkeys(_KINDS, 0), reason: 1}


_KINDS = ("missing", "unresolved", "unknown")


async def test_answers_are_counted_by_what_they_are_made_of(store: Memory, owners: Owners) -> None:
    async def count(of: test_generator_record.Service, result: str) -> float | None:
        return await told(of, f'tenantry_getparams_answers_total{{result="{result}"}}')

    async with running(store, owners) as first:
        assert (await first.ask())[0] == 503
        assert await count(first, "refused") == 1
        first.rows(3)
        await first.answers_with(3)
        fresh = await count(first, "fresh")
        assert fresh == 1
        size = await told(first, "tenantry_getparams_response_bytes_sum")
        assert (await told(first, "tenantry_getparams_response_bytes_count"), size or 0) > (0.9, 300)
        first.database.problem = "db:5432 refused the connection"
        assert await first.ask() == (200, 3)
        assert (await count(first, "fresh"), await count(first, "last_good")) == (fresh, 1)
    async with running(store, owners) as second:
        second.database.problem = "db:5432 refused the connection"
        await second.answers_with(3)
        assert await count(second, "recorded") == 1


async def test_the_elements_are_shown_of_who_makes_one_application_of_each_and_forgotten_upon_a_take_over(
    store: Memory, owners: Owners
) -> None:
    selecting = Use("tenantry", {}, read_selector({"matchLabels": {"status": "active"}}))
    owners.own("plain", 0)
    owners.own("selecting", 0, selecting)
    owners.own("matrix", 0, plain=False)
    async with running(store, owners) as service:
        service.rows(3)
        for name in ("plain", "selecting", "matrix", "unknown"):
            await service.answers_with(3, name=name)

        async def elements(name: str) -> float | None:
            return await told(service, f'tenantry_getparams_elements{{applicationset="{name}"}}')

        shown = {name: await elements(name) for name in ("plain", "selecting", "matrix", "unknown")}
        assert shown == {"plain": 3, "selecting": None, "matrix": None, "unknown": None}
        await service.answers.take_over()
        assert await elements("plain") is None


def test_beyond_a_thousand_names_the_label_is_other() -> None:
    metrics = Metrics()
    for number in range(1001):
        metrics.set_elements(f"set{number}", number)
    text = metrics.render().decode()
    assert value(text, 'tenantry_getparams_elements{applicationset="set999"}') == 999
    assert value(text, 'tenantry_getparams_elements{applicationset="other"}') == 1000


async def test_a_change_is_dated_and_a_tenant_in_quarantine_is_shown_while_it_is(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        assert await told(service, "tenantry_snapshot_timestamp_seconds") == 0
        service.rows(3)
        await service.answers_with(3)
        assert abs((await told(service, "tenantry_snapshot_timestamp_seconds") or 0) - time.time()) < 60
        quarantined = 'tenantry_quarantined_tenants{source="postgres"}'
        assert await told(service, quarantined) == 0
        rows = {"t01": render_row("t01", {"status": "active"}), "t02": render_row("t02", {"status": "active"})}
        service.database.publish(Read(rows, quarantined={"t00": "2 rows differ"}))
        assert await told(service, quarantined) == 1
        service.rows(3)
        assert await told(service, quarantined) == 0


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(RecordUnavailable("the API server is away"), "not_recorded"), (RecordConflict("another writes"), "conflict")],
)
async def test_a_change_that_can_not_be_recorded_is_counted_as_thrown_away(
    store: Memory, owners: Owners, failure: Exception, reason: str
) -> None:
    series = f'tenantry_snapshot_discarded_total{{reason="{reason}"}}'
    async with running(store, owners) as service:
        service.rows(3)
        await service.answers_with(3)
        assert await told(service, series) == 0
        store.failure = failure
        service.rows(4)

        async def counted() -> bool:
            return ((await told(service, series)) or 0) >= 1

        await eventually(counted, within=5, what="it is counted")


async def test_a_defect_in_a_source_is_counted(service: test_generator_app.Service) -> None:
    service.database.crash.set()

    async def counted() -> bool:
        return await told(service, 'tenantry_snapshot_discarded_total{reason="defect"}') == 1

    await eventually(counted, within=5, what="it is counted")
