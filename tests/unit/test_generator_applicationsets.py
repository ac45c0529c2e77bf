"""What is read out of an ApplicationSet, and selectors by Argo CD's rules."""

from typing import Any

import pytest

from tenantry.render import RESERVED, render_row
from tenantry_generator.applicationsets import ApplicationSet, read_application_set
from tenantry_generator.first_contact import Contact, deletes
from tenantry_generator.generator_selector import read_selector

KEYS = RESERVED | {"plan"}


def plugin(name: str = "tenantry", **inputs: Any) -> dict[str, Any]:
    parameters = {"input": {"parameters": inputs}} if inputs else {}
    return {"plugin": {"configMapRef": {"name": name}, **parameters}}


def read(*generators: dict[str, Any], **status: Any) -> ApplicationSet:
    body = {"metadata": {"name": "apps", "uid": "u"}, "spec": {"generators": list(generators)}, "status": status}
    return read_application_set(body, KEYS)


def row(**changes: Any) -> dict[str, Any]:
    return {**render_row("acme", {"status": "active", "plan": "gold"}), **changes}


def test_plugin_generators_count_wherever_they_stand() -> None:
    found = read(
        plugin("tenantry", status=["active"], level=3),
        {"list": {"elements": []}},
        {"matrix": {"generators": [{"clusters": {}}, plugin("other", region="{{ .name }}")]}},
        {"merge": {"generators": [{"matrix": {"generators": [plugin(), {"git": {}}]}}, plugin("{{ .map }}")]}},
    )
    assert [(use.config_map, use.parameters) for use in found.uses] == [
        ("tenantry", {"status": ["active"], "level": "3"}),
        ("other", None),
        ("tenantry", {}),
        ("{{ .map }}", {}),
    ]
    assert not found.plain
    assert [use.config_map for use in found.asks(["tenantry"])] == ["tenantry", "tenantry", "{{ .map }}"]
    assert read(plugin(), plugin(status="x")).plain


@pytest.mark.parametrize(
    ("status", "owned"),
    [
        ({}, 0),
        ({"resources": [{}, {}]}, 2),
        ({"resources": [{}], "resourcesCount": 7000}, 7000),
        ({"resources": None}, 0),
    ],
)
def test_the_applications_owned_are_those_of_the_status(status: dict[str, Any], owned: int) -> None:
    assert read(plugin(), **status).owned == owned


@pytest.mark.parametrize(
    "body", [{"metadata": {"name": "a"}}, {"metadata": {"name": "a"}, "spec": {"generators": [None]}}]
)
def test_an_odd_one_is_read_as_one_that_does_not_ask(body: dict[str, Any]) -> None:
    assert read_application_set(body, KEYS).uses == ()


def test_selectors_around_a_nested_generator_join_its_own_where_they_look_at_our_keys() -> None:
    around = {
        "matrix": {"generators": [{"clusters": {}}, {**plugin(), "selector": {"matchLabels": {"status": "active"}}}]},
        "selector": {"matchLabels": {"plan": "gold", "metadata.labels.env": "prod"}},
    }
    (use,) = read(around).uses
    assert use.selector is not None
    assert {each.key for each in use.selector.requirements} == {"status", "plan"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({"matchLabels": {"status": "active"}}, True),
        ({"matchLabels": {"status": "active", "plan": "silver"}}, False),
        ({"matchExpressions": [{"key": "status", "operator": "In", "values": ["a", "active"]}]}, True),
        ({"matchExpressions": [{"key": "status", "operator": "NotIn", "values": ["active"]}]}, False),
        ({"matchExpressions": [{"key": "nowhere", "operator": "NotIn", "values": ["active"]}]}, True),
        ({"matchExpressions": [{"key": "plan", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "plan", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"labels.tenantry.dev/tier": "1"}}, True),
        ({"matchLabels": {"labels.a.b": "c"}}, True),
        ({"matchLabels": {"namespaces.1": "acme-prod"}}, True),
        ({"matchLabels": {"namespaces": "acme-prod"}}, False),
        ({"matchExpressions": [{"key": "namespaces.2", "operator": "Exists"}]}, False),
        ({"matchLabels": {"parameters.on": "true"}}, True),
        ({"matchExpressions": [{"key": "labels", "operator": "Exists"}]}, False),
        ({"matchLabels": {"project": ""}}, True),
    ],
)
def test_a_selector_sees_dotted_keys_and_texts(selector: dict[str, Any], matches: bool) -> None:
    element = row(
        labels={"tenantry.dev/tier": "1", "a.b": "c"}, namespaces=["acme", "acme-prod"], parameters={"on": True}
    )
    read_one = read_selector(selector)
    assert read_one is not None
    assert read_one.matches(element) is matches


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"matchLabels": {"values.ring": "1"}},
        {"matchExpressions": [{"key": "generator.input.parameters.x", "operator": "Exists"}]},
        {"matchExpressions": [{"key": "status", "operator": "Near", "values": ["x"]}]},
    ],
)
def test_a_selector_that_can_not_be_known_here_is_none(body: object) -> None:
    assert read_selector(body) is None


@pytest.mark.parametrize(
    ("owned", "elements", "strict", "refused"),
    [
        (0, 0, False, False),
        (1, 0, False, True),
        (12, 10, False, False),
        (13, 10, False, True),
        (100, 90, False, False),
        (100, 89, False, True),
        (12, 11, True, True),
        (11, 11, True, False),
        (5, 90, True, False),
    ],
)
def test_a_first_contact_deletes_two_or_a_tenth_at_most(owned: int, elements: int, strict: bool, refused: bool) -> None:
    assert deletes(Contact("apps", "u", owned, elements), strict=strict) is refused
