"""The HTTP side with sources that do as they are told: what each state and each mistake is answered with."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tenantry.classes import resolve
from tenantry.model import parse_tenant
from tenantry.render import ClusterRow, Row, render_row, render_tenant
from tenantry_generator.answers import Answers
from tenantry_generator.app import GETPARAMS, make_app
from tenantry_generator.auth import Tokens
from tenantry_generator.binding import Binding
from tenantry_generator.directory import Nobody
from tenantry_generator.events import announcer
from tenantry_generator.metrics import Metrics
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.publisher import Publisher
from tenantry_generator.sources import Read
from tenantry_generator.sources.clusters import Clusters
from tests.support.eventually import eventually

T = TypeVar("T")

GOOD = {"Authorization": "Bearer s3cret"}


class ToldSource(Generic[T]):
    """Publishes what a test tells it to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problem: str | None = None
        self.read_at: float | None = None
        self.publish: Callable[[Read[T]], None]
        self.crash = asyncio.Event()
        self.runs = 0
        self.started_over = 0

    def start_over(self) -> None:
        self.started_over += 1

    async def run(self, publish: Callable[[Read[T]], None]) -> None:
        self.publish = publish
        self.runs += 1
        await self.crash.wait()
        raise RuntimeError("a defect")


class Service:
    def __init__(self) -> None:
        self.cluster: ToldSource[ClusterRow] = ToldSource("cluster")
        self.database: ToldSource[Row] = ToldSource("postgres")
        metrics = Metrics()
        self.publisher = Publisher(cluster=self.cluster, database=self.database, metrics=metrics)
        accepted = accepted_parameters(("status",))
        clusters = Clusters(own=None, directory=None, metrics=metrics)
        answers = Answers(
            self.publisher,
            Nobody(),
            parse=lambda given: parse_query(given, accepted),
            binding=Binding(self.publisher, clusters),
            metrics=metrics,
        )
        self.not_answering: Callable[[], str] = lambda: ""
        self.app = make_app(
            publisher=self.publisher,
            clusters=clusters,
            answers=answers,
            tokens=Tokens(literal="s3cret", directory=None),
            admins=Tokens(literal=None, directory=None, required=False),
            announce=announcer(None, "default"),
            metrics=metrics,
            why_not=lambda: self.not_answering(),
        )
        self.client: TestClient[Any, Any]

    def tenants(self, *names: str) -> None:
        rows = {name: resolve(parse_tenant({"metadata": {"name": name}}), {}) for name in names}
        self.cluster.publish(Read({name: render_tenant(resolved) for name, resolved in rows.items()}))

    def rows(self, *names: str, status: str = "active") -> None:
        self.database.publish(Read({name: render_row(name, {"status": status}) for name in names}))

    async def ask(self, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        typed = {} if body is None else {"Content-Type": "application/json"}
        plain = {**GOOD, **typed, "Accept-Encoding": "identity", **headers}
        async with self.client.post(GETPARAMS, data=body, headers=plain) as response:
            assert response.content_type == "application/json"
            assert response.headers["Content-Length"] == str(len(await response.read()))
            return response.status, json.loads(await response.read())

    async def names(self) -> list[str]:
        status, answer = await self.ask()
        assert status == 200, answer
        return [element["name"] for element in answer["output"]["parameters"]]

    async def metrics(self) -> list[str]:
        async with self.client.get("/metrics") as response:
            assert response.status == 200
            return (await response.text()).splitlines()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    async with TestClient(TestServer(service.app)) as service.client:
        await eventually(lambda: service.cluster.runs and service.database.runs, within=5, what="both sources run")
        yield service


@pytest.mark.parametrize("source", ["row", "none"])
async def test_a_quarantined_tenant_is_served_as_it_was_and_is_no_departure(service: Service, source: str) -> None:
    service.tenants("lima")
    service.rows("acme", "beta", status="active")
    assert await service.names() == ["acme", "beta", "lima"]
    told = {"acme": render_row("acme", {"status": "degraded"})} if source == "row" else {}
    beta = render_row("beta", {"status": "changed"})
    service.database.publish(
        Read({**told, "beta": beta}, quarantined={"acme": "2 rows differ", "new": "2 rows differ"})
    )
    served = {element["name"]: element["status"] for element in (await service.ask())[1]["output"]["parameters"]}
    assert served == {"acme": "active", "beta": "changed", "lima": "active"}
    assert 'tenantry_guard_held_tenants{source="postgres"} 0.0' in await service.metrics()


async def test_nothing_is_answered_until_every_source_has_been_read(service: Service) -> None:
    service.database.problem = 'table "organization" does not exist: create it or correct TENANTRY_TABLE'
    waiting = (
        "no complete read yet from: cluster (still reading), "
        'postgres (table "organization" does not exist: create it or correct TENANTRY_TABLE)'
    )
    assert await service.ask() == (503, {"message": waiting})
    async with service.client.get("/readyz") as response:
        assert (response.status, response.content_type, await response.text()) == (503, "text/plain", waiting + "\n")
    service.tenants("a")
    assert (await service.ask())[0] == 503
    service.rows("b")
    assert await service.names() == ["a", "b"]
    async with service.client.get("/readyz") as response:
        assert (response.status, await response.text()) == (200, "ok\n")


async def test_liveness_does_not_depend_on_the_sources(service: Service) -> None:
    async with service.client.get("/healthz") as response:
        assert (response.status, response.content_type, await response.text()) == (200, "text/plain", "ok\n")


async def test_without_any_tenant_the_answer_is_an_error_but_the_pod_is_ready(service: Service) -> None:
    service.tenants()
    service.rows()
    message = "no source has any tenant; an empty answer would delete every Application"
    assert await service.ask() == (503, {"message": message})
    assert await service.ask(b'{"input":{"parameters":{"status":"x"}}}') == (503, {"message": message})
    async with service.client.get("/readyz") as response:
        assert response.status == 200


async def test_a_filter_that_matches_nobody_is_an_empty_list(service: Service) -> None:
    service.tenants("a")
    service.rows("b", status="trial")
    body = b'{"applicationSetName":"apps","input":{"parameters":{"status":"trial"}}}'
    assert [row["name"] for row in (await service.ask(body))[1]["output"]["parameters"]] == ["b"]
    none = body.replace(b"trial", b"gone")
    assert await service.ask(none) == (200, {"output": {"parameters": []}})


async def test_a_source_that_fails_keeps_being_served(service: Service) -> None:
    service.tenants("a")
    service.rows("b")
    service.database.problem = "db:5432 refused the connection"
    assert await service.names() == ["a", "b"]
    assert 'tenantry_source_up{source="postgres"} 0.0' in await service.metrics()


async def test_a_defect_in_a_source_takes_nothing_away(service: Service) -> None:
    service.tenants("a")
    service.rows("b")
    service.database.crash.set()

    async def down() -> bool:
        return 'tenantry_source_up{source="postgres"} 0.0' in await service.metrics()

    await eventually(down, within=5, what="the source is shown as down")
    assert await service.names() == ["a", "b"]


async def test_too_many_departures_are_held_and_shown_while_changes_flow(service: Service) -> None:
    service.tenants("z")
    service.rows(*(f"t{number}" for number in range(9)))
    assert len(await service.names()) == 10
    service.rows("t0", "t1", "new", status="trial")
    assert await service.names() == ["new", *(f"t{number}" for number in range(9)), "z"]
    metrics = await service.metrics()
    assert 'tenantry_guard_held_tenants{source="postgres"} 7.0' in metrics
    assert 'tenantry_guard_held_tenants{source="cluster"} 0.0' in metrics
    body = b'{"input":{"parameters":{"status":"trial"}}}'
    answer = (await service.ask(body))[1]
    assert [row["name"] for row in answer["output"]["parameters"]] == ["new", "t0", "t1"]


async def test_one_departure_is_followed(service: Service) -> None:
    service.tenants("a", "b")
    service.rows("c")
    assert await service.names() == ["a", "b", "c"]
    service.tenants("a")
    assert await service.names() == ["a", "c"]


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({}, 401, "the request needs one header: Authorization: Bearer TOKEN"),
        ({"Authorization": "Bearer wrong"}, 403, "the token is not valid"),
    ],
)
async def test_who_may_not_ask_learns_no_tenant(
    service: Service, headers: dict[str, str], status: int, message: str
) -> None:
    service.tenants("secret-customer")
    service.rows()
    async with service.client.post(GETPARAMS, headers=headers) as response:
        assert (response.status, await response.json()) == (status, {"message": message})
        assert ("WWW-Authenticate" in response.headers) == (status == 401)


async def test_a_stranger_s_mistakes_are_not_looked_at(service: Service) -> None:
    async with service.client.post(GETPARAMS, data=b"x" * 100_000) as response:
        assert response.status == 401


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (
            b"{",
            {},
            400,
            "the body is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        (b"{}", {"Content-Type": "text/plain"}, 415, "the body's Content-Type must be application/json"),
        (gzip.compress(b"{}"), {"Content-Encoding": "gzip"}, 415, "the body must not be compressed"),
        (b"{}".ljust(65537), {}, 413, "the body is longer than 65536 bytes"),
        (
            b'{"input":{"parameters":{"colour":"red"}}}',
            {},
            400,
            'input.parameters: unknown parameter "colour"; accepted are tenant, name, displayName, status, state, '
            "class, source, project, namespace, selector, shard, expand, cluster, labelSelector, fields, failOnEmpty",
        ),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong(
    service: Service, body: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    service.tenants("a")
    service.rows()
    assert await service.ask(body, **headers) == (status, {"message": message})


async def test_a_body_of_unknown_length_may_not_be_over_long_either(service: Service) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1024

    async with service.client.post(GETPARAMS, data=chunks(), headers=GOOD) as response:
        assert (response.status, await response.json()) == (413, {"message": "the body is longer than 65536 bytes"})


async def test_a_body_of_exactly_the_limit_is_read(service: Service) -> None:
    service.tenants("a")
    service.rows()
    assert (await service.ask(b"{}".ljust(65536)))[0] == 200


@pytest.mark.parametrize("path", ["/", "/api/v1/getparams", f"{GETPARAMS}/", f"/x{GETPARAMS}", f"{GETPARAMS}s"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "HEAD"])
async def test_any_other_path_is_a_404_and_never_a_redirect(service: Service, method: str, path: str) -> None:
    async with service.client.request(method, path, headers=GOOD, allow_redirects=False) as response:
        assert response.status == 404
        assert response.content_type == "application/json"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", GETPARAMS), ("PUT", GETPARAMS), ("POST", "/healthz"), ("DELETE", "/metrics")]
)
async def test_any_other_method_is_a_405(service: Service, method: str, path: str) -> None:
    async with service.client.request(method, path, headers=GOOD, allow_redirects=False) as response:
        assert response.status == 405
        assert (await response.json())["message"].startswith(f"{path} is asked with ")
        assert response.headers["Allow"]


async def test_a_defect_is_a_500_without_a_word_of_its_inside(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise KeyError("inside")

    monkeypatch.setattr(service.publisher, "current", fail)
    assert await service.ask() == (500, {"message": "internal error; the generator's log has the details"})


async def test_requests_are_counted_by_applicationset_and_code(service: Service) -> None:
    service.tenants("a")
    service.rows("b")
    for name in ("apps", "apps", "No Such Name"):
        await service.ask(json.dumps({"applicationSetName": name}).encode())
    bad = json.dumps({"applicationSetName": "apps", "input": {"parameters": {"x": 1}}}).encode()
    await service.ask(bad)
    async with service.client.post(GETPARAMS, json={"applicationSetName": "stranger"}) as response:
        assert response.status == 401
    metrics = await service.metrics()
    assert 'tenantry_getparams_requests_total{applicationset="apps",code="200"} 2.0' in metrics
    assert 'tenantry_getparams_requests_total{applicationset="apps",code="400"} 1.0' in metrics
    assert 'tenantry_getparams_requests_total{applicationset="",code="200"} 1.0' in metrics
    assert 'tenantry_getparams_requests_total{applicationset="",code="401"} 1.0' in metrics
    assert "tenantry_getparams_request_duration_seconds_count 5.0" in metrics
    assert "stranger" not in "".join(metrics)


async def test_the_snapshot_s_figures(service: Service) -> None:
    service.cluster.read_at = 1_700_000_000.0
    service.tenants("a", "b")
    service.database.publish(Read({"a": render_row("a", {}), "c": render_row("c", {})}, {"empty_tenant": 2}))
    metrics = await service.metrics()
    for line in (
        'tenantry_snapshot_tenants{source="cluster"} 2.0',
        'tenantry_snapshot_tenants{source="postgres"} 1.0',
        "tenantry_snapshot_revision 1.0",
        "tenantry_shadowed_rows 1.0",
        'tenantry_rows_rejected_total{reason="empty_tenant",source="postgres"} 2.0',
        'tenantry_source_up{source="cluster"} 1.0',
        'tenantry_source_last_read_timestamp_seconds{source="cluster"} 1.7e+09',
        'tenantry_source_last_read_timestamp_seconds{source="postgres"} 0.0',
    ):
        assert line in metrics, metrics


def test_a_thousand_applicationsets_are_told_apart_and_no_more() -> None:
    metrics = Metrics()
    for number in range(1100):
        metrics.answers.count_request(f"set-{number}", 200, 0.001)
    metrics.answers.count_request("set-7", 200, 0.001)
    lines = metrics.render().decode().splitlines()
    assert 'tenantry_getparams_requests_total{applicationset="other",code="200"} 100.0' in lines
    assert 'tenantry_getparams_requests_total{applicationset="set-7",code="200"} 2.0' in lines


async def test_a_replica_that_stands_by_answers_503_and_is_ready(service: Service) -> None:
    service.tenants("one")
    service.rows("two")
    service.not_answering = lambda: "another one answers"
    assert await service.ask() == (503, {"message": "another one answers"})
    async with service.client.get("/readyz") as response:
        assert response.status == 200
    service.not_answering = lambda: ""
    assert await service.names() == ["one", "two"]


@pytest.mark.parametrize("looks", [["stands by"] * 2, ["", "the Lease ran out meanwhile"]], ids=["at once", "late"])
async def test_a_replica_that_stands_by_closes_the_connection_so_that_the_next_request_finds_another(
    service: Service, looks: list[str]
) -> None:
    service.tenants("one")
    service.rows("two")
    await service.names()
    said = iter(looks)
    service.not_answering = lambda: next(said)
    async with service.client.post(GETPARAMS, headers=GOOD) as response:
        assert (response.status, response.headers["Connection"]) == (503, "close")
    service.not_answering = lambda: ""
    async with service.client.post(GETPARAMS, headers=GOOD) as response:
        assert (response.status, response.headers.get("Connection")) == (200, None)


async def test_an_answer_that_was_prepared_while_it_might_be_given_is_not_sent_when_it_no_longer_may(
    service: Service,
) -> None:
    service.tenants("one")
    service.rows("two")
    looks = iter(["", "the Lease ran out meanwhile"])
    service.not_answering = lambda: next(looks)
    assert await service.ask() == (503, {"message": "the Lease ran out meanwhile"})
