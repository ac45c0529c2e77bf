"""Merging a class under a Tenant: absent inherits, present wins, maps merge, and no mistake loses the tenant."""

from typing import Any

import pytest

from tenantry.classes import Reason, Resolved, TenantNamespace, namespaces_of, resolve
from tenantry.model import DeletionPolicy, TenantClass, parse_class, parse_tenant


def make_class(name: str, *, default: bool = False, **defaults: Any) -> TenantClass:
    annotations = {"tenantry.dev/is-default-class": "true"} if default else {}
    return parse_class({"metadata": {"name": name, "annotations": annotations}, "spec": {"defaults": defaults}})


def resolved(*classes: TenantClass, tenant: str = "acme", **spec: Any) -> Resolved:
    body = {"metadata": {"name": tenant}, "spec": spec}
    return resolve(parse_tenant(body), {found.name: found for found in classes})


def names(found: Resolved) -> list[str]:
    return [namespace.name for namespace in namespaces_of(found)]


# Which class


def test_without_any_class_a_tenant_stands_alone() -> None:
    found = resolved()
    assert (found.class_name, found.problem) == ("", None)
    assert found.spec.deletion_policy is DeletionPolicy.ORPHAN


def test_a_class_that_is_not_the_default_lends_only_to_those_that_name_it() -> None:
    gold = make_class("gold", deletionPolicy="Delete")
    assert resolved(gold).class_name == ""
    named = resolved(gold, tenantClassName="gold")
    assert (named.class_name, named.spec.deletion_policy) == ("gold", DeletionPolicy.DELETE)


def test_the_default_class_lends_to_those_that_name_none() -> None:
    silver, gold = make_class("silver", default=True), make_class("gold")
    assert resolved(silver, gold).class_name == "silver"
    assert resolved(silver, gold, tenantClassName="gold").class_name == "gold"


def test_of_several_default_classes_the_alphabetically_first_lends_and_it_is_said() -> None:
    found = resolved(make_class("zinc", default=True), make_class("gold", default=True), make_class("alu"))
    assert found.class_name == "gold"
    assert found.problem is not None
    assert found.problem.reason is Reason.SEVERAL_DEFAULT_CLASSES
    assert "gold, zinc" in found.problem.message


def test_several_default_classes_do_not_concern_a_tenant_that_names_one() -> None:
    found = resolved(make_class("a", default=True), make_class("b", default=True), tenantClassName="b")
    assert (found.class_name, found.problem) == ("b", None)


def test_a_missing_class_is_a_problem_and_never_the_default_class_instead() -> None:
    found = resolved(make_class("silver", default=True, parameters={"x": 1}), tenantClassName="gold")
    assert found.problem is not None
    assert found.problem.reason is Reason.CLASS_NOT_FOUND
    assert "spec.tenantClassName" in found.problem.message
    assert "'gold'" in found.problem.message
    assert (found.class_name, found.spec.parameters, names(found)) == ("", {}, ["acme"])


# What is merged


@pytest.mark.parametrize(
    ("lent", "own", "expected"),
    [
        ({}, {}, "Orphan"),
        ({"deletionPolicy": "Delete"}, {}, "Delete"),
        ({"deletionPolicy": "Delete"}, {"deletionPolicy": "Retain"}, "Retain"),
        ({}, {"deletionPolicy": "Delete"}, "Delete"),
    ],
)
def test_the_deletion_policy_is_the_tenants_then_the_classs_then_orphan(
    lent: dict[str, Any], own: dict[str, Any], expected: str
) -> None:
    found = resolved(make_class("gold", **lent), tenantClassName="gold", **own)
    assert found.spec.deletion_policy == expected


LENT_ITEMS = {"items": [{"name": "dev"}, {"name": "prod"}]}


@pytest.mark.parametrize(
    ("lent", "own", "expected"),
    [
        ({}, {}, ["acme"]),
        ({}, {"items": []}, []),
        ({}, {"items": [{"name": "x"}]}, ["acme-x"]),
        (LENT_ITEMS, {}, ["acme-dev", "acme-prod"]),
        (LENT_ITEMS, {"items": []}, []),
        (LENT_ITEMS, {"items": [{"name": "x"}]}, ["acme-x"]),
        ({"items": []}, {}, []),
        ({"items": []}, {"items": [{"name": "x"}]}, ["acme-x"]),
    ],
)
def test_a_list_of_namespaces_is_inherited_whole_or_replaced_whole(
    lent: dict[str, Any], own: dict[str, Any], expected: list[str]
) -> None:
    found = resolved(make_class("gold", namespaces=lent), tenantClassName="gold", namespaces=own)
    assert names(found) == expected


def test_metadata_merges_by_key_and_the_nearest_to_the_namespace_wins() -> None:
    gold = make_class(
        "gold",
        namespaces={
            "items": [{"name": "lent", "labels": {"item": "class"}}],
            "metadata": {"labels": {"a": "class", "b": "class", "c": "class"}, "annotations": {"x": "class"}},
        },
    )
    own = {
        "items": [{"name": "dev", "labels": {"c": "item"}, "annotations": {"y": "item"}}, {"name": "prod"}],
        "metadata": {"labels": {"b": "tenant", "c": "tenant"}, "annotations": {"x": "tenant"}},
    }
    assert namespaces_of(resolved(gold, tenantClassName="gold", namespaces=own)) == (
        TenantNamespace(
            "acme-dev", {"a": "class", "b": "tenant", "c": "item"}, {"x": "tenant", "y": "item"}, None, "dev"
        ),
        TenantNamespace("acme-prod", {"a": "class", "b": "tenant", "c": "tenant"}, {"x": "tenant"}, None, "prod"),
    )


def test_the_single_namespace_gets_the_common_metadata() -> None:
    found = resolved(namespaces={"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}})
    assert namespaces_of(found) == (TenantNamespace("acme", {"a": "b"}, {"c": "d"}),)


def test_the_project_is_the_tenants_then_the_classs_then_empty() -> None:
    gold = make_class("gold", argocd={"project": {"name": "shared"}})
    assert resolved().spec.project == ""
    assert resolved(gold, tenantClassName="gold").spec.project == "shared"
    assert resolved(gold, tenantClassName="gold", argocd={"project": {"name": "own"}}).spec.project == "own"


def test_parameters_merge_deeply_but_lists_and_scalars_are_replaced_whole() -> None:
    lent = {"chart": {"replicas": 2, "ports": [1, 2], "size": {"cpu": 1}}, "tier": "gold", "kept": True}
    own = {"chart": {"replicas": 3, "ports": [], "size": "small"}, "tier": {"name": "own"}, "new": None}
    found = resolved(make_class("gold", parameters=lent), tenantClassName="gold", parameters=own)
    assert found.spec.parameters == {
        "chart": {"replicas": 3, "ports": [], "size": "small"},
        "tier": {"name": "own"},
        "kept": True,
        "new": None,
    }


def test_merging_changes_neither_the_class_nor_the_tenant() -> None:
    gold = make_class("gold", parameters={"chart": {"replicas": 2}}, namespaces={"metadata": {"labels": {"a": "b"}}})
    before = gold.model_dump()
    found = resolved(gold, tenantClassName="gold", parameters={"chart": {"extra": 1}})
    assert gold.model_dump() == before
    assert found.tenant.spec.parameters == {"chart": {"extra": 1}}


# The rules inside the namespaces


def lends(field: str, lent: Any, own: Any) -> Resolved:
    """Resolve a Tenant and its class that have `lent` and `own` in a field; None is left out."""
    gold = make_class("gold", **({} if lent is None else {field: lent}))
    return resolved(gold, tenantClassName="gold", **({} if own is None else {field: own}))


@pytest.mark.parametrize(
    ("lent", "own", "scope", "hard"),
    [
        (None, None, "Namespace", {}),
        ({"hard": {"pods": 5}}, None, "Namespace", {"pods": 5}),
        ({"scope": "Tenant", "hard": {"pods": 5}}, {}, "Tenant", {"pods": 5}),
        (
            {"scope": "Tenant", "hard": {"pods": 5, "services": 1}},
            {"hard": {"pods": 9}},
            "Tenant",
            {"pods": 9, "services": 1},
        ),
        ({"scope": "Tenant", "hard": {"pods": 5}}, {"scope": "Namespace"}, "Namespace", {"pods": 5}),
        ({"scope": "Tenant", "hard": {"pods": 5}}, {"hard": {}}, "Tenant", {}),
        ({"hard": {}}, {"hard": {"pods": 9}}, "Namespace", {"pods": 9}),
    ],
)
def test_a_quota_merges_by_resource_and_an_empty_one_is_none(
    lent: Any, own: Any, scope: str, hard: dict[str, int]
) -> None:
    found = lends("resourceQuotas", lent, own)
    assert (found.spec.quota_scope, found.spec.quota) == (scope, hard)


def names_of(*names: str) -> dict[str, Any]:
    return {"items": [{"name": name, "limits": [{"type": "Pod"}], "spec": {}} for name in names]}


@pytest.mark.parametrize("field", ["limitRanges", "networkPolicies"])
@pytest.mark.parametrize(
    ("lent", "own", "expected"),
    [
        (None, None, []),
        (names_of("a", "b"), None, ["a", "b"]),
        (names_of("a", "b"), {}, ["a", "b"]),
        (names_of("a", "b"), names_of(), []),
        (names_of("a", "b"), names_of("c"), ["c"]),
        (None, names_of("c"), ["c"]),
    ],
)
def test_limits_and_network_policies_are_inherited_whole_or_replaced_whole(
    field: str, lent: Any, own: Any, expected: list[str]
) -> None:
    spec = lends(field, lent, own).spec
    found = spec.limit_ranges if field == "limitRanges" else spec.network_policies
    assert [entry.name for entry in found] == expected


def test_further_role_bindings_are_inherited_whole_or_replaced_whole() -> None:
    lent = [{"name": "a", "clusterRoleName": "deployer", "subjects": []}]
    assert [entry.name for entry in lends("additionalRoleBindings", lent, None).spec.role_bindings] == ["a"]
    assert lends("additionalRoleBindings", lent, []).spec.role_bindings == ()
    assert lends("additionalRoleBindings", None, None).spec.role_bindings == ()


@pytest.mark.parametrize(
    ("lent", "own", "expected"),
    [
        (None, None, "None"),
        ({"isolation": "Tenant"}, {}, "Tenant"),
        ({"isolation": "Tenant"}, {"isolation": "None"}, "None"),
        (None, {"isolation": "Namespace"}, "Namespace"),
    ],
)
def test_the_isolation_is_the_tenants_then_the_classs_then_none(lent: Any, own: Any, expected: str) -> None:
    assert lends("networkPolicies", lent, own).spec.isolation == expected


def test_pod_security_is_a_label_of_every_namespace_that_no_other_label_can_replace() -> None:
    prefix = "pod-security.kubernetes.io"
    free = {f"{prefix}/enforce": "privileged", "a": "b"}  # which the schema refuses
    lent = {
        "items": [{"name": "dev", "labels": free}],
        "metadata": {"labels": free},
        "podSecurity": {"enforce": "baseline", "warn": "baseline"},
    }
    (item,) = namespaces_of(lends("namespaces", lent, {"podSecurity": {"warn": "restricted", "audit": "restricted"}}))
    assert item.labels == {
        "a": "b",
        f"{prefix}/enforce": "baseline",
        f"{prefix}/warn": "restricted",
        f"{prefix}/audit": "restricted",
    }


def test_the_single_namespace_has_pod_security_too() -> None:
    (namespace,) = namespaces_of(resolved(namespaces={"podSecurity": {"enforce": "restricted"}}))
    assert namespace.labels == {"pod-security.kubernetes.io/enforce": "restricted"}


def test_a_namespace_knows_its_own_quota_and_none_from_an_empty_one() -> None:
    items = [
        {"name": "a"},
        {"name": "b", "resourceQuota": {"hard": {}}},
        {"name": "c", "resourceQuota": {"hard": {"pods": 1}}},
    ]
    assert [found.quota for found in namespaces_of(resolved(namespaces={"items": items}))] == [None, {}, {"pods": 1}]


# Names that can't be


@pytest.mark.parametrize("tenant", ["kube-system", "default", "argocd"])
def test_a_system_namespace_is_a_problem_even_for_a_tenant_that_slipped_past_admission(tenant: str) -> None:
    found = resolved(tenant=tenant)
    assert found.problem is not None
    assert found.problem.reason is Reason.INVALID_NAMESPACE_NAME
    assert tenant in found.problem.message


def test_a_class_that_makes_a_tenants_namespace_name_too_long_is_a_problem() -> None:
    gold = make_class("gold", default=True, namespaces={"items": [{"name": "ok"}, {"name": "production"}]})
    found = resolved(gold, tenant="t" * 60)
    assert found.problem is not None
    assert found.problem.reason is Reason.INVALID_NAMESPACE_NAME
    assert f"namespaces {'t' * 60}-production: longer than 63" in found.problem.message.replace(f"{'t' * 60}-ok, ", "")
    assert resolved(gold, tenant="t" * 52).problem is None


def test_an_unusable_name_outranks_several_default_classes_and_a_missing_class_outranks_both() -> None:
    defaults = (make_class("a", default=True), make_class("b", default=True))
    unusable = resolved(*defaults, tenant="default").problem
    missing = resolved(*defaults, tenant="default", tenantClassName="none").problem
    assert unusable is not None
    assert missing is not None
    assert (unusable.reason, missing.reason) == (Reason.INVALID_NAMESPACE_NAME, Reason.CLASS_NOT_FOUND)


def test_a_class_can_impose_what_a_project_may_have_but_not_the_name_of_one_s_own() -> None:
    argocd = {"enabled": True, "project": {"name": "shared", "sourceRepos": ["https://git.example.com/*"]}}
    body = {"metadata": {"name": "gold"}, "spec": {"overrides": {"argocd": argocd}}}
    asked = {"enabled": False, "project": {"sourceRepos": ["*"]}}
    found = resolved(parse_class(body), tenantClassName="gold", argocd=asked).spec
    assert found.app_project is not None
    assert (found.project, found.app_project.source_repos) == ("acme", ("https://git.example.com/*",))
