"""ResourceQuotas: each namespace its own, or each its part of the tenant's total, which can't be overdrawn."""

from dataclasses import replace
from typing import Any

import pytest

from tenantry.classes import TenantNamespace, namespaces_of, resolve
from tenantry.model import parse_class, parse_tenant
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


# The limits of a class


def limited(limits: dict[str, Any], **spec: Any) -> Wanted:
    gold = parse_class({"metadata": {"name": "gold"}, "spec": {"limits": {"resourceQuotas": {"hard": limits}}}})
    tenant = parse_tenant({"metadata": {"name": "acme"}, "spec": {"tenantClassName": "gold", **spec}})
    found = resolve(tenant, {"gold": gold})
    return wanted_children(found, [namespace.name for namespace in namespaces_of(found)])


@pytest.mark.parametrize(
    ("limits", "quota", "namespaces"),
    [
        ({}, {}, items(a=None)),
        ({"pods": 10}, {"hard": {"pods": 10}}, {}),
        ({"pods": 10}, {"hard": {"pods": 5}}, items(a=None, b=None)),
        ({"pods": 10}, {"hard": {"pods": 9}}, items(a={"pods": 4}, b={"pods": 6})),
        ({"pods": 10}, {}, {"items": []}),
        ({"pods": 10}, {"scope": "Tenant", "hard": {"pods": 10}}, items(a={"pods": 1}, b=None)),
        ({"services": 4}, {"scope": "Tenant", "hard": {"pods": 99}}, items(a={"services": 1}, b={"services": 3})),
        ({"requests.cpu": "1"}, {"hard": {"requests.cpu": "1000m"}}, {}),
    ],
)
def test_what_a_class_allows_is_given(limits: Any, quota: dict[str, Any], namespaces: dict[str, Any]) -> None:
    found = limited(limits, resourceQuotas=quota, namespaces=namespaces)
    assert (found.problems, found.kept) == ((), frozenset())


@pytest.mark.parametrize(
    ("limits", "quota", "namespaces", "why"),
    [
        ({"pods": 10}, {"hard": {"pods": 11}}, {}, "pods 11 is 1 more than the 10 that is allowed"),
        ({"pods": 10}, {"hard": {"pods": 6}}, items(a=None, b=None), "pods 12 is 2 more than the 10"),
        ({"pods": 10}, {"hard": {"pods": 6}}, items(a=None, b={"pods": 5}), "pods 11 is 1 more than the 10"),
        ({"pods": 10}, {"hard": {}}, {}, "no pods is named for acme, where at most 10 is allowed"),
        ({"pods": 10}, {"hard": {"pods": 1}}, items(a=None, b={}), "no pods is named for acme-b, where at most 10"),
        ({"pods": 10}, {"scope": "Tenant", "hard": {"pods": 20}}, items(a=None), "pods 20 is 10 more than the 10"),
        (
            {"services": 4},
            {"scope": "Tenant", "hard": {"pods": 9}},
            items(a={"services": 1}, b=None),
            "no services is named for acme-b",
        ),
        ({"requests.cpu": "1"}, {"hard": {"requests.cpu": "1.5"}}, {}, "requests.cpu 1500m is 500m more than the 1 "),
    ],
)
def test_what_is_more_than_a_class_allows_changes_no_quota_and_is_said(
    limits: Any, quota: dict[str, Any], namespaces: dict[str, Any], why: str
) -> None:
    found = limited(limits, resourceQuotas=quota, namespaces=namespaces)
    assert (quotas(found), found.kept) == ({}, frozenset({RESOURCE_QUOTAS}))
    ((_, message),) = found.problems
    assert message.startswith("resourceQuotas: over the limits of TenantClass gold: ")
    assert why in message


def test_what_joins_unlisted_has_no_part_of_a_tenants_total() -> None:
    found = resolve(
        parse_tenant(
            {"metadata": {"name": "acme"}, "spec": {"resourceQuotas": {"scope": "Tenant", "hard": {"pods": 5}}}}
        ),
        {},
    )
    both = replace(found, namespaces=(*found.namespaces, TenantNamespace("theirs", {}, {}, entry=None)))
    assert quotas(wanted_children(both, ["acme", "theirs"])) == {"acme": {"pods": "5"}, "theirs": {"pods": "0"}}
