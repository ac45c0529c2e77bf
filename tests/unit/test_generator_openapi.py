"""The OpenAPI document against the application: the same routes, and answers of the shapes that it tells."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from jsonschema import Draft202012Validator

from tenantry.classes import resolve
from tenantry.model import parse_tenant
from tenantry.render import FIXED, INPUTS, render_row, render_tenant
from tenantry_generator.answers import Answers
from tenantry_generator.app import GETPARAMS, make_app
from tenantry_generator.auth import Tokens
from tenantry_generator.binding import Binding
from tenantry_generator.directory import Nobody
from tenantry_generator.events import announcer
from tenantry_generator.membership import Membership
from tenantry_generator.merge import merge
from tenantry_generator.metrics import Metrics
from tenantry_generator.openapi import OPENAPI, load_openapi
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.publisher import Publisher
from tenantry_generator.snapshot import build_snapshot
from tenantry_generator.sources.clusters import Clusters

DOCUMENT: dict[str, Any] = json.loads(load_openapi())
COLUMNS = ("status", "plan")
GOOD = {"Authorization": "Bearer s3cret", "Content-Type": "application/json"}

EVERYTHING = {
    "displayName": "Acme",
    "lifecycle": {"state": "Suspended"},
    "namespaces": {"items": [{"name": "prod"}]},
    "owners": [{"kind": "ServiceAccount", "name": "x", "namespace": "y", "role": "editor"}],
    "parameters": {"status": True, "plan": 3, "chart": {"replicas": [1, None, {"a": False}]}},
}


def validator(pointer: str) -> Draft202012Validator:
    """A validator of the schema at a place of the document."""
    return Draft202012Validator({**DOCUMENT, "$ref": f"#{pointer}"})


class Service:
    def __init__(self) -> None:
        metrics = Metrics()
        self.publisher = Publisher(cluster=None, database=None, metrics=metrics)
        clusters = Clusters(own=None, directory=None, metrics=metrics)
        accepted = accepted_parameters(COLUMNS)
        answers = Answers(
            self.publisher,
            Nobody(),
            parse=lambda given: parse_query(given, accepted),
            binding=Binding(self.publisher, clusters),
            metrics=metrics,
        )
        self.app = make_app(
            publisher=self.publisher,
            clusters=clusters,
            answers=answers,
            tokens=Tokens(literal="s3cret", directory=None),
            admins=Tokens(literal=None, directory=None, required=False),
            announce=announcer(None, "default"),
            metrics=metrics,
            why_not=lambda: "",
        )
        self.client: TestClient[Any, Any]

    def serve(self) -> None:
        body = {"metadata": {"name": "acme", "labels": {"tier": "gold"}}, "spec": EVERYTHING}
        tenant, row = render_tenant(resolve(parse_tenant(body), {}), COLUMNS), render_row("Beta & Söhne", {"plan": "x"})
        merged = merge({"acme": tenant}, {row["name"]: row})
        self.publisher.membership = Membership(merged=merged)
        self.publisher.snapshot = build_snapshot(merged.rows, None)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    async with TestClient(TestServer(service.app)) as service.client:
        yield service


def test_it_is_an_openapi_document_whose_references_lead_somewhere() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")

    def visit(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(reference := node.get("$ref"), str):
                target: Any = DOCUMENT
                for part in reference.removeprefix("#/").split("/"):
                    target = target[part]
            for inner in node.values():
                visit(inner)
        elif isinstance(node, list):
            for inner in node:
                visit(inner)

    visit(DOCUMENT)
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


async def test_it_has_every_route_of_the_application_and_no_other(service: Service) -> None:
    served = {
        (route.method.lower(), route.resource.canonical) for route in service.app.router.routes() if route.resource
    }
    told = {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert {(method, path) for method, path in served if method != "head"} == told


async def test_it_is_served_without_a_token(service: Service) -> None:
    async with service.client.get(OPENAPI) as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert await response.json() == DOCUMENT


def test_it_knows_every_key_and_every_parameter() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["Element"]["required"] == list(FIXED)
    assert set(schemas["PartOfElement"]["properties"]) == {*FIXED, "cluster"}
    assert set(schemas["Parameters"]["properties"]) == {*accepted_parameters(()).scalars, *INPUTS}


REQUESTS: list[tuple[dict[str, Any], int]] = [
    ({}, 200),
    ({"plan": [3, "x"], "status": True}, 200),
    ({"selector": {"matchLabels": {"tier": "gold"}, "matchExpressions": [{"key": "a", "operator": "Exists"}]}}, 200),
    ({"shard": {"index": 0, "count": 2}}, 200),
    ({"shard": {"index": "1", "count": "2"}, "fields": ["labels"]}, 200),
    ({"fields": ["status"]}, 200),
    ({"status": "gone"}, 200),
    ({"status": "gone", "failOnEmpty": True}, 503),
    ({"labelSelector": "a=b"}, 400),
    ({"labelSelector": {"a": "b"}, "cluster": "far"}, 400),
]
MISTAKES: list[dict[str, Any]] = [
    {"status": None},
    {"status": []},
    {"status": {"a": "b"}},
    {"selector": {"tier": "gold"}},
    {"selector": {"matchExpressions": [{"key": "a", "operator": "in", "values": ["b"]}]}},
    {"shard": {"index": 0}},
    {"shard": {"index": -1, "count": 2}},
    {"expand": "cluster"},
    {"cluster": ""},
    {"labelSelector": ["a"]},
    {"fields": []},
    {"failOnEmpty": "yes"},
]


async def answer(service: Service, parameters: dict[str, Any], **headers: str) -> tuple[int, Any]:
    body = {"applicationSetName": "apps", "input": {"parameters": parameters}}
    async with service.client.post(GETPARAMS, json=body, headers={**GOOD, **headers}) as response:
        return response.status, await response.json()


def conforms(status: int, body: object) -> None:
    responses = DOCUMENT["paths"][GETPARAMS]["post"]["responses"]
    found = responses[str(status)]
    if "$ref" in found:
        found = DOCUMENT["components"]["responses"][found["$ref"].rpartition("/")[2]]
    schema = found["content"]["application/json"]["schema"]
    Draft202012Validator({**DOCUMENT, **schema}).validate(body)


@pytest.mark.parametrize(("parameters", "status"), REQUESTS)
async def test_a_request_that_it_allows_is_answered_as_it_tells(
    service: Service, parameters: dict[str, Any], status: int
) -> None:
    service.serve()
    validator("/components/schemas/Parameters").validate(parameters)
    got, body = await answer(service, parameters)
    assert got == status, body
    conforms(got, body)


@pytest.mark.parametrize("parameters", MISTAKES)
async def test_a_request_that_it_does_not_allow_is_refused(service: Service, parameters: dict[str, Any]) -> None:
    service.serve()
    assert not validator("/components/schemas/Parameters").is_valid(parameters)
    got, body = await answer(service, parameters)
    assert got == 400
    conforms(got, body)


async def test_every_other_refusal_is_of_the_shape_that_it_tells(service: Service) -> None:
    for headers, expected in (
        ({}, 503),
        ({"Authorization": "Basic x"}, 401),
        ({"Authorization": "Bearer wrong"}, 403),
        ({"Content-Type": "text/plain"}, 415),
    ):
        got, body = await answer(service, {}, **headers)
        assert got == expected
        conforms(got, body)
    conforms(413, {"message": "x"})
    async with service.client.get("/nowhere") as response:
        validator("/components/schemas/Error").validate(await response.json())


@pytest.mark.parametrize("wrong", [{"n": 1}, {"n": None}, {"a": [{"b": 2}]}])
def test_it_allows_no_number_and_no_null_in_an_element(wrong: dict[str, Any]) -> None:
    element = render_row("a", {"status": "x"})
    elements = validator("/components/schemas/Element")
    elements.validate(element)
    assert not elements.is_valid({**element, "parameters": wrong})
    assert not elements.is_valid({**element, **wrong})
    assert not elements.is_valid({**element, "values": "x"})
