"""What the operator puts inside a tenant's namespaces, on a real API server with its real controllers."""

import asyncio
import secrets
from typing import Any

import pytest

from tenantry.errors import Forbidden, NotFound
from tenantry.kube import Kube
from tenantry.resources import (
    CONFIG_MAPS,
    LIMIT_RANGES,
    NAMESPACES,
    NETWORK_POLICIES,
    RESOURCE_QUOTAS,
    ROLE_BINDINGS,
    TENANTS,
    Resource,
)
from tests.integration.test_operator import absent, apply, condition, namespace, ready
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("operator")

EVERYTHING: dict[str, Any] = {
    "resourceQuotas": {"hard": {"configmaps": "3", "limits.cpu": "2000m"}},
    "limitRanges": {"items": [{"name": "defaults", "limits": [{"type": "Container", "default": {"cpu": "0.5"}}]}]},
    "networkPolicies": {
        "isolation": "Tenant",
        "items": [{"name": "web", "spec": {"podSelector": {}, "ingress": [{}]}}],
    },
    "owners": [{"kind": "User", "name": "ada", "role": "owner"}, {"kind": "Group", "name": "qa", "role": "viewer"}],
    "additionalRoleBindings": [
        {"name": "extra", "clusterRoleName": "view", "subjects": [{"kind": "Group", "name": "audit"}]}
    ],
}
KINDS = (RESOURCE_QUOTAS, LIMIT_RANGES, NETWORK_POLICIES, ROLE_BINDINGS)


@pytest.fixture
def name() -> str:
    """A tenant name of the test's own."""
    return f"c{secrets.token_hex(4)}"


async def children(kube: Kube, name: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what is in a namespace of the kinds that the operator makes, by kind and name."""
    found = {}
    for resource in KINDS:
        for item in (await kube.list(resource, name))["items"]:
            found[resource.kind, item["metadata"]["name"]] = item
    return found


async def test_a_tenant_gets_quota_limits_policies_and_access_in_each_namespace(kube: Kube, name: str) -> None:
    await apply(kube, name, namespaces={"items": [{"name": "a"}, {"name": "b"}]}, **EVERYTHING)
    tenant = await ready(kube, name)
    for kind in ("QuotaReady", "NetworkPoliciesReady", "AccessReady"):
        assert condition(tenant, kind)["status"] == "True"
    for item in ("a", "b"):
        found = await children(kube, f"{name}-{item}")
        assert found["ResourceQuota", "tenantry"]["spec"]["hard"] == {"configmaps": "3", "limits.cpu": "2"}
        assert found["RoleBinding", "tenantry-owner"]["roleRef"]["name"] == "admin"
        assert {kind for kind, _ in found} == {resource.kind for resource in KINDS}


async def test_an_owner_can_work_in_the_namespace_and_not_beyond_its_quota(kube: Kube, name: str) -> None:
    await apply(kube, name, **EVERYTHING)
    await ready(kube, name)

    async def may(namespace: str) -> bool:
        resource = Resource(
            "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
        )
        attributes = {"namespace": namespace, "verb": "create", "resource": "configmaps"}
        review = await kube.create(resource, {"spec": {"user": "ada", "resourceAttributes": attributes}})
        return bool(review["status"]["allowed"])

    async def allowed() -> bool:
        return await may(name)

    await eventually(allowed, within=5, what="ada may create ConfigMaps in the tenant's namespace")
    assert not await may("default")

    async def quota_is_counted() -> bool:
        quota = (await children(kube, name))["ResourceQuota", "tenantry"]
        return "configmaps" in quota.get("status", {}).get("used", {})

    await eventually(quota_is_counted, within=20, what="the quota controller has counted")
    # The namespace has kube-root-ca.crt where a controller makes it; either way the fourth is one too many.
    made = [kube.create(CONFIG_MAPS, {"metadata": {"name": f"c{number}"}}, name) for number in range(4)]
    outcomes = await asyncio.gather(*made, return_exceptions=True)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, Forbidden)]
    assert refusals, outcomes
    assert "exceeded quota" in str(refusals[0])


@pytest.mark.parametrize("resource", KINDS, ids=lambda resource: resource.kind)
async def test_a_child_deleted_by_hand_comes_back(kube: Kube, name: str, resource: Resource) -> None:
    await apply(kube, name, **EVERYTHING)
    await ready(kube, name)
    before = {key: each["metadata"]["uid"] for key, each in (await children(kube, name)).items()}
    for kind, child in before:
        if kind == resource.kind:
            await kube.delete(resource, child, name)

    async def recreated() -> bool:
        after = {key: each["metadata"]["uid"] for key, each in (await children(kube, name)).items()}
        return after.keys() == before.keys() and all(
            (after[key] != uid) == (key[0] == resource.kind) for key, uid in before.items()
        )

    await eventually(recreated, within=10, what=f"every {resource.kind} is there again, and nothing else was touched")


async def test_a_child_changed_by_hand_is_put_back_and_additions_stay(kube: Kube, name: str) -> None:
    await apply(kube, name, **EVERYTHING)
    await ready(kube, name)
    patch = {"metadata": {"annotations": {"theirs": "x"}}, "spec": {"hard": {"configmaps": "900"}}}
    await kube.merge_patch(RESOURCE_QUOTAS, "tenantry", patch, name, field_manager="somebody")

    async def repaired() -> bool:
        quota = await kube.get(RESOURCE_QUOTAS, "tenantry", name)
        return bool(quota["spec"]["hard"]["configmaps"] == "3" and quota["metadata"]["annotations"]["theirs"] == "x")

    await eventually(repaired, within=10, what="the quota is put back")


async def test_what_leaves_the_spec_leaves_the_namespace_and_foreign_objects_stay(kube: Kube, name: str) -> None:
    await apply(kube, name, **EVERYTHING)
    await ready(kube, name)
    foreign = {"metadata": {"name": "theirs"}, "spec": {"hard": {"secrets": "9"}}}
    await kube.create(RESOURCE_QUOTAS, foreign, name)
    await apply(kube, name)
    await ready(kube, name)
    assert set(await children(kube, name)) == {("ResourceQuota", "theirs")}


async def test_an_object_of_our_name_that_is_not_ours_is_refused_and_untouched(kube: Kube, name: str) -> None:
    await apply(kube, name)
    await ready(kube, name)
    theirs = {"metadata": {"name": "tenantry"}, "spec": {"hard": {"configmaps": "7"}}}
    before = await kube.create(RESOURCE_QUOTAS, theirs, name)
    await apply(kube, name, **EVERYTHING)
    tenant = await ready(kube, name, status="False")
    assert condition(tenant, "QuotaReady")["status"] == "False"
    after = await kube.get(RESOURCE_QUOTAS, "tenantry", name)
    assert after["spec"] == before["spec"]
    assert "labels" not in after["metadata"]
    assert ("RoleBinding", "tenantry-owner") in await children(kube, name), "the rest goes on"
    await kube.delete(RESOURCE_QUOTAS, "tenantry", name)
    await kube.merge_patch(TENANTS, name, {"metadata": {"annotations": {"look": "again"}}})
    await ready(kube, name)


async def test_a_total_that_is_overdrawn_is_said_and_changes_no_quota(kube: Kube, name: str) -> None:
    def items(each: str) -> dict[str, Any]:
        return {"items": [{"name": item, "resourceQuota": {"hard": {"pods": each}}} for item in ("a", "b")]}

    await apply(kube, name, namespaces=items("4"), resourceQuotas={"scope": "Tenant", "hard": {"pods": "8"}})
    await ready(kube, name)
    await apply(kube, name, namespaces=items("5"), resourceQuotas={"scope": "Tenant", "hard": {"pods": "8"}})
    tenant = await ready(kube, name, status="False")
    assert "pods 10, 2 more than the tenant's 8" in condition(tenant, "QuotaReady")["message"]
    assert (await kube.get(RESOURCE_QUOTAS, "tenantry", f"{name}-a"))["spec"]["hard"] == {"pods": "4"}


async def test_pod_security_is_set_on_every_namespace(kube: Kube, name: str) -> None:
    await apply(kube, name, namespaces={"podSecurity": {"enforce": "restricted"}})
    await ready(kube, name)
    assert (await namespace(kube, name))["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


async def test_an_orphaned_namespace_keeps_nothing_of_the_tenant(kube: Kube, name: str) -> None:
    await apply(kube, name, **EVERYTHING)
    await ready(kube, name)
    await kube.delete(TENANTS, name)
    await absent(kube, TENANTS, name)
    assert await children(kube, name) == {}
    assert (await namespace(kube, name))["labels"]["tenantry.dev/orphaned-from"] == name


async def test_a_settled_tenant_with_children_costs_no_write(kube: Kube, name: str) -> None:
    await apply(kube, name, **EVERYTHING)
    settled = await ready(kube, name)
    before = {key: each["metadata"]["managedFields"] for key, each in (await children(kube, name)).items()}
    await kube.merge_patch(TENANTS, name, {"metadata": {"annotations": {"touched": "1"}}})
    await apply(kube, f"{name}x")
    await ready(kube, f"{name}x")
    assert (await kube.get(TENANTS, name))["status"] == settled["status"]
    after = {key: each["metadata"]["managedFields"] for key, each in (await children(kube, name)).items()}
    for key, fields in before.items():
        mine = [entry for entry in fields if entry["manager"] == "tenantry-operator"]
        assert [entry for entry in after[key] if entry["manager"] == "tenantry-operator"] == mine


async def test_a_deleted_tenant_under_delete_takes_everything_along(kube: Kube, name: str) -> None:
    await apply(kube, name, deletionPolicy="Delete", **EVERYTHING)
    await ready(kube, name)
    await kube.delete(TENANTS, name)
    await absent(kube, TENANTS, name)
    with pytest.raises(NotFound):
        await kube.get(NAMESPACES, name)
