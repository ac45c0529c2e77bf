"""RoleBindings: owners and further subjects get their ClusterRole in the tenant's namespaces, and nobody else does."""

from typing import Any

import pytest

from tenantry.classes import namespaces_of, resolve
from tenantry.model import parse_tenant
from tenantry.resources import ROLE_BINDINGS
from tenantry_operator.children.wanted import Wanted, wanted_children

RBAC = "rbac.authorization.k8s.io"
JANE = {"kind": "User", "name": "jane"}
ADMINS = {"kind": "Group", "name": "oidc:admins"}
ROBOT = {"kind": "ServiceAccount", "name": "robot", "namespace": "acme-dev"}


def wanted(name: str = "acme", **spec: Any) -> Wanted:
    spec = {"namespaces": {"items": [{"name": "dev"}]}, **spec}
    found = resolve(parse_tenant({"metadata": {"name": name}, "spec": spec}), {})
    return wanted_children(found, [namespace.name for namespace in namespaces_of(found)])


def bindings(found: Wanted) -> dict[str, tuple[str, list[str]]]:
    return {
        body["metadata"]["name"]: (body["roleRef"]["name"], [subject["name"] for subject in body["subjects"]])
        for _, body in found.bodies
    }


def test_each_role_of_owners_is_one_binding_to_its_cluster_role() -> None:
    owners = [{**JANE, "role": "viewer"}, {**ADMINS, "role": "owner"}, {**ROBOT, "role": "owner"}]
    found = wanted(owners=[*owners, {"kind": "User", "name": "joe", "role": "editor"}])
    assert bindings(found) == {
        "tenantry-owner": ("admin", ["oidc:admins", "robot"]),
        "tenantry-editor": ("edit", ["joe"]),
        "tenantry-viewer": ("view", ["jane"]),
    }
    assert found.problems == ()


def test_a_binding_is_a_complete_object_with_subjects_as_the_api_server_stores_them() -> None:
    found = wanted(owners=[{**subject, "role": "owner"} for subject in (JANE, ADMINS, ROBOT)])
    ((_, body),) = found.bodies
    assert body == {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "tenantry-owner", "namespace": "acme-dev"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "admin"},
        "subjects": [{**JANE, "apiGroup": RBAC}, {**ADMINS, "apiGroup": RBAC}, ROBOT],
    }


def test_nobody_means_no_binding() -> None:
    further = [{"name": "deployers", "clusterRoleName": "deployer", "subjects": []}]
    assert wanted(owners=[], additionalRoleBindings=further).bodies == ()


def test_a_further_binding_is_named_after_its_role_too_since_a_binding_can_not_change_it() -> None:
    def name(role: str) -> list[str]:
        further = [{"name": "owner", "clusterRoleName": role, "subjects": [JANE]}]
        return list(bindings(wanted(additionalRoleBindings=further)))

    assert (name("deployer"), name("view")) == (["tenantry-owner:deployer"], ["tenantry-owner:view"])


def test_the_longest_names_make_a_name_that_an_object_can_have() -> None:
    further = [{"name": "n" * 63, "clusterRoleName": "r" * 128, "subjects": [JANE]}]
    (name,) = bindings(wanted(additionalRoleBindings=further))
    assert len(name) <= 253


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        ({"kind": "Group", "name": "system:masters"}, "Group system:masters: users and groups of the system get no"),
        ({"kind": "Group", "name": "system:authenticated"}, "Group system:authenticated: users and groups of the"),
        ({"kind": "User", "name": "system:admin"}, "User system:admin: users and groups of the system get no access"),
        (
            {"kind": "ServiceAccount", "name": "robot", "namespace": "other-dev"},
            "ServiceAccount other-dev/robot: its namespace other-dev is not one of this tenant's; "
            "name a ServiceAccount in acme-dev",
        ),
        (
            {"kind": "ServiceAccount", "name": "default", "namespace": "kube-system"},
            "ServiceAccount kube-system/default: its namespace kube-system is not one of this tenant's",
        ),
        ({"kind": "ServiceAccount", "name": "robot", "namespace": "acme"}, "its namespace acme is not one of this"),
    ],
)
def test_who_must_not_have_access_is_left_out_and_named_and_the_others_have_theirs(
    subject: dict[str, str], why: str
) -> None:
    further = [{"name": "x", "clusterRoleName": "deployer", "subjects": [subject, JANE]}]
    found = wanted(owners=[{**subject, "role": "owner"}, {**JANE, "role": "owner"}], additionalRoleBindings=further)
    assert bindings(found) == {"tenantry-owner": ("admin", ["jane"]), "tenantry-x:deployer": ("deployer", ["jane"])}
    (_, of_owners), (_, of_further) = found.problems
    assert of_owners.startswith("owners: ")
    assert of_further.startswith("additionalRoleBindings x: ")
    assert why in of_owners
    assert why in of_further


@pytest.mark.parametrize("role", ["cluster-admin", "system:node", "system:kube-scheduler"])
def test_a_role_of_the_cluster_itself_is_not_bound(role: str) -> None:
    found = wanted(additionalRoleBindings=[{"name": "x", "clusterRoleName": role, "subjects": [JANE]}])
    assert found.bodies == ()
    ((kind, problem),) = found.problems
    assert kind == ROLE_BINDINGS
    assert f"additionalRoleBindings x: the ClusterRole {role} is the cluster's own" in problem


def test_a_tenant_without_namespaces_is_told_that_no_service_account_can_be_its_own() -> None:
    found = wanted(namespaces={"items": []}, owners=[{**ROBOT, "role": "owner"}])
    assert found.bodies == ()
    assert "a namespace of its own, of which it has none" in found.problems[0][1]


def test_a_system_namespace_is_no_tenants_own_even_where_its_name_says_so() -> None:
    owner = {"kind": "ServiceAccount", "name": "robot", "namespace": "kube-system", "role": "owner"}
    found = wanted(name="kube", namespaces={"items": [{"name": "system"}, {"name": "x"}]}, owners=[owner])
    assert found.bodies == ()
    assert "its namespace kube-system is not one of this tenant's" in found.problems[0][1]


def test_a_namespace_that_was_asked_for_and_refused_is_not_the_tenants_own() -> None:
    account = {"kind": "ServiceAccount", "name": "deployer", "namespace": "acme-theirs", "role": "owner"}
    spec = {"owners": [account], "namespaces": {"items": [{"name": "own"}, {"name": "theirs"}]}}
    found = resolve(parse_tenant({"metadata": {"name": "acme"}, "spec": spec}), {})
    asked = wanted_children(found, ["acme-own"])
    assert asked.bodies == ()
    assert [sentence for _, sentence in asked.problems] == [
        "owners: ServiceAccount acme-theirs/deployer: its namespace acme-theirs is not one of this tenant's; name a "
        "ServiceAccount in acme-own"
    ]
