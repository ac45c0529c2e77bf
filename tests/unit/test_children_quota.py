"""ResourceQuotas: each namespace its own, or each its part of the tenant's total, which can't be overdrawn."""

from typing import Any

import pytest

from tenantry.classes import namespaces_of, resolve
from tenantry.model import parse_tenant
from tenantry.resources import NETWORK_POLICIES, RESOURCE_QUOTAS
from tenantry_operator.children.wanted import Wanted, wanted_children


def wanted(**spec: Any) -> Wanted:
    found = resolve(parse_tenant({"metadata": {"name": "acme"}, "spec": spec}), {})
    return wanted_children(found, [namespace.name for namespace in namespaces_of(found)])


def quotas(found: Wanted) -> dict[str, dict[str, str]]:
    return {
        body["metadata"]["namespace"]: body["spec"]["hard"]
        for resource, body in found.bodies
        if resource == RESOURCE_QUOTAS
    }


def items(**own: dict[str, Any] | None) -> dict[str, Any]:
    entries = [
        {"name": name, **({} if hard is None else {"resourceQuota": {"hard": hard}})} for name, hard in own.items()
    ]
    return {"items": entries}


@pytest.mark.parametrize(
    ("quota", "namespaces", "expected"),
    [
        ({}, items(dev=None), {}),
        ({"hard": {"pods": 5}}, {}, {"acme": {"pods": "5"}}),
        ({"hard": {"pods": 5}}, {"items": []}, {}),
        ({"hard": {"pods": 5}}, items(a=None, b=None), {"acme-a": {"pods": "5"}, "acme-b": {"pods": "5"}}),
        (
            {"hard": {"pods": 5}},
            items(a=None, b={"services": 1}),
            {"acme-a": {"pods": "5"}, "acme-b": {"services": "1"}},
        ),
        ({"hard": {"pods": 5}}, items(a=None, b={}), {"acme-a": {"pods": "5"}}),
        ({}, items(a={"pods": 5}, b=None), {"acme-a": {"pods": "5"}}),
    ],
)
def test_under_scope_namespace_each_has_the_quota_unless_it_has_its_own(
    quota: dict[str, Any], namespaces: dict[str, Any], expected: dict[str, dict[str, str]]
) -> None:
    found = wanted(resourceQuotas=quota, namespaces=namespaces)
    assert (quotas(found), found.problems, found.kept) == (expected, (), frozenset())


@pytest.mark.parametrize(
    ("hard", "namespaces", "expected"),
    [
        ({"pods": 5}, items(a={"pods": 2}, b={"pods": 3}), {"acme-a": {"pods": "2"}, "acme-b": {"pods": "3"}}),
        ({"pods": 5}, items(a={"pods": 5}, b=None), {"acme-a": {"pods": "5"}, "acme-b": {"pods": "0"}}),
        ({"pods": 5}, items(a={"pods": 5}, b={}), {"acme-a": {"pods": "5"}, "acme-b": {"pods": "0"}}),
        ({"pods": 5, "services": 1}, items(a={"pods": 5}), {"acme-a": {"pods": "5", "services": "0"}}),
        ({"pods": 5}, items(a={"services": 9}), {"acme-a": {"pods": "0", "services": "9"}}),
        ({}, items(a={"pods": 9}, b=None), {"acme-a": {"pods": "9"}}),
        ({"pods": 5}, {}, {"acme": {"pods": "5"}}),
    ],
)
def test_under_scope_tenant_each_has_its_part_and_nothing_of_what_it_does_not_name(
    hard: dict[str, Any], namespaces: dict[str, Any], expected: dict[str, dict[str, str]]
) -> None:
    found = wanted(resourceQuotas={"scope": "Tenant", "hard": hard}, namespaces=namespaces)
    assert (quotas(found), found.problems, found.kept) == (expected, (), frozenset())


def test_parts_may_fill_the_total_to_the_last_thousandth_in_any_notation() -> None:
    total = {"scope": "Tenant", "hard": {"requests.cpu": "1", "requests.memory": "2Gi"}}
    full = items(
        a={"requests.cpu": "0.1", "requests.memory": "1.5Gi"},
        b={"requests.cpu": "900m", "requests.memory": "524288Ki"},
    )
    over = items(a={"requests.cpu": "0.1"}, b={"requests.cpu": "901m"})
    assert wanted(resourceQuotas=total, namespaces=full).problems == ()
    ((_, problem),) = wanted(resourceQuotas=total, namespaces=over).problems
    assert "requests.cpu 1001m, 1m more than the tenant's 1;" in problem


def test_a_total_that_is_overdrawn_changes_no_quota_and_says_by_how_much_for_each_resource() -> None:
    found = wanted(
        resourceQuotas={"scope": "Tenant", "hard": {"cpu": 10, "memory": "20Gi", "pods": 50}},
        namespaces=items(a={"cpu": 6, "memory": "16Gi", "pods": 50}, b={"cpu": 6, "memory": "8Gi"}),
        networkPolicies={"isolation": "Tenant"},
    )
    assert found.problems == (
        (
            RESOURCE_QUOTAS,
            "resourceQuotas: namespaces ask for cpu 12, 2 more than the tenant's 10; memory 24Gi, 4Gi more than the "
            "tenant's 20Gi; lower the resourceQuota of entries of namespaces.items or raise resourceQuotas.hard; until "
            "then no quota is changed",
        ),
    )
    assert found.kept == {RESOURCE_QUOTAS}
    assert {resource for resource, _ in found.bodies} == {NETWORK_POLICIES}  # the rest goes on


def test_the_sum_is_that_of_all_namespaces_whichever_are_asked_for() -> None:
    spec = {
        "resourceQuotas": {"scope": "Tenant", "hard": {"pods": 5}},
        "namespaces": items(a={"pods": 3}, b={"pods": 3}),
    }
    found = resolve(parse_tenant({"metadata": {"name": "acme"}, "spec": spec}), {})
    assert wanted_children(found, ["acme-a"]).kept == {RESOURCE_QUOTAS}
    assert wanted_children(found, []).problems


def test_a_quota_is_a_complete_object_with_canonical_quantities() -> None:
    found = wanted(resourceQuotas={"hard": {"requests.memory": "1024Mi", "requests.cpu": "2000m", "pods": 1000}})
    assert found.bodies == (
        (
            RESOURCE_QUOTAS,
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "tenantry", "namespace": "acme"},
                "spec": {"hard": {"pods": "1k", "requests.cpu": "2", "requests.memory": "1Gi"}},
            },
        ),
    )
