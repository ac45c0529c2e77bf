"""The generator's answer for one tenant: fixed keys, no nulls, no numbers, and a Tenant over a row of the same name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tenantry.classes import resolve
from tenantry.model import TenantClass, parse_class, parse_tenant
from tenantry.names import slug
from tenantry.render import INPUTS, RESERVED, ClusterRow, merge_rows, render_row, render_tenant

VALID = sorted((Path(__file__).parents[1] / "data/tenants/valid").glob("*.yaml"))
KEYS = [
    "tenant",
    "name",
    "displayName",
    "status",
    "state",
    "class",
    "source",
    "project",
    "namespace",
    "namespaces",
    "labels",
    "annotations",
    "owners",
    "parameters",
]


def rendered(
    *classes: TenantClass,
    columns: tuple[str, ...] = ("status",),
    metadata: dict[str, Any] | None = None,
    **spec: Any,
) -> ClusterRow:
    tenant = parse_tenant({"metadata": {"name": "acme", **(metadata or {})}, "spec": spec})
    return render_tenant(resolve(tenant, {found.name: found for found in classes}), columns)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


# A Tenant


def test_a_tenant_with_nothing_but_a_name_has_every_key_and_no_null() -> None:
    element = rendered().element
    assert list(element) == KEYS
    assert element == {
        "tenant": "acme",
        "name": "acme",
        "displayName": "acme",
        "status": "active",
        "state": "Active",
        "class": "",
        "source": "cluster",
        "project": "",
        "namespace": "acme",
        "namespaces": ["acme"],
        "labels": {},
        "annotations": {},
        "owners": [],
        "parameters": {},
    }


def test_a_tenant_with_everything_is_rendered_in_full() -> None:
    gold = parse_class({"metadata": {"name": "gold"}, "spec": {"defaults": {"parameters": {"tier": 1}}}})
    element = rendered(
        gold,
        columns=("region", "status"),
        metadata={"labels": {"team": "pay"}, "annotations": {"note": "x"}},
        displayName="Acme Payments",
        tenantClassName="gold",
        lifecycle={"state": "Cordoned"},
        argocd={"project": {"name": "payments"}},
        namespaces={"items": [{"name": "dev"}, {"name": "prod"}]},
        owners=[
            {"kind": "User", "name": "jane", "role": "owner"},
            {"kind": "ServiceAccount", "name": "ci", "namespace": "ops", "role": "editor"},
        ],
        parameters={"region": "north", "replicas": 3},
    ).element
    assert list(element) == [*KEYS, "region"]
    assert element == {
        "tenant": "acme",
        "name": "acme",
        "displayName": "Acme Payments",
        "status": "cordoned",
        "state": "Cordoned",
        "class": "gold",
        "source": "cluster",
        "project": "payments",
        "namespace": "acme-dev",
        "namespaces": ["acme-dev", "acme-prod"],
        "labels": {"team": "pay"},
        "annotations": {"note": "x"},
        "owners": [
            {"kind": "User", "name": "jane", "namespace": "", "role": "owner"},
            {"kind": "ServiceAccount", "name": "ci", "namespace": "ops", "role": "editor"},
        ],
        "parameters": {"tier": "1", "region": "north", "replicas": "3"},
        "region": "north",
    }


@pytest.mark.parametrize("path", [path for path in VALID if not path.stem.startswith("class-")], ids=lambda p: p.stem)
def test_whatever_a_valid_tenant_holds_its_element_has_the_same_keys_strings_and_booleans(path: Path) -> None:
    tenant = parse_tenant(yaml.safe_load(path.read_text()))
    element = render_tenant(resolve(tenant, {}), ("status", "region")).element
    assert list(element) == [*KEYS, "region"]
    assert {type(leaf) for leaf in leaves(element)} <= {str, bool}
    assert json.loads(json.dumps(element)) == element


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (42, "42"),
        (-1, "-1"),
        (9007199254740993, "9007199254740993"),
        (10**20, "100000000000000000000"),
        (1.5, "1.5"),
        (True, True),
        (False, False),
        (None, ""),
        ("", ""),
        ("007", "007"),
        ([1, None, [2.5, {"x": 3}]], ["1", "", ["2.5", {"x": "3"}]]),
        ({"a": {"b": {"c": 0}}}, {"a": {"b": {"c": "0"}}}),
        ([], []),
        ({}, {}),
    ],
)
def test_numbers_become_strings_and_nulls_empty_at_any_depth_while_booleans_stay(value: Any, expected: Any) -> None:
    found = rendered(parameters={"it": value}).element["parameters"]["it"]
    assert found == expected
    assert type(found) is type(expected)


def test_the_copy_that_kubectl_keeps_in_an_annotation_is_left_out() -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{…}", "kubectl.kubernetes.io/other": "kept"}
    assert rendered(metadata={"annotations": annotations}).element["annotations"] == {
        "kubectl.kubernetes.io/other": "kept"
    }


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "suspended"),
        ({"status": "trial"}, "trial"),
        ({"status": ""}, ""),
        ({"status": 7}, "7"),
        ({"status": None}, "suspended"),
        ({"status": ["trial"]}, "suspended"),
        ({"status": {"now": "trial"}}, "suspended"),
    ],
)
def test_the_status_is_a_scalar_parameter_or_the_lifecycle_state(parameters: dict[str, Any], expected: str) -> None:
    assert rendered(lifecycle={"state": "Suspended"}, parameters=parameters).element["status"] == expected


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, ""),
        ({"plan": "pro"}, "pro"),
        ({"plan": 3}, "3"),
        ({"plan": True}, True),
        ({"plan": {}}, ""),
        ({"plan": []}, ""),
    ],
)
def test_a_column_is_a_scalar_parameter_or_empty(parameters: dict[str, Any], expected: Any) -> None:
    assert rendered(columns=("status", "plan"), parameters=parameters).element["plan"] == expected


def test_no_parameter_reaches_the_top_level_unless_it_is_a_configured_column() -> None:
    hostile = dict.fromkeys([*RESERVED, "server", "path"], "hijacked") | {"status": "trial"}
    element = rendered(columns=("status", "plan"), parameters=hostile).element
    assert list(element) == [*KEYS, "plan"]
    assert [key for key, value in element.items() if value == "hijacked"] == []


def test_a_tenant_without_namespaces_still_has_both_keys() -> None:
    element = rendered(namespaces={"items": []}).element
    assert (element["namespace"], element["namespaces"]) == ("", [])


# A row


def test_a_row_has_the_same_keys_in_the_same_order_as_a_tenant() -> None:
    row = render_row("Acme Corp", {"plan": "pro", "status": "trial", "region": "north"})
    assert list(row) == [*KEYS, "plan", "region"]
    assert list(row) == list(rendered(columns=("plan", "status", "region")).element)
    assert row == {
        "tenant": "Acme Corp",
        "name": slug("Acme Corp"),
        "displayName": "Acme Corp",
        "status": "trial",
        "state": "Active",
        "class": "",
        "source": "postgres",
        "project": "",
        "namespace": "",
        "namespaces": [],
        "labels": {},
        "annotations": {},
        "owners": [],
        "parameters": {},
        "plan": "pro",
        "region": "north",
    }


def test_a_row_without_a_status_column_has_an_empty_status() -> None:
    assert render_row("acme", {"plan": "pro"})["status"] == ""


def test_rows_share_nothing_that_could_be_changed() -> None:
    render_row("a", {})["labels"]["leak"] = "x"
    assert render_row("b", {})["labels"] == {}


# Both


def test_the_tenant_wins_but_keeps_the_rows_raw_name_and_the_columns_that_it_left_open() -> None:
    columns = ("status", "plan", "region")
    tenant = rendered(columns=columns, displayName="Acme", parameters={"plan": "enterprise"})
    row = render_row("Acme", {"status": "trial", "plan": "free", "region": "north"})
    merged = merge_rows(tenant, row)
    assert list(merged) == [*KEYS, "plan", "region"]
    assert merged == {**tenant.element, "tenant": "Acme", "status": "trial", "region": "north"}
    assert (merged["name"], merged["plan"], merged["source"]) == ("acme", "enterprise", "cluster")


def test_a_column_that_the_tenant_itself_sets_to_nothing_is_not_inherited() -> None:
    tenant = rendered(columns=("status", "plan"), parameters={"plan": "", "status": ""})
    merged = merge_rows(tenant, render_row("acme", {"status": "trial", "plan": "free"}))
    assert (merged["status"], merged["plan"]) == ("", "")


def test_a_row_comes_before_the_defaults_of_the_class_and_those_before_an_empty_column() -> None:
    defaults = {"parameters": {"plan": "basic", "region": "anywhere"}}
    gold = parse_class({"metadata": {"name": "gold"}, "spec": {"defaults": defaults}})
    tenant = rendered(gold, columns=("status", "plan", "region"), tenantClassName="gold")
    merged = merge_rows(tenant, render_row("acme", {"status": "", "plan": "free", "region": ""}))
    assert (merged["status"], merged["plan"], merged["region"]) == ("active", "free", "anywhere")


def test_merging_changes_neither_side() -> None:
    tenant, row = rendered(), render_row("Acme", {"status": "trial"})
    before = (json.dumps(tenant.element), json.dumps(row))
    merge_rows(tenant, row)
    assert (json.dumps(tenant.element), json.dumps(row)) == before


def test_the_reserved_keys_are_those_of_every_answer_and_request_and_argo_cds_own() -> None:
    assert {*KEYS, *INPUTS, "generator", "values"} == RESERVED
