"""What is to be done about a tenant's AppProject, by what is there, and in which order it goes."""

from dataclasses import replace
from typing import Any

import pytest

from tenantry.classes import namespaces_of, resolve
from tenantry.model import parse_tenant
from tenantry_operator.actions import (
    ApplyProject,
    CreateNamespace,
    CreateProject,
    DeleteNamespace,
    DeleteProject,
    ReleaseNamespace,
    RemoveFinalizer,
)
from tenantry_operator.children import project
from tenantry_operator.children.namespace import Namespace
from tenantry_operator.children.project import FoundProject
from tenantry_operator.entry import entry_of
from tenantry_operator.plan import Plan, View, make_plan
from tenantry_operator.plan_project import Projects
from tests.unit.test_children_project import found
from tests.unit.test_plan import NOW, condition, namespace, tenant

ASKED: dict[str, Any] = {"argocd": {"enabled": True}}
REMEMBERED = {"argocd": {"project": {"name": "acme", "namespace": "argocd"}}}


def settled(body: dict[str, Any], **labels: str) -> FoundProject:
    """Return the AppProject that the Tenant should have, as it is in the cluster."""
    resolved = resolve(parse_tenant(body), {})
    assert resolved.spec.app_project is not None
    spaces = [each.name for each in namespaces_of(resolved)]
    owners = resolved.tenant.spec.owners
    name = resolved.spec.project
    child = project.build(
        resolved.spec.app_project, owners, tenant="acme", name=name, argocd="argocd", namespaces=spaces
    )
    return found(child, **labels)


def plan_of(
    body: dict[str, Any],
    *there: FoundProject,
    present: tuple[Namespace, ...] = (namespace("acme"),),
    failures: dict[str, str] | None = None,
    status: dict[str, Any] | None = None,
    **how: Any,
) -> Plan:
    entry = entry_of({**body, "status": status or {}})
    assert entry.tenant is not None, entry.refusal
    projects = Projects(found={each.name: each for each in there}, **how)
    namespaces = {each.name: each for each in present}
    return make_plan(View(entry, resolve(entry.tenant, {}), namespaces, {}, failures or {}, projects), now=NOW)


def kinds(plan: Plan) -> list[type]:
    return [type(action) for action in plan.actions]


def types(plan: Plan) -> set[str]:
    assert plan.status is not None
    return {each["type"] for each in plan.status["conditions"]}


def test_a_tenant_that_asks_for_no_project_hears_nothing_of_it() -> None:
    plan = plan_of(tenant(), served=False, trouble="LIST: 403")
    assert "ProjectReady" not in types(plan)
    assert condition(plan, "Ready")["status"] == "True"


def test_a_project_is_created_after_its_namespaces_and_then_filled() -> None:
    plan = plan_of(tenant(**ASKED), present=())
    assert kinds(plan) == [CreateNamespace, CreateProject]
    (action,) = plan_of(tenant(**ASKED), replace(settled(tenant(**ASKED)), present=empty())).actions
    assert isinstance(action, ApplyProject)
    assert action.uid == "u"
    assert [each["namespace"] for each in action.child.body["spec"]["destinations"]] == ["acme"]


def empty() -> Any:
    return replace(settled(tenant(**ASKED)).present, digest="", content=b'{"spec":{},"metadata":{}}')


def test_a_project_that_is_in_order_costs_nothing_and_is_named_in_the_status() -> None:
    plan = plan_of(tenant(**ASKED), settled(tenant(**ASKED)))
    assert plan.actions == ()
    assert condition(plan, "ProjectReady")["status"] == "True"
    assert condition(plan, "Ready")["status"] == "True"
    assert plan.status is not None
    assert plan.status["argocd"] == REMEMBERED["argocd"]


@pytest.mark.parametrize("foreign", [namespace("acme", "other"), namespace("acme", None)])
def test_a_namespace_that_is_refused_is_no_destination(foreign: Namespace) -> None:
    (action,) = plan_of(tenant(**ASKED), replace(settled(tenant(**ASKED)), present=empty()), present=(foreign,)).actions
    assert isinstance(action, ApplyProject)
    assert action.child.body["spec"]["destinations"] == []


def test_a_namespace_that_is_being_deleted_stays_a_destination() -> None:
    leaving = namespace("acme", terminating=True)
    assert plan_of(tenant(**ASKED), settled(tenant(**ASKED)), present=(leaving,)).actions == ()


def test_a_foreign_project_is_refused_and_the_rest_goes_on() -> None:
    theirs = replace(settled(tenant(**ASKED)), ours=False)
    theirs = replace(theirs, present=replace(theirs.present, owner=None))
    plan = plan_of(tenant(**ASKED), theirs, present=())
    assert kinds(plan) == [CreateNamespace]
    assert condition(plan, "ProjectReady")["reason"] == "Refused"
    assert condition(plan, "Stalled")["status"] == "True"


def test_what_the_server_refuses_of_a_project_is_shown_once() -> None:
    plan = plan_of(tenant(**ASKED), failures={"AppProject argocd/acme": "POST: denied"})
    assert condition(plan, "ProjectReady")["message"] == "POST: denied"
    assert condition(plan, "Stalled")["message"] == "POST: denied"


@pytest.mark.parametrize(
    ("how", "reason"),
    [({"served": False}, "ArgoCDNotInstalled"), ({"trouble": "LIST: 403"}, "Unknown")],
)
def test_where_nothing_is_known_of_projects_nothing_is_done_about_them(how: dict[str, Any], reason: str) -> None:
    for there in ((), (settled(tenant(**ASKED)),)):
        plan = plan_of(tenant(**ASKED), *there, **how)
        assert plan.actions == ()
        assert condition(plan, "ProjectReady")["reason"] == reason
        assert condition(plan, "Ready")["status"] == "False"
        assert condition(plan, "NamespacesReady")["status"] == "True"


def test_a_project_that_is_not_wanted_any_more_is_deleted_and_what_uses_it_is_said() -> None:
    plan = plan_of(tenant(), settled(tenant(**ASKED)), status=REMEMBERED)
    assert plan.actions == (DeleteProject(("AppProject", "argocd", "acme"), "u", "5"),)
    used = plan_of(tenant(), settled(tenant(**ASKED)), failures={"AppProject argocd/acme": "used by web"})
    assert (condition(used, "ProjectReady")["reason"], condition(used, "ProjectReady")["message"]) == (
        "InUse",
        "used by web",
    )
    assert (condition(used, "Reconciling")["status"], condition(used, "Stalled")["status"]) == ("True", "False")


def test_another_name_leaves_the_first_project_only_when_the_second_is_made() -> None:
    renamed = tenant(argocd={"enabled": True, "project": {"name": "other"}})
    assert kinds(plan_of(renamed, settled(tenant(**ASKED)))) == [CreateProject, DeleteProject]


def test_retain_keeps_a_project_that_is_not_wanted_any_more() -> None:
    assert plan_of(tenant(deletionPolicy="Retain"), settled(tenant(**ASKED))).actions == ()
    plan = plan_of(tenant(deletionPolicy="Retain", deleting=True, **ASKED), settled(tenant(**ASKED)))
    assert kinds(plan) == [RemoveFinalizer]


@pytest.mark.parametrize(("policy", "first"), [("Delete", DeleteNamespace), ("Orphan", ReleaseNamespace)])
def test_the_project_goes_after_the_namespaces_and_before_the_finalizer(policy: str, first: type) -> None:
    body, there = tenant(deletionPolicy=policy, deleting=True, **ASKED), settled(tenant(**ASKED))
    assert kinds(plan_of(body, there)) == [first]
    assert kinds(plan_of(body, there, present=())) == [DeleteProject]
    assert kinds(plan_of(body, present=())) == [RemoveFinalizer]


def test_a_tenant_waits_for_its_project_and_says_for_which_applications() -> None:
    failures = {"AppProject argocd/acme": "used by web"}
    plan = plan_of(tenant(deleting=True, **ASKED), settled(tenant(**ASKED)), present=(), failures=failures)
    assert RemoveFinalizer not in kinds(plan)
    assert condition(plan, "ProjectReady")["reason"] == "InUse"
    assert condition(plan, "Ready")["message"] == "used by web"
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["argocd"]) == ("Terminating", REMEMBERED["argocd"])


def test_a_deleted_tenant_leaves_a_project_that_is_not_its_own() -> None:
    theirs = replace(settled(tenant(**ASKED)), ours=False)
    theirs = replace(theirs, present=replace(theirs.present, owner=None))
    assert kinds(plan_of(tenant(deleting=True, **ASKED), theirs, present=())) == [RemoveFinalizer]


def test_a_deleted_tenant_waits_while_projects_cannot_be_read_and_goes_where_there_are_none() -> None:
    body = tenant(deleting=True)
    blind = plan_of(body, present=(), trouble="LIST: 403", status=REMEMBERED)
    assert blind.actions == ()
    assert blind.status is not None
    assert blind.status["argocd"] == REMEMBERED["argocd"], "or it would be forgotten"
    assert kinds(plan_of(body, present=(), served=False, status=REMEMBERED)) == [RemoveFinalizer]
    assert kinds(plan_of(body, present=(), trouble="not listed yet")) == [RemoveFinalizer]


def test_a_tenant_whose_class_is_missing_keeps_its_project() -> None:
    plan = plan_of(tenant(tenantClassName="gone"), settled(tenant(**ASKED)), status=REMEMBERED)
    assert plan.actions == ()
    assert plan.status is not None
    assert plan.status["argocd"] == REMEMBERED["argocd"]


def test_argo_cds_namespace_is_no_tenants_whatever_its_name_and_label() -> None:
    plan = plan_of(tenant(), present=(), namespace="acme")
    assert plan.actions == ()
    assert "it is a system namespace" in condition(plan, "NamespacesReady")["message"]
