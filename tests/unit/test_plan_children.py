"""What a tenant has inside its namespaces: compared with what it should have, whatever else is there."""

from dataclasses import replace
from typing import Any

import pytest

from tenantry.classes import resolve
from tenantry.model import parse_tenant
from tenantry.names import FIELD_MANAGER
from tenantry.resources import RESOURCE_QUOTAS
from tenantry_operator.actions import (
    ApplyChild,
    ApplyNamespace,
    CreateNamespace,
    DeleteChild,
    ReleaseNamespace,
    RemoveFinalizer,
)
from tenantry_operator.children.child import ChildKey, Present, complete, observe
from tenantry_operator.children.namespace import Namespace
from tenantry_operator.children.wanted import wanted_children
from tenantry_operator.entry import entry_of
from tenantry_operator.plan import Plan, View, make_plan
from tests.unit.test_plan import NOW, condition, namespace, tenant

QUOTA: dict[str, Any] = {"resourceQuotas": {"hard": {"pods": "5"}}}


def stored(body: dict[str, Any], *, manager: str = FIELD_MANAGER, terminating: bool = False) -> dict[str, Any]:
    """Return an applied body as the API server would give it back."""
    labels: dict[str, Any] = {f"f:{label}": {} for label in body["metadata"]["labels"]}
    metadata = {**body["metadata"], "uid": "u", "resourceVersion": "5", "creationTimestamp": NOW}
    metadata["managedFields"] = [{"manager": manager, "fieldsV1": {"f:metadata": {"f:labels": labels}}}]
    if terminating:
        metadata["deletionTimestamp"] = NOW
    return {**body, "metadata": metadata, "status": {"used": {"pods": "1"}}}


def settled(body: dict[str, Any], *namespaces: str, **how: Any) -> dict[ChildKey, Present]:
    """Return the children that the Tenant should have in these namespaces, all there."""
    resolved = resolve(parse_tenant(body), {})
    wanted = wanted_children(resolved, namespaces)
    children = [complete(body["metadata"]["name"], kind, child) for kind, child in wanted.bodies]
    return {child.key: observe(child.resource, stored(child.body, **how)) for child in children}


def plan_of(
    body: dict[str, Any],
    children: dict[ChildKey, Present],
    *names: str,
    failures: dict[str, str] | None = None,
) -> Plan:
    entry = entry_of(body)
    assert entry.tenant is not None, entry.refusal
    present = {name: namespace(name) for name in names or ("acme",)}
    return make_plan(View(entry, resolve(entry.tenant, {}), present, children, failures or {}), now=NOW)


def test_children_come_after_the_namespace_that_they_are_in() -> None:
    entry = entry_of(tenant(**QUOTA))
    assert entry.tenant is not None
    plan = make_plan(View(entry, resolve(entry.tenant, {}), {}, {}, {}), now=NOW)
    made, filled = plan.actions
    assert isinstance(made, CreateNamespace)
    assert isinstance(filled, ApplyChild)
    assert filled.alone, "nothing of anybody else's can be in it yet"


def test_what_was_in_an_earlier_namespace_of_the_name_is_not_in_the_one_that_is_made() -> None:
    body = tenant(**QUOTA)
    entry = entry_of(body)
    assert entry.tenant is not None
    unheard = settled(tenant(**QUOTA, owners=[{"kind": "User", "name": "ada", "role": "owner"}]), "acme")
    plan = make_plan(View(entry, resolve(entry.tenant, {}), {}, unheard, {}), now=NOW)
    made, filled = plan.actions
    assert isinstance(made, CreateNamespace)
    assert isinstance(filled, ApplyChild)


@pytest.mark.parametrize(
    "present", [namespace("acme", "other"), namespace("acme", None), namespace("acme", terminating=True)]
)
def test_a_namespace_that_is_not_the_tenants_gets_nothing_put_into_it(present: Namespace) -> None:
    entry = entry_of(tenant(**QUOTA))
    assert entry.tenant is not None
    plan = make_plan(View(entry, resolve(entry.tenant, {}), {"acme": present}, {}, {}), now=NOW)
    assert plan.actions == ()


def test_in_a_namespace_that_stands_a_child_may_meet_somebody_s_object() -> None:
    (action,) = plan_of(tenant(**QUOTA), {}).actions
    assert isinstance(action, ApplyChild)
    assert not action.alone


def test_a_missing_child_is_applied_without_taking_anything_from_others() -> None:
    (action,) = plan_of(tenant(**QUOTA), {}).actions
    assert isinstance(action, ApplyChild)
    assert (action.target, action.first) == ("ResourceQuota acme/tenantry", True)
    assert action.child.body["metadata"]["labels"]["tenantry.dev/tenant"] == "acme"
    assert condition(plan_of(tenant(**QUOTA), {}), "QuotaReady")["status"] == "False"


def test_children_that_are_there_cost_nothing() -> None:
    body = tenant(
        **QUOTA,
        networkPolicies={"isolation": "Tenant"},
        owners=[{"kind": "Group", "name": "g", "role": "owner"}],
        limitRanges={"items": [{"name": "d", "limits": [{"type": "Container", "default": {"cpu": "1"}}]}]},
    )
    children = settled(body, "acme")
    assert {kind for kind, _, _ in children} == {"ResourceQuota", "NetworkPolicy", "RoleBinding", "LimitRange"}
    plan = plan_of(body, children)
    assert plan.actions == ()
    for kind in ("Ready", "QuotaReady", "NetworkPoliciesReady", "AccessReady"):
        assert condition(plan, kind)["status"] == "True"


def test_what_others_add_to_a_child_is_theirs() -> None:
    body = tenant(**QUOTA)
    ((key, _),) = settled(body, "acme").items()
    child = complete("acme", RESOURCE_QUOTAS, wanted_children(resolve(parse_tenant(body), {}), ["acme"]).bodies[0][1])
    added = stored(child.body)
    added["metadata"]["annotations"] = {**added["metadata"]["annotations"], "theirs": "x"}
    added["spec"] = {**added["spec"], "scopes": ["BestEffort"]}
    assert plan_of(body, {key: observe(RESOURCE_QUOTAS, added)}).actions == ()


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"hard": {"pods": "500"}}},
        {"spec": {"hard": {}}},
        {"spec": {}},
    ],
)
def test_a_child_changed_by_hand_is_put_back(change: dict[str, Any]) -> None:
    body = tenant(**QUOTA)
    child = complete("acme", RESOURCE_QUOTAS, wanted_children(resolve(parse_tenant(body), {}), ["acme"]).bodies[0][1])
    (action,) = plan_of(body, {child.key: observe(RESOURCE_QUOTAS, {**stored(child.body), **change})}).actions
    assert isinstance(action, ApplyChild)
    assert not action.first, "it is ours, so others' values are overwritten"


def test_a_wish_that_has_shrunk_is_applied_though_everything_wanted_is_there() -> None:
    before = tenant(resourceQuotas={"hard": {"pods": "5", "services": "2"}})
    (action,) = plan_of(tenant(**QUOTA), settled(before, "acme")).actions
    assert isinstance(action, ApplyChild)
    assert action.child.body["spec"] == {"hard": {"pods": "5"}}


def test_a_child_that_is_no_longer_wanted_is_deleted() -> None:
    (action,) = plan_of(tenant(), settled(tenant(**QUOTA), "acme")).actions
    assert action == DeleteChild(RESOURCE_QUOTAS, ("ResourceQuota", "acme", "tenantry"), "u", "5")


def test_a_child_whose_labels_somebody_took_off_goes_too_when_it_is_no_longer_wanted() -> None:
    lost = settled(tenant(**QUOTA), "acme")
    for body, expected in ((tenant(), DeleteChild), (tenant(**QUOTA), ApplyChild)):
        entry = entry_of(body)
        assert entry.tenant is not None
        view = View(entry, resolve(entry.tenant, {}), {"acme": namespace("acme")}, {}, {}, lost=lost)
        assert [type(action) for action in make_plan(view, now=NOW).actions] == [expected]


def test_an_object_with_copied_labels_is_nobodys() -> None:
    copies = settled(tenant(**QUOTA), "acme", manager="somebody")
    assert [found.owner for found in copies.values()] == [None]


def test_a_total_that_is_overdrawn_changes_no_quota_and_says_by_how_much() -> None:
    items = [{"name": name, "resourceQuota": {"hard": {"pods": "4"}}} for name in ("a", "b")]
    before = tenant(resourceQuotas={"scope": "Tenant", "hard": {"pods": "8"}}, namespaces={"items": items})
    after = tenant(resourceQuotas={"scope": "Tenant", "hard": {"pods": "6"}}, namespaces={"items": items})
    plan = plan_of(after, settled(before, "acme-a", "acme-b"), "acme-a", "acme-b")
    assert plan.actions == ()
    assert "pods 8, 2 more than the tenant's 6" in condition(plan, "QuotaReady")["message"]
    assert condition(plan, "Stalled")["status"] == "True"


def test_an_owner_who_gets_no_access_is_shown_under_access_and_not_under_quota() -> None:
    owner = {"kind": "ServiceAccount", "name": "robot", "namespace": "elsewhere", "role": "owner"}
    plan = plan_of(tenant(owners=[owner]), {})
    assert "not one of this tenant's" in condition(plan, "AccessReady")["message"]
    assert condition(plan, "QuotaReady")["status"] == "True"
    assert condition(plan, "Ready")["status"] == "False"


def test_a_tenant_label_changed_by_hand_and_changed_back_costs_no_child_and_is_made_ours_again() -> None:
    body = tenant(**QUOTA)
    present = replace(namespace("acme"), managed_labels=frozenset({"app.kubernetes.io/managed-by"}))
    assert present.owner is None
    entry = entry_of(body)
    assert entry.tenant is not None
    view = View(entry, resolve(entry.tenant, {}), {"acme": present}, settled(body, "acme"), {})
    assert [type(action) for action in make_plan(view, now=NOW).actions] == [ApplyNamespace]


def test_what_the_server_refuses_of_a_child_is_shown_under_its_condition() -> None:
    refusal = {"ResourceQuota acme/tenantry": "PATCH: denied"}
    plan = plan_of(tenant(**QUOTA), {}, failures=refusal)
    assert condition(plan, "QuotaReady")["message"] == "PATCH: denied"
    assert condition(plan, "Stalled")["message"] == "PATCH: denied"


@pytest.mark.parametrize("how", [{}, {"deleting": True}, {"deleting": True, "deletionPolicy": "Delete"}])
def test_what_is_in_a_namespace_that_is_being_deleted_goes_with_it(how: dict[str, Any]) -> None:
    entry = entry_of(tenant(**how, **QUOTA))
    assert entry.tenant is not None
    present, children = {"acme": namespace("acme", terminating=True)}, settled(tenant(**QUOTA), "acme")
    plan = make_plan(View(entry, resolve(entry.tenant, {}), present, children, {}), now=NOW)
    assert DeleteChild not in {type(action) for action in plan.actions}


def test_an_orphaned_namespace_keeps_nothing_of_the_tenant() -> None:
    body = tenant(deleting=True, **QUOTA)
    plan = plan_of(body, settled(tenant(**QUOTA), "acme"))
    assert [type(action) for action in plan.actions] == [DeleteChild]
    assert [type(action) for action in plan_of(body, {}).actions] == [ReleaseNamespace]


def test_a_deleted_tenant_stays_until_a_child_is_gone_whose_deletion_was_refused() -> None:
    entry = entry_of(tenant(deleting=True, **QUOTA))
    assert entry.tenant is not None
    refusal = {"ResourceQuota acme/tenantry": "DELETE: denied"}
    released: dict[str, Namespace] = {}
    children = settled(tenant(**QUOTA), "acme")
    plan = make_plan(View(entry, resolve(entry.tenant, {}), released, children, refusal), now=NOW)
    assert [type(action) for action in plan.actions] == [DeleteChild]
    assert condition(plan, "Stalled")["message"] == "DELETE: denied"


def test_a_retained_namespace_keeps_everything() -> None:
    body = tenant(deleting=True, deletionPolicy="Retain", **QUOTA)
    assert plan_of(body, settled(tenant(**QUOTA), "acme")).actions == (RemoveFinalizer(),)


def test_a_missing_class_touches_no_child() -> None:
    assert plan_of(tenant(tenantClassName="gold"), settled(tenant(**QUOTA), "acme")).actions == ()
