"""The plan: from what is there to what is left to do. Pure, so every case is a table row."""

from dataclasses import replace
from typing import Any

import pytest

from tenantry.classes import KnownClass, resolve
from tenantry.model import parse_class
from tenantry.names import FIELD_MANAGER, FINALIZER
from tenantry_operator.actions import (
    AddFinalizer,
    ApplyNamespace,
    CreateNamespace,
    DeleteNamespace,
    ReleaseNamespace,
    RemoveFinalizer,
)
from tenantry_operator.children.namespace import Namespace, observe
from tenantry_operator.entry import entry_of
from tenantry_operator.plan import Plan, View, make_plan
from tenantry_operator.status import status_patch

NOW = "2026-01-02T03:04:05Z"
LATER = "2026-01-02T04:00:00Z"


def tenant(name: str = "acme", *, finalizer: bool = True, deleting: bool = False, **spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "uid": "u1", "resourceVersion": "7", "generation": 3}
    metadata["finalizers"] = ["others/own", FINALIZER] if finalizer else ["others/own"]
    if deleting:
        metadata["deletionTimestamp"] = NOW
    return {"metadata": metadata, "spec": spec}


def _label(key: str) -> str:
    domain, _, name = key.rpartition("__")
    return f"{domain.replace('_', '.')}/{name}".replace("_", "-") if domain else key.replace("_", "-")


def namespace(
    name: str,
    owner: str | None = "acme",
    *,
    terminating: bool = False,
    copied: bool = False,
    managed: tuple[str, ...] = (),
    annotations: dict[str, str] | None = None,
    entry: str | None = "that of its name",
    **labels: str,
) -> Namespace:
    held = {_label(key): value for key, value in labels.items()}
    if owner is not None:
        held |= {"tenantry.dev/tenant": owner, "app.kubernetes.io/managed-by": "tenantry"}
    identity = ["tenantry.dev/tenant", "app.kubernetes.io/managed-by"] if owner and not copied else []
    ours: dict[str, Any] = {f"f:{key}": {} for key in (*managed, *identity)}
    metadata: dict[str, Any] = {"name": name, "uid": f"uid-{name}", "resourceVersion": "1", "labels": held}
    listed = {}
    if entry is not None and identity:
        own = name.partition("-")[2] if entry == "that of its name" else entry
        listed = {"tenantry.dev/entry": f"{owner}/{own}"}
    noted: dict[str, Any] = {f"f:{key}": {} for key in listed}
    fields = {"f:metadata": {"f:labels": ours, "f:annotations": noted}}
    metadata["managedFields"] = [{"manager": FIELD_MANAGER, "fieldsV1": fields}]
    metadata["annotations"] = {**(annotations or {}), **listed}
    if terminating:
        metadata["deletionTimestamp"] = NOW
    return observe({"metadata": metadata})


def plan_of(
    body: dict[str, Any],
    *present: Namespace,
    classes: dict[str, KnownClass] | None = None,
    failures: dict[str, str] | None = None,
    now: str = NOW,
) -> Plan:
    entry = entry_of(body)
    assert entry.tenant is not None, entry.refusal
    resolved = resolve(entry.tenant, classes or {})
    return make_plan(View(entry, resolved, {found.name: found for found in present}, {}, failures or {}), now=now)


def condition(plan: Plan, kind: str) -> dict[str, Any]:
    assert plan.status is not None
    return next(found for found in plan.status["conditions"] if found["type"] == kind)


def test_a_new_tenant_gets_its_finalizer_before_anything_else() -> None:
    plan = plan_of(tenant(finalizer=False))
    assert [type(action) for action in plan.actions] == [AddFinalizer, CreateNamespace]


def test_a_tenant_that_lists_no_namespaces_gets_one_of_its_own_name() -> None:
    (action,) = plan_of(tenant()).actions
    assert isinstance(action, CreateNamespace)
    assert action.body["metadata"] == {
        "name": "acme",
        "labels": {"tenantry.dev/tenant": "acme", "app.kubernetes.io/managed-by": "tenantry"},
        "annotations": {"tenantry.dev/entry": "acme/"},
    }


def test_an_empty_list_of_namespaces_is_none_at_all() -> None:
    plan = plan_of(tenant(namespaces={"items": []}))
    assert plan.actions == ()
    assert condition(plan, "Ready")["status"] == "True"


def test_each_listed_namespace_is_named_after_its_tenant() -> None:
    plan = plan_of(tenant(namespaces={"items": [{"name": "dev", "labels": {"env": "dev"}}, {"name": "prod"}]}))
    created = [action.body["metadata"] for action in plan.actions if isinstance(action, CreateNamespace)]
    assert [body["name"] for body in created] == ["acme-dev", "acme-prod"]
    assert created[0]["labels"]["env"] == "dev"


def test_a_settled_tenant_has_nothing_left_to_do_and_keeps_its_status() -> None:
    first = plan_of(tenant(), namespace("acme"))
    assert first.actions == ()
    assert first.status is not None
    assert condition(first, "Ready")["status"] == "True"
    assert first.status["phase"] == "Active"
    again = plan_of({**tenant(), "status": first.status}, namespace("acme"), now=LATER)
    assert again == Plan((), None)


def test_a_condition_keeps_its_time_until_it_turns() -> None:
    ready = plan_of(tenant(), namespace("acme")).status
    gone = plan_of({**tenant(), "status": ready}, now=LATER)
    assert condition(gone, "Ready") == {
        "type": "Ready",
        "status": "False",
        "reason": "Progressing",
        "message": "namespace acme is not as it should be yet",
        "observedGeneration": 3,
        "lastTransitionTime": LATER,
    }
    assert condition(gone, "Stalled")["lastTransitionTime"] == NOW


def test_a_status_takes_the_place_of_whatever_was_written_there() -> None:
    ours = {"phase": "Active", "namespaces": [{"name": "acme"}], "quota": {"hard": {"pods": "1"}, "used": {}}}
    theirs = {
        "phase": "Failed",
        "namespaces": [{"name": "acme"}, {"name": "theirs"}],
        "quota": {"hard": {"pods": "1", "services": "2"}, "used": {"pods": "0"}},
        "argocd": {"project": {"name": "theirs", "namespace": "argocd"}},
    }
    assert status_patch(ours, previous=theirs) == {
        "phase": "Active",
        "namespaces": [{"name": "acme"}],
        "quota": {"hard": {"pods": "1", "services": None}, "used": {"pods": None}},
        "argocd": None,
    }


def test_a_label_changed_by_hand_is_put_back_and_foreign_ones_stay() -> None:
    spec: dict[str, Any] = {"namespaces": {"metadata": {"labels": {"cost-center": "c1"}}}}
    drifted = namespace("acme", cost_center="c2", theirs="x")
    (action,) = plan_of(tenant(**spec), drifted).actions
    assert isinstance(action, ApplyNamespace)
    assert (action.uid, action.stale) == ("uid-acme", None)
    assert "theirs" not in action.body["metadata"]["labels"]


def test_a_label_that_the_spec_dropped_is_removed() -> None:
    present = namespace("acme", managed=("cost-center",), cost_center="c1", theirs="x")
    (action,) = plan_of(tenant(), present).actions
    assert isinstance(action, ApplyNamespace)
    assert action.stale == {"metadata": {"uid": "uid-acme", "labels": {"cost-center": None}, "annotations": {}}}


@pytest.mark.parametrize(
    ("name", "present", "why"),
    [
        ("acme", namespace("acme", None), "it exists and is not Tenantry's; to hand it over, label it "),
        ("acme", namespace("acme", "other"), "it belongs to the tenant other"),
        ("acme", namespace("acme", None, tenantry_dev__adopt_by="acme2"), "is not Tenantry's"),
        ("kube-public", None, "it is a system namespace"),
        ("argocd", None, "it is a system namespace"),
        ("default", None, "it is a system namespace"),
        ("tenantry-system", None, "it is a system namespace"),
    ],
)
def test_a_namespace_that_is_not_the_tenants_is_left_alone(name: str, present: Namespace | None, why: str) -> None:
    plan = plan_of(tenant(name), *([present] if present else []))
    assert plan.actions == ()
    assert plan.status is not None
    assert plan.status["phase"] == "Failed"
    assert why in condition(plan, "Stalled")["message"]
    assert condition(plan, "Ready")["status"] == "False"


def test_a_system_namespace_is_never_touched_whatever_its_labels_say() -> None:
    labelled = namespace("kube-system", "kube")
    wanted = tenant("kube", namespaces={"items": [{"name": "system"}]})
    assert plan_of(wanted, labelled).actions == ()
    assert plan_of(tenant("kube", namespaces={"items": []}, deletionPolicy="Delete"), labelled).actions == ()
    assert plan_of(tenant("kube", deleting=True, deletionPolicy="Delete"), labelled).actions == (RemoveFinalizer(),)


@pytest.mark.parametrize("policy", ["Delete", "Orphan"])
def test_labels_that_somebody_copied_get_no_namespace_released_or_deleted(policy: str) -> None:
    copied = namespace("payroll", "acme", copied=True)
    assert plan_of(tenant(deletionPolicy=policy), namespace("acme"), copied).actions == ()
    assert plan_of(tenant(deletionPolicy=policy, deleting=True), copied).actions == (RemoveFinalizer(),)


@pytest.mark.parametrize("label", [{}, {"tenantry.dev/tenant": "mallory"}])
def test_a_tenant_label_changed_by_hand_is_put_back_by_its_tenant_and_by_no_other(label: dict[str, str]) -> None:
    ours = frozenset({"app.kubernetes.io/managed-by"})
    changed = {"app.kubernetes.io/managed-by": "tenantry", **label}
    present = replace(namespace("acme"), labels=changed, managed_labels=ours)
    (action,) = plan_of(tenant(), present).actions
    assert isinstance(action, ApplyNamespace)
    others = replace(present, annotations={"tenantry.dev/entry": "other/"})
    plan = plan_of(tenant(), others)
    assert plan.actions == ()
    assert "it belongs to the tenant other" in condition(plan, "NamespacesReady")["message"]


def test_a_managed_by_label_changed_by_hand_is_put_back() -> None:
    present = namespace("acme", managed=())
    changed = replace(present, labels={**present.labels, "app.kubernetes.io/managed-by": "me"})
    (action,) = plan_of(tenant(), changed).actions
    assert isinstance(action, ApplyNamespace)


def test_both_labels_changed_by_hand_at_once_are_put_back() -> None:
    others = {"tenantry.dev/tenant": "mallory", "app.kubernetes.io/managed-by": "me"}
    changed = replace(namespace("acme"), labels=others, managed_labels=frozenset())
    (action,) = plan_of(tenant(), changed).actions
    assert isinstance(action, ApplyNamespace)


def test_a_namespace_whose_owner_opted_in_is_adopted_and_the_opt_in_ends() -> None:
    present = observe(
        {
            "metadata": {
                "name": "acme",
                "uid": "u9",
                "resourceVersion": "1",
                "labels": {"tenantry.dev/adopt-by": "acme", "tenantry.dev/orphaned-from": "acme", "x": "y"},
            }
        }
    )
    (action,) = plan_of(tenant(), present).actions
    assert isinstance(action, ApplyNamespace)
    assert action.uid == "u9"
    assert action.stale == {
        "metadata": {
            "uid": "u9",
            "labels": {"tenantry.dev/adopt-by": None, "tenantry.dev/orphaned-from": None},
            "annotations": {},
        }
    }


def test_an_opt_in_that_is_still_there_on_an_owned_namespace_is_ended() -> None:
    (action,) = plan_of(tenant(), namespace("acme", tenantry_dev__adopt_by="acme")).actions
    assert isinstance(action, ApplyNamespace)
    assert action.stale is not None
    assert action.stale["metadata"]["labels"] == {"tenantry.dev/adopt-by": None}


def test_a_namespace_left_behind_is_not_taken_by_a_new_tenant_of_that_name() -> None:
    present = observe(
        {
            "metadata": {
                "name": "acme",
                "uid": "u",
                "resourceVersion": "1",
                "labels": {"tenantry.dev/orphaned-from": "acme"},
            }
        }
    )
    plan = plan_of(tenant(), present)
    assert plan.actions == ()
    message = condition(plan, "Stalled")["message"]
    assert "left behind by the deleted tenant acme" in message
    assert "tenantry.dev/adopt-by=acme" in message


def test_a_namespace_that_is_being_deleted_is_waited_for() -> None:
    plan = plan_of(tenant(), namespace("acme", terminating=True))
    assert plan.actions == ()
    assert "created again once it is gone" in condition(plan, "Reconciling")["message"]
    assert plan.status is not None
    assert plan.status["phase"] == "Pending"


@pytest.mark.parametrize(
    ("policy", "kind"), [("Delete", DeleteNamespace), ("Orphan", ReleaseNamespace), (None, ReleaseNamespace)]
)
def test_a_namespace_dropped_from_the_spec_goes_by_the_deletion_policy(policy: str | None, kind: type) -> None:
    spec: dict[str, Any] = {"namespaces": {"items": [{"name": "dev"}]}} | ({"deletionPolicy": policy} if policy else {})
    plan = plan_of(tenant(**spec), namespace("acme-dev"), namespace("acme-old"))
    assert [(type(action), action.target) for action in plan.actions] == [(kind, "acme-old")]


def test_under_retain_a_namespace_dropped_from_the_spec_is_left_as_it_is() -> None:
    spec: dict[str, Any] = {"namespaces": {"items": []}, "deletionPolicy": "Retain"}
    assert plan_of(tenant(**spec), namespace("acme-old")).actions == ()


def test_deleting_under_delete_takes_the_namespaces_first_and_the_finalizer_last() -> None:
    body = tenant(deleting=True, deletionPolicy="Delete")
    plan = plan_of(body, namespace("acme"), namespace("theirs", "other"))
    assert plan.actions == (DeleteNamespace("acme", "uid-acme"),)
    waiting = plan_of(body, namespace("acme", terminating=True))
    assert waiting.actions == ()
    assert waiting.status is not None
    assert waiting.status["phase"] == "Terminating"
    assert "waiting for namespace acme to be gone" in condition(waiting, "Ready")["message"]
    assert plan_of(body).actions == (RemoveFinalizer(),)


def test_deleting_under_orphan_strips_our_labels_and_notes_the_origin() -> None:
    present = namespace("acme", managed=("cost-center",), cost_center="c1", theirs="x")
    (action,) = plan_of(tenant(deleting=True), present).actions
    assert isinstance(action, ReleaseNamespace)
    assert action.patch["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": None,
        "cost-center": None,
        "tenantry.dev/tenant": None,
        "tenantry.dev/orphaned-from": "acme",
    }


def test_a_namespace_is_let_go_only_as_it_was_seen_since_it_may_have_been_handed_over_again() -> None:
    (action,) = plan_of(tenant(deleting=True), namespace("acme")).actions
    assert isinstance(action, ReleaseNamespace)
    assert (action.patch["metadata"]["uid"], action.patch["metadata"]["resourceVersion"]) == ("uid-acme", "1")


def test_deleting_under_retain_touches_no_namespace() -> None:
    plan = plan_of(tenant(deleting=True, deletionPolicy="Retain"), namespace("acme"))
    assert plan.actions == (RemoveFinalizer(),)


def test_a_tenant_held_only_by_others_finalizers_has_nothing_done_to_it() -> None:
    assert plan_of(tenant(deleting=True, finalizer=False), namespace("acme")).actions == ()


def test_a_class_that_is_missing_makes_and_takes_away_nothing() -> None:
    plan = plan_of(tenant(tenantClassName="gold"), namespace("acme-from-class"))
    assert plan.actions == ()
    assert condition(plan, "ClassResolved")["status"] == "False"
    assert condition(plan, "Stalled")["status"] == "True"
    assert plan.status is not None
    assert [entry["name"] for entry in plan.status["namespaces"]] == ["acme-from-class"]


def test_namespaces_of_the_class_are_those_of_the_tenant() -> None:
    gold = parse_class(
        {"metadata": {"name": "gold"}, "spec": {"defaults": {"namespaces": {"items": [{"name": "a"}, {"name": "b"}]}}}}
    )
    plan = plan_of(tenant(tenantClassName="gold"), classes={"gold": gold})
    assert [action.target for action in plan.actions] == ["acme-a", "acme-b"]
    assert plan.status is not None
    assert plan.status["class"] == {"name": "gold"}


def test_what_the_server_refuses_is_shown_and_does_not_hide_the_rest() -> None:
    body = tenant(namespaces={"items": [{"name": "dev"}, {"name": "prod"}]})
    plan = plan_of(body, namespace("acme-prod"), failures={"acme-dev": "POST /api/v1/namespaces: denied by policy"})
    assert plan.status is not None
    assert [entry["ready"] for entry in plan.status["namespaces"]] == [False, True]
    assert condition(plan, "Stalled")["message"] == "POST /api/v1/namespaces: denied by policy"


def test_a_refused_finalizer_is_shown() -> None:
    plan = plan_of(tenant(finalizer=False), failures={"finalizer": "PATCH: forbidden"})
    assert condition(plan, "Stalled")["message"] == "PATCH: forbidden"


@pytest.mark.parametrize("state", ["Active", "Cordoned", "Suspended", "Archived"])
def test_the_phase_of_a_ready_tenant_is_its_lifecycle_state(state: str) -> None:
    plan = plan_of(tenant(lifecycle={"state": state}), namespace("acme"))
    assert plan.status is not None
    assert plan.status["phase"] == state
