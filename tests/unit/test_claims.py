"""Which namespaces a tenant is to have, in view of those that it has: none is renamed or given up by mistake."""

from typing import Any

import pytest

from tenantry.classes import KnownClass, read_class
from tenantry_operator.actions import (
    ApplyChild,
    ApplyNamespace,
    CreateNamespace,
    DeleteNamespace,
    ReleaseNamespace,
    RemoveFinalizer,
)
from tenantry_operator.plan import Plan
from tests.unit.test_plan import condition, namespace, plan_of, tenant


def gold(**spec: Any) -> dict[str, KnownClass]:
    return {"gold": read_class({"metadata": {"name": "gold"}, "spec": spec})}


def steps(plan: Plan) -> list[tuple[type, str]]:
    return [(type(action), action.target) for action in plan.actions]


def shown(plan: Plan) -> dict[str, str]:
    assert plan.status is not None
    return {entry["name"]: entry["phase"] for entry in plan.status["namespaces"]}


def stalled(plan: Plan) -> str:
    return str(condition(plan, "Stalled")["message"])


def offered(name: str = "theirs", owner: str | None = None, **more: Any) -> Any:
    return namespace(name, owner, tenantry_dev__adopt_by="acme", **more)


DEV = {"items": [{"name": "dev"}]}
POLICIES = ["Delete", "Orphan", "Retain", None]


# Names


@pytest.mark.parametrize("policy", POLICIES)
def test_an_entry_keeps_its_namespace_under_another_pattern(policy: str | None) -> None:
    spec: dict[str, Any] = {"deletionPolicy": policy} if policy else {}
    body = tenant(tenantClassName="gold", namespaces=DEV, **spec)
    plan = plan_of(body, namespace("acme-dev"), classes=gold(overrides={"namespaces": {"pattern": "{name}-{tenant}"}}))
    assert plan.actions == ()
    assert shown(plan) == {"acme-dev": "Active"}
    assert "has the namespace acme-dev, which would now be called dev-acme" in stalled(plan)
    assert "give the entry the fullName acme-dev" in stalled(plan)


def test_an_entry_whose_full_name_is_that_of_its_namespace_is_in_order() -> None:
    items = {"items": [{"name": "dev", "fullName": "acme-dev"}], "pattern": "x-{name}"}
    plan = plan_of(tenant(namespaces=items), namespace("acme-dev"))
    assert (plan.actions, stalled(plan)) == ((), "")


def test_an_entry_without_a_namespace_gets_one_by_the_pattern() -> None:
    items = {"items": [{"name": "dev"}, {"name": "new"}], "pattern": "x-{name}"}
    plan = plan_of(tenant(namespaces=items), namespace("acme-dev"))
    assert steps(plan) == [(CreateNamespace, "x-new")]


def test_once_the_old_namespace_is_gone_the_entry_gets_the_new_one() -> None:
    items = {**DEV, "pattern": "x-{name}"}
    assert plan_of(tenant(namespaces=items), namespace("acme-dev", terminating=True)).actions == ()
    assert steps(plan_of(tenant(namespaces=items))) == [(CreateNamespace, "x-dev")]


@pytest.mark.parametrize("policy", POLICIES)
def test_of_two_namespaces_of_one_entry_none_is_let_go(policy: str | None) -> None:
    spec: dict[str, Any] = {"deletionPolicy": policy} if policy else {}
    plan = plan_of(tenant(namespaces=DEV, **spec), namespace("acme-dev"), namespace("old-dev", entry="dev"))
    assert (plan.actions, shown(plan)) == ((), {"acme-dev": "Active"})


def test_two_entries_for_one_namespace_share_nothing_and_the_one_that_has_it_keeps_it() -> None:
    items = {"items": [{"name": "a", "fullName": "acme-b"}, {"name": "b"}]}
    fresh = plan_of(tenant(namespaces=items))
    assert steps(fresh) == [(CreateNamespace, "acme-b")]
    assert "the entries a and b are both for the namespace acme-b; a has it" in stalled(fresh)
    held = plan_of(tenant(namespaces=items), namespace("acme-b"))
    assert held.actions == ()
    assert "b has it; give a another fullName" in stalled(held)


@pytest.mark.parametrize("name", ["kube-system", "default"])
def test_a_system_namespace_is_refused_by_whatever_name_it_is_asked_for(name: str) -> None:
    offered = namespace(name, None, tenantry_dev__adopt_by="acme")
    listed = plan_of(tenant(namespaces={"items": [{"name": "x", "fullName": name}]}), offered)
    assert (listed.actions, shown(listed)) == ((), {name: "Refused"})
    joining = plan_of(tenant(namespaces={"items": [], "adoptByLabel": True}), offered)
    assert (joining.actions, shown(joining)) == ((), {})


def test_a_full_name_takes_no_namespace_without_its_owners_consent() -> None:
    body = tenant(namespaces={"items": [{"name": "x", "fullName": "theirs"}]})
    assert plan_of(body, namespace("theirs", None)).actions == ()
    assert plan_of(body, namespace("theirs", "other")).actions == ()
    assert steps(plan_of(body, namespace("theirs", None, tenantry_dev__adopt_by="acme"))) == [
        (ApplyNamespace, "theirs")
    ]


# The number


@pytest.mark.parametrize(
    ("quota", "present", "made", "refused"),
    [
        (3, [], ["a", "b", "c"], []),
        (2, [], ["a", "b"], ["c"]),
        (2, ["c"], ["a"], ["b"]),
        (1, ["b", "c"], [], ["a"]),
        (0, ["a", "b", "c"], [], []),
        (0, [], [], ["a", "b", "c"]),
    ],
)
def test_what_is_beyond_the_quota_is_not_made_and_nothing_goes_for_it(
    quota: int, present: list[str], made: list[str], refused: list[str]
) -> None:
    items = [{"name": item} for item in ("a", "b", "c")]
    body = tenant(deletionPolicy="Delete", namespaces={"items": items, "quota": quota})
    plan = plan_of(body, *(namespace(f"acme-{item}") for item in present))
    assert steps(plan) == [(CreateNamespace, f"acme-{item}") for item in made]
    assert [name for name, phase in shown(plan).items() if phase == "Refused"] == [f"acme-{item}" for item in refused]
    surplus = f"3 namespaces are {3 - quota} more than the {quota} that the tenant may have" if quota < 3 else ""
    assert surplus in stalled(plan)
    assert (f"not made: {', '.join(f'acme-{item}' for item in refused)};" in stalled(plan)) == bool(refused)


def test_the_classs_limit_caps_the_quota_and_counts_where_none_is_named() -> None:
    classes = gold(limits={"namespaces": {"quota": 1}})
    items = [{"name": "a"}, {"name": "b"}]
    named = plan_of(tenant(tenantClassName="gold", namespaces={"items": items, "quota": 5}), classes=classes)
    assert steps(named) == [(CreateNamespace, "acme-a")]
    assert "namespaces.quota: 5 is 4 more than the 1 that TenantClass gold allows" in stalled(named)
    unnamed = plan_of(tenant(tenantClassName="gold", namespaces={"items": items}), classes=classes)
    assert steps(unnamed) == [(CreateNamespace, "acme-a")]
    lower = tenant(tenantClassName="gold", namespaces={"items": [], "quota": 0})
    assert stalled(plan_of(lower, classes=classes)) == ""


def test_what_is_retained_counts_and_what_leaves_does_not() -> None:
    spec: dict[str, Any] = {"namespaces": {**DEV, "quota": 1}}
    retained = plan_of(tenant(deletionPolicy="Retain", **spec), namespace("acme-old"))
    assert (steps(retained), shown(retained)) == ([], {"acme-dev": "Refused"})
    leaving = plan_of(tenant(**spec), namespace("acme-old"))
    assert steps(leaving) == [(CreateNamespace, "acme-dev"), (ReleaseNamespace, "acme-old")]


# The class's limits of quotas


def test_over_the_classs_limits_no_namespace_is_added_and_what_is_there_is_kept() -> None:
    classes = gold(limits={"resourceQuotas": {"hard": {"pods": 10}}})
    items = {"items": [{"name": "a"}, {"name": "b"}], "adoptByLabel": True}
    body = tenant(tenantClassName="gold", namespaces=items, resourceQuotas={"hard": {"pods": 6}})
    plan = plan_of(body, namespace("acme-a"), offered(), classes=classes)
    assert steps(plan) == []
    assert shown(plan) == {"acme-a": "Active", "acme-b": "Refused", "theirs": "Refused"}
    assert "pods 12 is 2 more than the 10 that is allowed" in stalled(plan)


def test_an_offer_that_would_go_over_the_classs_limits_holds_up_nothing_else() -> None:
    classes = gold(limits={"resourceQuotas": {"hard": {"pods": 10}}})
    items = {"items": [{"name": "a"}], "adoptByLabel": True}
    body = tenant(tenantClassName="gold", namespaces=items, resourceQuotas={"hard": {"pods": 6}})
    plan = plan_of(body, namespace("acme-a"), offered(), classes=classes)
    assert steps(plan) == [(ApplyChild, "ResourceQuota acme-a/tenantry")]
    assert shown(plan) == {"acme-a": "Active", "theirs": "Refused"}
    assert "theirs can't join, or the tenant would be over the limits of TenantClass gold: pods 12" in stalled(plan)


# Joining by label


JOINING: dict[str, Any] = {"namespaces": {"items": [], "adoptByLabel": True}}


def test_a_namespace_that_is_offered_joins_and_its_label_stays() -> None:
    (action,) = plan_of(tenant(**JOINING), offered()).actions
    assert isinstance(action, ApplyNamespace)
    assert (action.target, action.stale, action.body["metadata"]["annotations"]) == ("theirs", None, {})
    settled = plan_of(tenant(**JOINING), offered(owner="acme", entry=None))
    assert (settled.actions, shown(settled)) == ((), {"theirs": "Active"})


@pytest.mark.parametrize(
    "found",
    [
        offered(owner="other"),
        namespace("theirs", None, tenantry_dev__adopt_by="acme2"),
        namespace("theirs", None, terminating=True, tenantry_dev__adopt_by="acme"),
    ],
)
def test_a_namespace_that_is_anothers_or_offered_to_another_does_not_join(found: Any) -> None:
    plan = plan_of(tenant(**JOINING), found)
    assert (plan.actions, shown(plan), stalled(plan)) == ((), {}, "")


def test_without_the_flag_no_offer_is_taken() -> None:
    assert plan_of(tenant(namespaces={"items": []}), offered()).actions == ()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("flag", [True, False])
def test_what_joined_is_released_and_never_deleted_when_its_label_or_the_flag_goes(
    policy: str | None, flag: bool
) -> None:
    spec: dict[str, Any] = {"namespaces": {"items": [], "adoptByLabel": flag}}
    spec |= {"deletionPolicy": policy} if policy else {}
    found = namespace("theirs", "acme", entry=None) if flag else offered(owner="acme", entry=None)
    (action,) = plan_of(tenant(**spec), found).actions
    assert isinstance(action, ReleaseNamespace)
    labels = action.patch["metadata"]["labels"]
    assert labels["tenantry.dev/orphaned-from"] == "acme"
    assert ("tenantry.dev/adopt-by" in labels) == (not flag)


def test_what_is_handed_on_to_another_tenant_keeps_the_new_offer() -> None:
    found = namespace("theirs", "acme", entry=None, tenantry_dev__adopt_by="other")
    (action,) = plan_of(tenant(**JOINING), found).actions
    assert isinstance(action, ReleaseNamespace)
    assert "tenantry.dev/adopt-by" not in action.patch["metadata"]["labels"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("Delete", [(DeleteNamespace, "acme"), (ReleaseNamespace, "theirs")]),
        ("Orphan", [(ReleaseNamespace, "acme"), (ReleaseNamespace, "theirs")]),
        ("Retain", [(RemoveFinalizer, "finalizer")]),
    ],
)
def test_a_deleted_tenant_never_takes_along_what_joined_it(policy: str, expected: list[tuple[type, str]]) -> None:
    body = tenant(deleting=True, deletionPolicy=policy, namespaces={"adoptByLabel": True})
    assert steps(plan_of(body, namespace("acme"), offered(owner="acme", entry=None))) == expected


def test_a_namespace_whose_listing_nobody_can_prove_is_released_rather_than_deleted() -> None:
    typed_in = namespace("acme", entry=None, annotations={"tenantry.dev/entry": "acme/"})
    (action,) = plan_of(tenant(deleting=True, deletionPolicy="Delete"), typed_in).actions
    assert isinstance(action, ReleaseNamespace)


def test_what_joined_and_is_then_listed_is_listed_from_then_on() -> None:
    body = tenant(namespaces={"items": [{"name": "x", "fullName": "theirs"}], "adoptByLabel": True})
    (action,) = plan_of(body, offered(owner="acme", entry=None)).actions
    assert isinstance(action, ApplyNamespace)
    assert action.body["metadata"]["annotations"] == {"tenantry.dev/entry": "acme/x"}
    assert action.stale is not None
    assert action.stale["metadata"]["labels"] == {"tenantry.dev/adopt-by": None}


def test_a_tenant_takes_no_more_than_its_status_can_name() -> None:
    plan = plan_of(tenant(**JOINING), *(offered(f"n{number:03}") for number in range(200)))
    assert len([action for action in plan.actions if isinstance(action, ApplyNamespace)]) == 128
    assert plan.status is not None
    assert len(plan.status["namespaces"]) == 128
    assert "200 namespaces are 72 more than the 128" in stalled(plan)


# The class


def test_a_default_class_that_can_t_be_used_lets_nothing_go() -> None:
    schema = {"parametersSchema": {"openAPIV3Schema": {"type": "object", "oneOf": []}}}
    annotations = {"tenantry.dev/is-default-class": "true"}
    broken = read_class({"metadata": {"name": "gold", "annotations": annotations}, "spec": schema})
    plan = plan_of(tenant(), namespace("acme-lent"), classes={"gold": broken})
    assert (plan.actions, shown(plan)) == ((), {"acme-lent": "Active"})
    assert "oneOf is not supported" in condition(plan, "ClassResolved")["message"]
    assert condition(plan, "ParametersValid")["status"] == "Unknown"


def test_parameters_that_are_not_accepted_hold_up_nothing_else() -> None:
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"size": {"type": "integer"}}}}
    body = tenant(tenantClassName="gold", parameters={"size": "big"})
    plan = plan_of(body, classes=gold(parametersSchema=schema))
    assert steps(plan) == [(CreateNamespace, "acme")]
    found = condition(plan, "ParametersValid")
    assert (found["status"], found["reason"]) == ("False", "NotAccepted")
    assert 'parameters.size holds "big"; it accepts a whole number' in found["message"]
    assert condition(plan_of(tenant()), "ParametersValid")["status"] == "True"
