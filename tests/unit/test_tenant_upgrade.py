"""A Tenant as the first operator left it: this one takes it over as it is, and lets nothing of it go."""

from pathlib import Path
from typing import Any

import yaml

from tenantry.classes import resolve
from tenantry.model import parse_tenant
from tenantry.render import render_tenant
from tenantry_operator.actions import ApplyNamespace, DeleteNamespace, ReleaseNamespace, RemoveFinalizer
from tenantry_operator.plan import Plan
from tests.unit.test_plan import LATER, namespace, plan_of

ENTRY = "tenantry.dev/entry"
TENANT = Path(__file__).parents[1] / "data/upgrades/tenant.yaml"
# The first version did not note which entry a namespace is for.
SPACES = (namespace("acme-prod", entry=None), namespace("acme-test", entry=None))


def body() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(TENANT.read_text())
    return loaded


def lets_go(plan: Plan) -> bool:
    return any(isinstance(each, DeleteNamespace | ReleaseNamespace | RemoveFinalizer) for each in plan.actions)


def test_its_namespaces_stay_its_and_are_told_which_entry_they_are_for() -> None:
    plan = plan_of(body(), *SPACES, now=LATER)
    assert not lets_go(plan)
    applied = [each.body["metadata"] for each in plan.actions if isinstance(each, ApplyNamespace)]
    assert {each["name"]: each["annotations"] for each in applied} == {
        "acme-prod": {ENTRY: "acme/prod"},
        "acme-test": {ENTRY: "acme/test"},
    }
    assert plan.status is not None
    assert [each["name"] for each in plan.status["namespaces"]] == ["acme-prod", "acme-test"]
    assert plan.status["phase"] == "Pending"


def test_nothing_is_let_go_while_a_namespace_can_not_be_seen() -> None:
    assert not lets_go(plan_of(body(), SPACES[0], now=LATER))


def test_its_element_of_the_answer_is_the_same() -> None:
    element = render_tenant(resolve(parse_tenant(body()), {})).element
    assert element["namespaces"] == ["acme-prod", "acme-test"]
    assert (element["tenant"], element["name"], element["status"]) == ("acme", "acme", "active")
