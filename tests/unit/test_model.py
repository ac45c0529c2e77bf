"""The model reads what the API server has accepted, keeps absent apart from empty, and explains what it refuses."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from tenantry.errors import InvalidTenant
from tenantry.model import DeletionPolicy, Lifecycle, State, parse_class, parse_tenant
from tenantry.policies import Isolation

VALID = sorted((Path(__file__).parents[1] / "data/tenants/valid").glob("*.yaml"))


def tenant(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "acme"}, "spec": spec}


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"leaf": 1}
    for _ in range(levels - 1):
        value = {"inner": value}
    return value


def as_json(model: BaseModel) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_object_is_read_without_losing_a_field(path: Path) -> None:
    body = yaml.safe_load(path.read_text())
    parsed = parse_tenant(body) if body["kind"] == "Tenant" else parse_class(body)
    assert as_json(parsed) == {key: body[key] for key in ("metadata", "spec") if key in body}


def test_a_tenant_needs_only_a_name() -> None:
    parsed = parse_tenant({"metadata": {"name": "acme"}})
    assert (parsed.name, parsed.deleting, parsed.spec.lifecycle.state) == ("acme", False, State.ACTIVE)


def test_absent_is_not_empty() -> None:
    absent, empty = parse_tenant(tenant()).spec, parse_tenant(tenant(namespaces={"items": []})).spec
    assert (absent.namespaces.items, empty.namespaces.items) == (None, ())
    assert (absent.deletion_policy, absent.tenant_class_name, absent.argocd.project.name) == (None, None, None)


def test_no_rules_at_all_is_not_the_same_as_none_said() -> None:
    absent = parse_tenant(tenant()).spec
    empty = parse_tenant(
        tenant(
            resourceQuotas={"hard": {}}, limitRanges={"items": []}, networkPolicies={"items": [], "isolation": "None"}
        )
    ).spec
    assert (absent.resource_quotas.hard, empty.resource_quotas.hard) == (None, {})
    assert (absent.limit_ranges.items, empty.limit_ranges.items) == (None, ())
    assert (absent.network_policies.items, empty.network_policies.items) == (None, ())
    assert (absent.network_policies.isolation, empty.network_policies.isolation) == (None, Isolation.NONE)
    assert absent.additional_role_bindings is None


def test_metadata_that_decisions_depend_on_is_read() -> None:
    body = tenant(deletionPolicy="Delete")
    body["metadata"] |= {
        "uid": "u-1",
        "generation": 7,
        "labels": {"tier": "gold"},
        "annotations": {"note": "x"},
        "finalizers": ["tenantry.dev/teardown"],
        "deletionTimestamp": "2026-01-02T03:04:05Z",
        "managedFields": [{"manager": "kubectl"}],
    }
    parsed = parse_tenant(body)
    metadata = parsed.metadata
    assert (metadata.uid, metadata.generation, metadata.labels) == ("u-1", 7, {"tier": "gold"})
    assert (metadata.annotations, metadata.finalizers) == ({"note": "x"}, ("tenantry.dev/teardown",))
    assert parsed.deleting
    assert parsed.spec.deletion_policy is DeletionPolicy.DELETE


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert parse_tenant(tenant(displayName="Acme", notYetThought=1)).spec.display_name == "Acme"


def test_a_parsed_tenant_can_not_be_changed() -> None:
    parsed = parse_tenant(tenant())
    with pytest.raises(ValidationError, match="frozen"):
        parsed.spec.lifecycle.state = State.ARCHIVED  # type: ignore[misc]


def test_defaults_are_not_shared_between_tenants() -> None:
    parse_tenant(tenant()).spec.parameters["leak"] = 1
    assert parse_tenant(tenant()).spec.parameters == {}
    assert parse_tenant({"metadata": {"name": "b"}}).spec.lifecycle == Lifecycle()


def test_a_refusal_names_every_field_its_reason_and_what_it_held() -> None:
    body = tenant(
        lifecycle={"state": "Paused"},
        owners=[{"kind": "Team", "name": "x", "role": "owner"}, {"kind": "User", "role": "viewer"}],
        namespaces={"items": [{"name": "Dev"}]},
    )
    with pytest.raises(InvalidTenant) as refusal:
        parse_tenant(body)
    assert str(refusal.value) == (
        'Tenant "acme" can\'t be used: '
        "spec.lifecycle.state: input should be 'Active', 'Cordoned', 'Suspended' or 'Archived', not 'Paused'; "
        "spec.owners.0.kind: input should be 'User', 'Group' or 'ServiceAccount', not 'Team'; "
        "spec.owners.1.name: field required; "
        "spec.namespaces.items.0.name: string should match pattern '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$', not 'Dev'"
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "Tenant without a name can't be used: metadata: field required"),
        ({"metadata": {}}, "Tenant without a name can't be used: metadata.name: field required"),
        ({"metadata": {"name": "a.b"}}, "metadata.name: string should match pattern"),
        ({"metadata": {"name": "a" * 64}}, "metadata.name: string should have at most 63 characters, not"),
        ({"metadata": {"name": "acme"}, "spec": None}, "spec: input should be a valid dictionary"),
        (tenant(displayName=None), "spec.displayName: input should be a valid string, not None"),
        (tenant(parameters=["a"]), "spec.parameters: input should be a valid dictionary, not ['a']"),
        (tenant(deletionPolicy="Keep"), "spec.deletionPolicy: input should be 'Delete', 'Orphan' or 'Retain'"),
        ([], "object: input should be a valid dictionary"),
    ],
)
def test_what_would_be_acted_on_wrongly_is_refused(body: Any, expected: str) -> None:
    with pytest.raises(InvalidTenant) as refusal:
        parse_tenant(body)
    assert expected in str(refusal.value)


def test_a_refusal_stays_one_readable_line_whatever_the_object_holds() -> None:
    with pytest.raises(InvalidTenant) as refusal:
        parse_tenant(tenant(parameters=["line\nbreak" * 10_000]))
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 250


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"resourceQuotas": {"hard": {"limits.memory": "4 GB"}}},
            "spec.resourceQuotas.hard: limits.memory: '4 GB' is not a quantity such as 2, 500m, 1.5Gi or 1e3",
        ),
        (
            {"namespaces": {"items": [{"name": "dev", "resourceQuota": {"hard": {"pods": "10E"}}}]}},
            "spec.namespaces.items.0.resourceQuota.hard: pods: '10E' is more than 9E",
        ),
        (
            {"limitRanges": {"items": [{"name": "l", "limits": [{"type": "Container", "max": {"cpu": -1}}]}]}},
            "spec.limitRanges.items.0.limits.0.max: cpu: '-1' is not a quantity",
        ),
        (
            {"networkPolicies": {"items": [{"name": "n", "spec": nested(17)}]}},
            "spec.networkPolicies.items.0.spec: is nested deeper than 16 levels",
        ),
    ],
)
def test_a_rule_that_could_not_be_kept_exactly_is_refused(spec: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidTenant) as refusal:
        parse_tenant(tenant(**spec))
    assert expected in str(refusal.value)


def test_a_class_is_refused_by_its_own_kind() -> None:
    with pytest.raises(InvalidTenant, match=r'^TenantClass "gold" can\'t be used: spec\.defaults\.deletionPolicy: '):
        parse_class({"metadata": {"name": "gold"}, "spec": {"defaults": {"deletionPolicy": "Keep"}}})


def test_parameters_may_be_nested_as_deep_as_promised_and_no_deeper() -> None:
    assert parse_tenant(tenant(parameters=nested(16))).spec.parameters == nested(16)
    with pytest.raises(InvalidTenant, match=r"spec\.parameters: is nested deeper than 16 levels"):
        parse_tenant(tenant(parameters=nested(17)))
    with pytest.raises(InvalidTenant, match="nested deeper"):
        parse_tenant(tenant(parameters={"list": [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}))


@pytest.mark.parametrize(("annotation", "expected"), [("true", True), ("false", False), ("", False), ("True", False)])
def test_only_the_word_true_makes_a_class_the_default(annotation: str, expected: bool) -> None:
    annotations = {"tenantry.dev/is-default-class": annotation}
    assert parse_class({"metadata": {"name": "gold", "annotations": annotations}}).is_default is expected


def test_a_class_without_the_annotation_is_not_the_default() -> None:
    assert not parse_class({"metadata": {"name": "gold"}}).is_default
