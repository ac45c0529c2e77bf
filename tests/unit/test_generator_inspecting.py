"""`explain` and `preview`: what they tell of a tenant and of an ApplicationSet, and that looking changes nothing."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator

from tenantry.names import slug
from tenantry.render import ClusterRow, render_row
from tenantry_generator.applicationsets import Use
from tenantry_generator.contract import Request
from tenantry_generator.explain import Known
from tenantry_generator.explain import explain as explain_tenant
from tenantry_generator.generator_selector import read_selector
from tenantry_generator.inspecting import EXPLAIN, PREVIEW
from tenantry_generator.membership import Membership
from tenantry_generator.merge import merge
from tenantry_generator.openapi import load_openapi
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.received import Receipt, Received
from tenantry_generator.snapshot import build_snapshot
from tenantry_generator.sources import Read
from tenantry_generator.views import make_view
from tests.support.eventually import eventually
from tests.unit.test_generator_record import Memory, Owners, Service, running

DOCUMENT: dict[str, Any] = json.loads(load_openapi())
AT = "2023-11-14T22:13:20+00:00"
GOOD = {"Authorization": "Bearer s3cret"}


@pytest.fixture
def owners() -> Owners:
    return Owners()


@pytest.fixture
async def service(owners: Owners, tmp_path: Path) -> AsyncIterator[Service]:
    (tmp_path / "on-call").write_text("admin")
    async with running(Memory(), owners, tmp_path, cluster=True) as service:
        assert service.cluster is not None
        service.cluster.publish(Read({}))
        yield service


async def look(service: Service, path: str, route: str, **headers: str) -> tuple[int, Any]:
    """Ask, and hold the answer against the OpenAPI document."""
    async with service.client.get(path, headers=headers or GOOD) as response:
        body = await response.json()
        told = DOCUMENT["paths"][route]["get"]["responses"][str(response.status)]
        schema = told["content"]["application/json"]["schema"]
        Draft202012Validator({**DOCUMENT, **schema}).validate(body)
        return response.status, body


async def explain(service: Service, tenant: str) -> Any:
    status, body = await look(service, f"/api/v1/explain/{quote(tenant, safe='')}", EXPLAIN)
    assert status == 200, body
    return body


async def source(service: Service, tenant: str, name: str = "postgres") -> Any:
    return next(each for each in (await explain(service, tenant))["sources"] if each["source"] == name)


async def preview(service: Service, name: str = "apps") -> Any:
    status, body = await look(service, f"{PREVIEW}?applicationSet={name}", PREVIEW)
    assert status == 200, body
    return body


async def only(service: Service, name: str = "apps") -> Any:
    (generator,) = (await preview(service, name))["generators"]
    return generator


async def serves(service: Service, count: int) -> None:
    def same() -> bool:
        return service.publisher.snapshot is not None and len(service.publisher.snapshot.rows) == count

    await eventually(same, within=5, what=f"a snapshot of {count} tenants")


async def changed(service: Service, revision: int) -> None:
    await eventually(lambda: service.publisher.current().revision > revision, within=5, what="the next snapshot")


def keys(*names: str) -> dict[str, Any]:
    return {"count": len(names), "elements": list(names), "truncated": False}


async def test_a_tenant_is_explained_by_its_name_and_by_what_its_source_calls_it(service: Service) -> None:
    raw = "Söhne {& Co}/1%2F?"
    service.database.publish(Read({slug(raw): render_row(raw, {"status": "active"})}))
    await serves(service, 1)
    told = await explain(service, raw)
    assert told == await explain(service, slug(raw))
    assert (told["name"], told["tenant"], told["listed"], told["source"]) == (slug(raw), raw, True, "postgres")
    assert (told["element"]["status"], told["departed"], told["applicationSets"]) == ("active", None, [])
    cluster, postgres = told["sources"]
    assert (cluster["lists"], cluster["row"], postgres["lists"]) == (False, None, True)
    assert postgres["row"] == told["element"]


async def test_who_received_it_and_when(service: Service, owners: Owners) -> None:
    active = read_selector({"matchLabels": {"status": "active"}})
    owners.own("filtered", 0, Use("tenantry", {"status": "late"}, None))
    owners.own("selecting", 0, Use("tenantry", {}, active))
    service.rows(3)
    await serves(service, 3)
    revision = service.publisher.current().revision
    assert await service.ask("filtered", status="late") == (200, 0)
    service.now += 60
    assert await service.ask("selecting") == (200, 3)
    filtered, selecting = (await explain(service, "t01"))["applicationSets"]
    assert (filtered["applicationSet"], filtered["matches"], filtered["parameters"]) == (
        "filtered",
        False,
        {"status": "late"},
    )
    assert filtered["lastAnswer"] == {"at": AT, "revision": revision, "hadIt": False}
    assert (selecting["matches"], selecting["selector"]) == (True, {"matchLabels": {"status": "active"}})
    assert selecting["lastAnswer"] == {"at": "2023-11-14T22:14:20+00:00", "revision": revision, "hadIt": True}
    service.database.publish(Read({f"t{n:02}": render_row(f"t{n:02}", {"status": "new"}) for n in range(4)}))
    await serves(service, 4)
    assert [each["lastAnswer"]["hadIt"] for each in (await explain(service, "t03"))["applicationSets"]] == [False] * 2


async def test_an_answer_that_was_not_sent_was_not_received(service: Service) -> None:
    service.rows(3)
    await serves(service, 3)
    await service.answers.answer(Request("apps", {}))
    assert [each["lastAnswer"] for each in (await explain(service, "t01"))["applicationSets"]] == [None]
    role = iter(["", "another replica answers"])
    service.not_answering = lambda: next(role, "")
    assert (await service.ask())[0] == 503, "it was prepared, and then might no longer be given"
    assert [each["lastAnswer"] for each in (await explain(service, "t01"))["applicationSets"]] == [None]
    assert (await service.ask())[0] == 200
    assert [each["lastAnswer"]["hadIt"] for each in (await explain(service, "t01"))["applicationSets"]] == [True]


async def test_what_was_answered_before_another_replica_took_over_is_not_told(service: Service) -> None:
    service.rows(3)
    await service.answers_with(3)
    assert (await preview(service, "apps"))["generators"][0]["last"] is not None
    await service.answers.take_over()
    cluster = service.cluster
    assert cluster is not None
    await eventually(lambda: (cluster.runs, service.database.runs) == (2, 2), within=5, what="it reads anew")
    cluster.publish(Read({}))
    service.rows(3)
    await serves(service, 3)
    (view,) = (await explain(service, "t01"))["applicationSets"]
    assert view["lastAnswer"] is None
    assert (await preview(service, "apps"))["generators"][0]["last"] is None


async def test_a_tenant_that_is_quarantined_with_a_row_and_without(service: Service) -> None:
    service.rows(2)
    await serves(service, 2)
    rows = {"t01": render_row("t01", {"status": "active"})}
    service.database.publish(Read(rows, quarantined={"t00": "its rows differ", "t09": "no UTF-8"}))
    told = await source(service, "t00")
    assert (told["lists"], told["quarantined"], told["row"]["name"]) == (True, "its rows differ", "t00")
    told = await explain(service, "t09")
    assert (told["listed"], told["tenant"], told["element"]) == (False, None, None)
    assert (await source(service, "t09"))["quarantined"] == "no UTF-8"


async def test_a_tenant_that_is_held_and_doubted(service: Service) -> None:
    service.rows(10)
    await serves(service, 10)
    rows = {f"t{n:02}": render_row(f"t{n:02}", {"status": "active"}) for n in range(9)}
    service.database.publish(Read(rows, doubted={"t09": "the server went back in time"}))
    await eventually(lambda: service.holds(), within=5, what="a hold")
    (hold,) = service.holds()
    told = await source(service, "t09")
    assert (told["lists"], told["doubted"]) == (False, "the server went back in time")
    assert told["held"] == {"hash": hold["hash"], "since": AT, "why": hold["why"]}
    assert told["row"]["name"] == "t09"
    assert (await explain(service, "t09"))["departed"] == {"fate": "held", "source": "postgres", "at": AT}


async def test_a_row_under_a_tenant_and_what_the_tenant_has_from_it(service: Service) -> None:
    assert service.cluster is not None
    element = {**render_row("acme-1", {"status": ""}), "tenant": "acme-1", "source": "cluster"}
    service.cluster.publish(Read({"acme-1": ClusterRow(element, frozenset())}))
    service.database.publish(Read({"acme-1": render_row("acme-1", {"status": "late"})}))
    await serves(service, 1)
    await eventually(lambda: len(service.publisher.membership.sources) == 2, within=5, what="both sources")
    told = await explain(service, "acme-1")
    assert (told["source"], told["element"]["status"]) == ("cluster", "late")
    cluster, postgres = told["sources"]
    assert (cluster["shadowed"], cluster["inherited"], cluster["row"]["status"]) == (False, [], "")
    assert (postgres["shadowed"], postgres["inherited"]) == (True, ["status"])


async def test_a_tenant_that_has_left(service: Service) -> None:
    service.rows(3)
    await serves(service, 3)
    service.rows(2)
    await serves(service, 2)
    told = await explain(service, "t02")
    assert (told["listed"], told["departed"]) == (False, {"fate": "left", "source": "postgres", "at": AT})


async def test_a_source_that_can_not_be_read_says_why(service: Service) -> None:
    service.rows(1)
    await serves(service, 1)
    service.database.problem = "db:5432 refused the connection"
    told = await source(service, "t00")
    assert (told["lists"], told["problem"]) == (True, "db:5432 refused the connection")


async def test_a_name_that_nobody_knows_is_told_what_is_alike(service: Service) -> None:
    names = ("acme_corp", "umbrella", "initech")
    service.database.publish(Read({slug(name): render_row(name, {"status": ""}) for name in names}))
    await serves(service, 3)
    for given, near in (("acme-corp", slug("acme_corp")), ("Acme Corp", slug("acme_corp")), ("umbrela", "umbrella")):
        status, body = await look(service, f"/api/v1/explain/{quote(given)}", EXPLAIN)
        assert (status, body["message"].rpartition("; ")[2]) == (404, f"did you mean {near}?")
    assert (await look(service, "/api/v1/explain/zz", EXPLAIN))[1] == {"message": "no tenant is known as 'zz'"}


@pytest.mark.parametrize("path", [EXPLAIN.replace("{tenant}", "t00"), f"{PREVIEW}?applicationSet=apps"])
async def test_looking_takes_a_token_and_the_replica_that_answers(service: Service, path: str) -> None:
    route = EXPLAIN if "explain" in path else PREVIEW
    assert (await look(service, path, route))[0] == 503, "nothing is served yet"
    service.rows(1)
    await service.answers_with(1)
    assert (await look(service, path, route, Authorization="Basic x"))[0] == 401
    assert (await look(service, path, route, Authorization="Bearer wrong"))[0] == 403
    assert (await look(service, path, route, Authorization="Bearer admin"))[0] == 200
    async with service.client.post(path, headers=GOOD) as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET")
    service.not_answering = lambda: "another replica answers"
    assert await look(service, path, route) == (503, {"message": "another replica answers"})


async def test_a_preview_is_what_would_be_answered_against_what_was(service: Service, owners: Owners) -> None:
    owners.own("apps", 3, Use("tenantry", {"status": ["active", "trial"]}, None))
    service.rows(3)
    await serves(service, 3)
    before = await only(service)
    assert (before["now"], before["last"], before["added"]) == (keys("t00", "t01", "t02"), None, None)
    assert await service.ask(status=["active", "trial"]) == (200, 3)
    revision = service.publisher.current().revision
    statuses = {"t00": "trial", "t01": "late", "t02": "active", "t03": "active"}
    service.database.publish(Read({name: render_row(name, {"status": status}) for name, status in statuses.items()}))
    await changed(service, revision)
    told = await only(service)
    assert told["last"] == {"at": AT, "revision": revision}
    assert told["now"] == keys("t00", "t02", "t03")
    assert (told["added"], told["removed"], told["changed"]) == (keys("t03"), keys("t01"), keys("t00"))
    assert (told["problem"], told["firstContact"], told["holds"], told["templated"]) == (None, None, [], False)
    assert await service.ask(status=["active", "trial"]) == (200, 3)
    told = await only(service)
    assert (told["added"], told["removed"], told["changed"]) == (keys(), keys(), keys())


async def test_a_preview_is_looked_at_through_the_generator_s_selector(service: Service, owners: Owners) -> None:
    owners.own("apps", 3, Use("tenantry", {}, read_selector({"matchLabels": {"status": "active"}})))
    service.rows(3)
    await service.answers_with(3)
    revision = service.publisher.current().revision
    rows = {name: render_row(name, {"status": "late" if name == "t00" else "active"}) for name in ("t00", "t01", "t02")}
    service.database.publish(Read(rows))
    await changed(service, revision)
    told = await only(service)
    assert (told["now"], told["removed"], told["changed"]) == (keys("t01", "t02"), keys("t00"), keys())


async def test_what_a_view_holds_is_in_its_preview_with_the_hold(service: Service, owners: Owners) -> None:
    owners.own("apps", 10, Use("tenantry", {"status": "active"}, None))
    service.rows(10)
    await service.answers_with(10, status="active")
    service.rows(10, status="late")
    await eventually(lambda: service.holds(), within=5, what="a hold")
    told = await only(service)
    assert (told["now"]["count"], told["removed"], told["changed"]) == (10, keys(), keys())
    (hold,) = told["holds"]
    assert (hold["hash"], hold["held"]["count"]) == (service.holds()[0]["hash"], 10)
    (view,) = (await explain(service, "t03"))["applicationSets"]
    assert (view["matches"], view["held"]["hash"], view["lastAnswer"]["hadIt"]) == (False, hold["hash"], True)


async def test_what_a_source_holds_is_told_too(service: Service, owners: Owners) -> None:
    owners.own("apps", 10)
    service.rows(10)
    await service.answers_with(10)
    service.rows(5)
    await eventually(lambda: service.holds(), within=5, what="a hold")
    told = await only(service)
    assert (told["now"]["count"], [each["set"] for each in told["holds"]]) == (10, ["source postgres"])
    assert told["holds"][0]["held"] == keys(*(f"t{n:02}" for n in range(5, 10)))


async def test_a_preview_is_no_contact_and_says_whether_the_first_one_would_be_refused(
    service: Service, owners: Owners
) -> None:
    owners.own("apps", 30)
    service.rows(10)
    await serves(service, 10)
    before = service.publisher.membership
    told = (await only(service))["firstContact"]
    assert (told["owned"], told["elements"]) == (30, 10)
    assert "owns 30 Applications and the answer has only 10 elements" in told["refused"]
    assert service.publisher.membership is before
    assert service.holds() == [], "nobody has asked yet"
    assert 'refusals_total{applicationset="apps"}' not in await service.text("/metrics")
    assert (await service.ask())[0] == 503
    assert (await service.acknowledge({"hash": told["hash"]}))[0] == 202
    assert (await only(service))["firstContact"]["refused"] is None
    assert (await service.ask())[0] == 200
    assert (await only(service))["firstContact"] is None


async def test_a_generator_that_would_get_no_answer_is_previewed_with_the_reason(
    service: Service, owners: Owners
) -> None:
    wrong, empty = Use("tenantry", {"state": []}, None), Use("tenantry", {"status": "x", "failOnEmpty": "true"}, None)
    owners.own("apps", 0, wrong, empty)
    service.rows(1)
    await serves(service, 1)
    problems = [each["problem"] for each in (await preview(service))["generators"]]
    assert "state" in problems[0]
    assert problems[1] == "nothing matches the request, and failOnEmpty asks for an error then"


async def test_a_templated_input_is_previewed_as_it_was_asked_with(service: Service, owners: Owners) -> None:
    owners.own("apps", 0, Use("tenantry", None, None), Use("tenantry", {"status": "active"}, None), plain=False)
    service.rows(2)
    await serves(service, 2)
    unseen, plain = (await preview(service))["generators"]
    assert (unseen["parameters"], unseen["templated"], unseen["now"]) == (None, True, None)
    assert "not been seen yet" in unseen["problem"]
    assert (plain["templated"], plain["now"]["count"]) == (False, 2)
    assert await service.ask(status="active") == (200, 2)
    assert await service.ask(name="t01") == (200, 1)
    seen, _ = (await preview(service))["generators"]
    assert (seen["parameters"], seen["templated"], seen["now"], seen["removed"]) == (
        {"name": "t01"},
        True,
        keys("t01"),
        keys(),
    )


async def test_an_application_set_that_only_its_requests_are_known_of(service: Service) -> None:
    service.rows(2)
    await service.answers_with(2, name="elsewhere")
    told = await preview(service, "elsewhere")
    assert (told["owned"], told["generators"][0]["now"]["count"]) == (None, 2)


async def test_an_application_set_that_is_not_known_to_ask(service: Service, owners: Owners) -> None:
    owners.own("apps", 0)
    service.rows(1)
    await serves(service, 1)
    assert await look(service, f"{PREVIEW}?applicationSet=other", PREVIEW) == (
        404,
        {"message": "no ApplicationSet other is known to ask here; those that are: apps"},
    )
    for odd in ("", "?applicationSet=", "?applicationSet=apps&applicationSet=b", "?applicationSet=apps&x=1"):
        assert (await look(service, f"{PREVIEW}{odd}", PREVIEW))[0] == 400
    owners.settled = False
    assert (await look(service, f"{PREVIEW}?applicationSet=other", PREVIEW))[0] == 503


async def test_a_long_list_is_cut_and_says_so(service: Service, owners: Owners) -> None:
    owners.own("apps", 0)
    service.database.publish(Read({f"t{n:03}": render_row(f"t{n:03}", {"status": ""}) for n in range(101)}))
    await serves(service, 101)
    now = (await only(service))["now"]
    assert (now["count"], len(now["elements"]), now["truncated"]) == (101, 100, True)


@pytest.mark.parametrize(("element", "had"), [("acme/acme-prod", True), ("umbrella/x", False), (None, None)])
def test_a_tenant_was_received_where_one_of_its_namespaces_was(element: str | None, had: bool | None) -> None:
    rows = {name: render_row(name, {"status": ""}) for name in ("acme", "umbrella")}
    query = parse_query({"expand": "namespace"}, accepted_parameters(()))
    view = make_view("apps", parameters={}, query=query, selector=None, rows=rows, now=0.0)
    received = Received()
    elements = None if element is None else {element: rows[element.partition("/")[0]]}
    received.note(Receipt("apps", query.key, query.of_tenants.key, 1, 0.0, elements))
    membership = Membership(merged=merge({}, rows), views={view.id: view})
    found = explain_tenant("acme", Known(build_snapshot(rows, None), membership, {}, received))
    assert found is not None
    assert found["applicationSets"][0]["lastAnswer"]["hadIt"] is had


def test_elements_are_remembered_of_the_newest_answers_only() -> None:
    received = Received(most_answers=3, most_elements=4)
    shared = {key: {"name": key} for key in "abc"}

    def note(name: str, elements: dict[str, Any]) -> None:
        received.note(Receipt(name, "", "", 1, 0.0, elements))

    def kept(name: str) -> bool | None:
        found = received.last(name, "")
        return None if found is None else found.elements is not None

    note("first", {"a": {"name": "a"}})
    note("second", shared)
    note("third", shared)
    assert [kept(name) for name in ("first", "second", "third")] == [True] * 3, "what is shared counts once"
    note("second", {"a": {"name": "a"}, "b": {"name": "b"}})
    assert [kept(name) for name in ("first", "second", "third")] == [False, True, False]
    note("fourth", {})
    assert [kept(name) for name in ("first", "second", "third", "fourth")] == [None, True, False, True]
    received.clear()
    assert kept("fourth") is None
