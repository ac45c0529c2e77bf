"""What a class imposes: overrides over the Tenant, a schema for its parameters, and its own absence when unusable."""

from typing import Any

import pytest

from tenantry.classes import Reason, Resolved, UnusableClass, namespaces_of, read_class, resolve
from tenantry.model import parse_tenant
from tenantry.render import merge_rows, render_row, render_tenant, schema_keys


def class_body(name: str = "gold", *, default: bool = False, **spec: Any) -> dict[str, Any]:
    annotations = {"tenantry.dev/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "annotations": annotations}, "spec": spec}


def resolved(body: dict[str, Any], **spec: Any) -> Resolved:
    tenant = parse_tenant({"metadata": {"name": "acme"}, "spec": {"tenantClassName": "gold", **spec}})
    return resolve(tenant, {"gold": read_class(body)})


def field(lent: Any, own: Any, over: Any, name: str) -> Resolved:
    layers = {"defaults": lent, "overrides": over}
    of_class: dict[str, Any] = {key: {name: value} for key, value in layers.items() if value is not None}
    return resolved(class_body(**of_class), **({} if own is None else {name: own}))


@pytest.mark.parametrize(
    ("lent", "own", "over", "expected"),
    [
        (None, None, "Delete", "Delete"),
        ("Delete", "Delete", "Orphan", "Orphan"),
        ("Delete", "Retain", None, "Retain"),
    ],
)
def test_an_overriding_value_wins_over_tenant_and_default(lent: Any, own: Any, over: Any, expected: str) -> None:
    assert field(lent, own, over, "deletionPolicy").spec.deletion_policy == expected


def test_an_overriding_list_replaces_the_tenants() -> None:
    found = field(None, {"items": [{"name": "a"}]}, {"items": [{"name": "b"}]}, "namespaces")
    assert [namespace.name for namespace in namespaces_of(found)] == ["acme-b"]
    assert namespaces_of(field(None, {"items": [{"name": "a"}]}, {"items": []}, "namespaces")) == ()


def test_overriding_maps_merge_by_key_and_their_entry_wins() -> None:
    labels = field(
        {"metadata": {"labels": {"a": "lent", "b": "lent", "c": "lent"}}},
        {"metadata": {"labels": {"b": "own", "c": "own"}}},
        {"metadata": {"labels": {"c": "over"}}},
        "namespaces",
    )
    assert labels.spec.labels == {"a": "lent", "b": "own", "c": "over"}
    quota = field({"hard": {"pods": 1}}, {"hard": {"pods": 9, "services": 9}}, {"hard": {"pods": 5}}, "resourceQuotas")
    assert quota.spec.quota == {"pods": 5, "services": 9}
    security = field(None, {"podSecurity": {"enforce": "privileged", "warn": "baseline"}}, None, "namespaces").spec
    over = field(None, {"podSecurity": {"warn": "baseline"}}, {"podSecurity": {"enforce": "restricted"}}, "namespaces")
    assert (len(security.pod_security), over.spec.pod_security) == (
        2,
        {"pod-security.kubernetes.io/warn": "baseline", "pod-security.kubernetes.io/enforce": "restricted"},
    )
    parameters = field({"c": {"x": 1}}, {"c": {"y": 2, "z": 2}}, {"c": {"z": 3}}, "parameters").spec.parameters
    assert parameters == {"c": {"x": 1, "y": 2, "z": 3}}


def test_an_overriding_empty_quota_is_none_at_all() -> None:
    assert field({"hard": {"pods": 1}}, {"hard": {"pods": 9}}, {"hard": {}}, "resourceQuotas").spec.quota == {}


def test_an_overriding_parameter_wins_over_the_database_too() -> None:
    found = field({"status": "lent"}, {}, {"status": "frozen"}, "parameters")
    assert merge_rows(render_tenant(found), render_row("acme", {"status": "active"}))["status"] == "frozen"
    lent = field({"status": "lent"}, {}, None, "parameters")
    assert merge_rows(render_tenant(lent), render_row("acme", {"status": "active"}))["status"] == "active"


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ({}, ["acme-dev", "pay-legacy"]),
        ({"own": "{name}-{tenant}"}, ["dev-acme", "pay-legacy"]),
        ({"lent": "x-{name}"}, ["x-dev", "pay-legacy"]),
        ({"lent": "x-{name}", "own": "y-{name}"}, ["y-dev", "pay-legacy"]),
        ({"lent": "x-{name}", "own": "y-{name}", "over": "{tenant}{name}"}, ["acmedev", "pay-legacy"]),
    ],
)
def test_the_pattern_names_the_namespaces_of_entries_without_a_full_name(
    layers: dict[str, str], expected: list[str]
) -> None:
    items = {"items": [{"name": "dev"}, {"name": "legacy", "fullName": "pay-legacy"}]}
    lent, own, over = ({"pattern": layers[key]} if key in layers else {} for key in ("lent", "own", "over"))
    found = field(lent, {**items, **own}, over, "namespaces")
    assert [namespace.name for namespace in namespaces_of(found)] == expected
    assert render_tenant(found).element["namespaces"] == expected


def test_the_single_namespace_without_entries_has_the_tenants_name_under_any_pattern() -> None:
    assert [found.name for found in namespaces_of(field({"pattern": "x-{name}"}, {}, {}, "namespaces"))] == ["acme"]


SCHEMA = {
    "type": "object",
    "required": ["tier"],
    "properties": {"tier": {"enum": ["a", "b"]}, "size": {"type": "integer", "default": 1}, "name": {}},
}


def test_the_schemas_defaults_come_under_everything_else_and_into_the_answer() -> None:
    body = class_body(parametersSchema={"openAPIV3Schema": SCHEMA}, defaults={"parameters": {"tier": "a"}})
    found = resolved(body, parameters={"free": True})
    assert (found.spec.parameters, found.parameters_problem) == ({"tier": "a", "free": True, "size": 1}, "")
    assert render_tenant(found).element["parameters"] == {"tier": "a", "free": True, "size": "1"}
    assert resolved(body, parameters={"size": 5}).spec.parameters["size"] == 5


def test_what_the_schema_does_not_accept_is_said_and_takes_nothing_else_away() -> None:
    body = class_body(parametersSchema={"openAPIV3Schema": SCHEMA}, defaults={"deletionPolicy": "Delete"})
    found = resolved(body, parameters={"size": "big"})
    assert found.parameters_problem == (
        "not accepted by TenantClass gold: parameters.tier is missing and has no default; "
        'parameters.size holds "big"; it accepts a whole number'
    )
    assert (found.spec.deletion_policy, found.problem) == ("Delete", None)


def test_an_override_is_held_against_the_schema_too() -> None:
    rules: dict[str, Any] = {
        "parametersSchema": {"openAPIV3Schema": SCHEMA},
        "overrides": {"parameters": {"tier": "b"}},
    }
    assert resolved(class_body(**rules), parameters={"tier": "wrong"}).parameters_problem == ""


UNUSABLE: dict[str, Any] = {"parametersSchema": {"openAPIV3Schema": {"type": "object", "allOf": []}}}


@pytest.mark.parametrize("default", [True, False])
def test_a_class_that_can_t_be_used_is_no_absent_class(default: bool) -> None:
    body = class_body(default=default, **UNUSABLE)
    found = (
        resolved(body)
        if not default
        else resolve(parse_tenant({"metadata": {"name": "acme"}}), {"gold": read_class(body)})
    )
    assert found.problem is not None
    assert (found.problem.reason, found.problem.without_class) == (Reason.CLASS_UNUSABLE, True)
    assert "allOf is not supported" in found.problem.message
    assert found.class_name == ""


def test_the_keys_of_all_schemas_are_those_of_the_usable_classes_without_reserved_ones() -> None:
    other = class_body("other", parametersSchema={"openAPIV3Schema": {"type": "object", "properties": {"plan": {}}}})
    bodies = [class_body(parametersSchema={"openAPIV3Schema": SCHEMA}), other, class_body("none")]
    classes = [read_class(body) for body in (*bodies, class_body("broken", **UNUSABLE))]
    assert isinstance(classes[-1], UnusableClass)
    assert schema_keys(classes) == ("plan", "size", "tier")


def test_a_class_imposes_what_an_app_project_allows_but_never_its_name() -> None:
    lent = {"enabled": True, "project": {"sourceRepos": ["https://lent"]}}
    own = {"impersonation": True, "project": {"sourceRepos": ["*"]}}
    over = {"impersonation": False, "project": {"name": "shared", "sourceRepos": ["https://imposed"]}}
    spec = field(lent, own, over, "argocd").spec
    assert spec.app_project is not None
    assert (spec.project, spec.app_project.source_repos) == ("acme", ("https://imposed",))
    assert spec.app_project.impersonation is False
    assert field(lent, {"enabled": True}, {"enabled": False}, "argocd").spec.app_project is None
