"""The AppProject that is built for a tenant, and whose an AppProject in the cluster is."""

from typing import Any

import pytest

from tenantry.classes import resolve
from tenantry.model import parse_class, parse_tenant
from tenantry.names import FIELD_MANAGER
from tenantry_operator.children import project
from tenantry_operator.children.child import Child
from tenantry_operator.children.project import FoundProject, observe

SERVER = "https://kubernetes.default.svc"


def built(*, lent: dict[str, Any] | None = None, namespaces: tuple[str, ...] = ("acme",), **spec: Any) -> Child:
    body = {"metadata": {"name": "acme"}, "spec": {"tenantClassName": "gold", **spec}}
    gold = parse_class({"metadata": {"name": "gold"}, "spec": {"defaults": {"argocd": lent or {}}}})
    resolved = resolve(parse_tenant(body), {"gold": gold})
    assert resolved.spec.app_project is not None
    return project.build(
        resolved.spec.app_project,
        resolved.tenant.spec.owners,
        tenant="acme",
        name=resolved.spec.project,
        argocd="argocd",
        namespaces=namespaces,
    )


def asked(**fields: Any) -> dict[str, Any]:
    return {"argocd": {"enabled": True, "project": fields}}


def found(child: Child, *, manager: str = FIELD_MANAGER, **labels: str) -> FoundProject:
    """Return the built AppProject as the API server gives it back, with labels that somebody else has changed."""
    metadata = child.body["metadata"]
    kept: dict[str, Any] = {f"f:{key}": {} for key in metadata["labels"] if key not in labels}
    noted: dict[str, Any] = {f"f:{key}": {} for key in metadata["annotations"]}
    fields = [{"manager": manager, "fieldsV1": {"f:metadata": {"f:labels": kept, "f:annotations": noted}}}]
    there = {"uid": "u", "resourceVersion": "5", "managedFields": fields}
    return observe({**child.body, "metadata": {**metadata, **there, "labels": {**metadata["labels"], **labels}}})


def test_by_default_nothing_is_allowed_but_the_namespaces_and_what_limits_a_tenant_is_forbidden() -> None:
    child = built(**asked(), namespaces=("acme-dev", "acme-prod"))
    spec = child.body["spec"]
    assert child.key == ("AppProject", "argocd", "acme")
    assert spec["destinations"] == [{"server": SERVER, "namespace": name} for name in ("acme-dev", "acme-prod")]
    assert (spec["sourceRepos"], spec["clusterResourceWhitelist"], spec["roles"]) == ([], [], [])
    forbidden = ["ResourceQuota", "LimitRange", "NetworkPolicy", "Role", "RoleBinding"]
    assert [each["kind"] for each in spec["namespaceResourceBlacklist"]] == forbidden
    assert "namespaceResourceWhitelist" not in spec, "absent is everything; empty would be nothing"
    assert "destinationServiceAccounts" not in spec


def test_a_tenants_lists_win_whole_over_its_classs() -> None:
    kinds = [{"group": "apps", "kind": "Deployment"}]
    lent = {"enabled": True, "project": {"sourceRepos": ["lent"], "namespaceResourceWhitelist": kinds}}
    spec = built(lent=lent, argocd={"project": {"sourceRepos": [], "namespaceResourceBlacklist": []}}).body["spec"]
    assert (spec["sourceRepos"], spec["namespaceResourceBlacklist"]) == ([], [])
    assert spec["namespaceResourceWhitelist"] == kinds


def test_a_name_that_a_class_lends_is_shared_and_no_project_of_a_tenants_own() -> None:
    lent = {"enabled": True, "project": {"name": "shared"}}
    assert built(lent=lent).key[2] == "acme"
    assert built(lent=lent, argocd={"project": {"name": "mine"}}).key[2] == "mine"


def test_a_sync_window_is_as_it_was_written() -> None:
    window = {"kind": "deny", "schedule": "0 22 * * *", "duration": "1h", "namespaces": ["*"], "manualSync": False}
    assert built(**asked(syncWindows=[window])).body["spec"]["syncWindows"] == [window]


def owner(name: str, role: str = "owner", kind: str = "Group") -> dict[str, Any]:
    return {"kind": kind, "name": name, "role": role}


def test_roles_hold_the_groups_and_are_limited_to_the_project() -> None:
    owners = [owner("a"), owner("b", "editor"), owner("c", "viewer"), owner("jane", kind="User")]
    roles = {role["name"]: role for role in built(owners=owners, **asked(name="p")).body["spec"]["roles"]}
    assert {name: role["groups"] for name, role in roles.items()} == {"owner": ["a"], "editor": ["b"], "viewer": ["c"]}
    assert roles["owner"]["policies"] == [
        "p, proj:p:owner, applications, *, p/*, allow",
        "p, proj:p:owner, logs, get, p/*, allow",
    ]
    actions = [policy.split(", ")[3] for policy in roles["editor"]["policies"]]
    assert actions == ["get", "sync", "update", "action/*", "get"]
    assert len(roles["viewer"]["policies"]) == 2


def test_a_groups_name_stays_one_field_of_a_line_of_csv() -> None:
    names = ["cn=a,o=b", 'x", role:admin, "', " padded", "x, role:admin"]
    (role,) = built(owners=[owner(name) for name in names], **asked()).body["spec"]["roles"]
    assert role["groups"] == ['"cn=a,o=b"', '"x, role:admin"']
    owners = parse_tenant({"metadata": {"name": "a"}, "spec": {"owners": [owner(name) for name in names]}}).spec.owners
    assert len(project.group_refusals(owners)) == 2


def test_impersonation_names_the_deployer_of_each_namespace() -> None:
    spec = built(argocd={"enabled": True, "impersonation": True}, namespaces=("a", "b")).body["spec"]
    assert spec["destinationServiceAccounts"] == [
        {"server": SERVER, "namespace": name, "defaultServiceAccount": "tenantry-deployer"} for name in ("a", "b")
    ]


def test_a_project_is_created_with_nothing_allowed() -> None:
    assert project.seed("acme", "p", argocd="argocd")["spec"] == {}


def test_only_what_our_field_manager_labelled_is_a_tenants() -> None:
    child = built(**asked())
    assert found(child).owner == "acme"
    copied = found(child, manager="somebody")
    assert (copied.owner, copied.ours) == (None, False)
    assert b"spec" not in copied.present.content, "it is kept trimmed"
    assert "it exists and is not Tenantry's" in project.refusal(child, "acme", copied)


def test_a_project_of_another_tenant_is_refused() -> None:
    child = built(**asked())
    assert "belongs to the tenant acme" in project.refusal(child, "other", found(child))
    assert project.refusal(child, "acme", found(child)) == ""
    assert project.refusal(child, "acme", None) == ""


def test_argo_cds_own_project_is_refused_whether_it_is_there_or_not() -> None:
    child = built(**asked(name="default"))
    assert "Argo CD's own" in project.refusal(child, "acme", None)
    assert found(child).owner is None
    assert "Argo CD's own" in project.refusal(child, "acme", found(child))


def test_a_tenant_label_changed_by_hand_is_put_right_by_the_tenant_whose_project_it_is_and_no_other() -> None:
    child = built(**asked())
    for also in ({}, {"app.kubernetes.io/managed-by": "somebody"}):
        stray = found(child, **{"tenantry.dev/tenant": "mallory"}, **also)
        assert stray.owner is None
        assert project.refusal(child, "acme", stray) == ""
        assert project.refusal(built(**asked(sourceRepos=["*"])), "mallory", stray)


@pytest.mark.parametrize("enabled", [None, False])
def test_without_enabled_no_project_is_made_and_the_name_is_passed_on(enabled: bool | None) -> None:
    argocd = {"project": {"name": "theirs"}} if enabled is None else {"enabled": False, "project": {"name": "theirs"}}
    resolved = resolve(parse_tenant({"metadata": {"name": "acme"}, "spec": {"argocd": argocd}}), {})
    assert (resolved.spec.project, resolved.spec.app_project) == ("theirs", None)
