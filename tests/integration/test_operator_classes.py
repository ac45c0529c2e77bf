"""What a class demands, and which namespaces a tenant gets and keeps, with the operator on a real API server."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tenantry.kube import Kube
from tenantry.resources import NAMESPACES, NETWORK_POLICIES, RESOURCE_QUOTAS, TENANT_CLASSES, TENANTS
from tests.integration.test_operator import absent, apply, condition, namespace, ready
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def name() -> str:
    """A tenant name of the test's own."""
    return f"k{secrets.token_hex(4)}"


@pytest.fixture
async def gold(kube: Kube, name: str) -> AsyncIterator[str]:
    """The name of a class of the test's own, not made yet."""
    yield f"{name}-gold"
    await kube.delete(TENANTS, name)
    await absent(kube, TENANTS, name)
    await kube.delete(TENANT_CLASSES, f"{name}-gold")


async def make_class(kube: Kube, name: str, **spec: Any) -> None:
    await kube.apply(TENANT_CLASSES, {"metadata": {"name": name}, "spec": spec}, field_manager="test")


def says(tenant: dict[str, Any], kind: str = "Stalled") -> str:
    return str(condition(tenant, kind)["message"])


def entries(tenant: dict[str, Any]) -> dict[str, bool]:
    return {entry["name"]: entry["ready"] for entry in tenant["status"]["namespaces"]}


async def hard(kube: Kube, name: str) -> dict[str, str]:
    found: dict[str, str] = (await kube.get(RESOURCE_QUOTAS, "tenantry", name))["spec"]["hard"]
    return found


async def test_an_override_wins_over_the_tenant_and_its_end_gives_the_tenant_its_say_again(
    kube: Kube, name: str, gold: str
) -> None:
    await make_class(kube, gold, overrides={"networkPolicies": {"isolation": "Tenant"}})
    await apply(kube, name, tenantClassName=gold, networkPolicies={"isolation": "None"})
    await ready(kube, name)
    await kube.get(NETWORK_POLICIES, "tenantry-isolation", name)
    await make_class(kube, gold)

    async def open_again() -> bool:
        return not (await kube.list(NETWORK_POLICIES, name))["items"]

    await eventually(open_again, within=10, what="the policy is gone")


async def test_a_tenant_over_its_limits_keeps_what_it_has_and_gets_nothing_more(
    kube: Kube, name: str, gold: str
) -> None:
    await make_class(kube, gold, limits={"resourceQuotas": {"hard": {"configmaps": 10}}})
    await apply(
        kube,
        name,
        tenantClassName=gold,
        namespaces={"items": [{"name": "a"}]},
        resourceQuotas={"hard": {"configmaps": 8}},
    )
    await ready(kube, name)
    await apply(
        kube,
        name,
        tenantClassName=gold,
        namespaces={"items": [{"name": "a"}, {"name": "b"}]},
        resourceQuotas={"hard": {"configmaps": 6}},
    )
    tenant = await ready(kube, name, status="False")
    assert f"over the limits of TenantClass {gold}: configmaps 12 is 2 more than the 10 that is allowed" in says(tenant)
    assert condition(tenant, "QuotaReady")["status"] == "False"
    assert entries(tenant) == {f"{name}-a": True, f"{name}-b": False}
    assert await hard(kube, f"{name}-a") == {"configmaps": "8"}
    await absent(kube, NAMESPACES, f"{name}-b")
    await make_class(kube, gold, limits={"resourceQuotas": {"hard": {"configmaps": 12}}})
    await ready(kube, name)
    assert [await hard(kube, f"{name}-{item}") for item in ("a", "b")] == [{"configmaps": "6"}] * 2


async def test_a_quota_of_namespaces_refuses_the_last_of_the_list_and_removes_nothing(
    kube: Kube, name: str, gold: str
) -> None:
    await make_class(kube, gold, limits={"namespaces": {"quota": 2}})
    three = [{"name": item} for item in ("a", "b", "c")]
    await apply(kube, name, tenantClassName=gold, deletionPolicy="Delete", namespaces={"quota": 3, "items": three})
    tenant = await ready(kube, name, status="False")
    assert f"3 is 1 more than the 2 that TenantClass {gold} allows" in says(tenant)
    assert f"3 namespaces are 1 more than the 2 that the tenant may have; not made: {name}-c" in says(tenant)
    assert entries(tenant) == {f"{name}-a": True, f"{name}-b": True, f"{name}-c": False}
    await absent(kube, NAMESPACES, f"{name}-c")
    await make_class(kube, gold, limits={"namespaces": {"quota": 0}})

    async def told() -> dict[str, Any] | None:
        found = await kube.get(TENANTS, name)
        return found if "3 more than the 0" in says(found) else None

    tenant = await eventually(told, within=10, what="the Tenant says that it is over its quota")
    assert entries(tenant) == {f"{name}-a": True, f"{name}-b": True, f"{name}-c": False}
    for item in ("a", "b"):
        assert "deletionTimestamp" not in await namespace(kube, f"{name}-{item}")


async def test_parameters_that_the_schema_does_not_accept_hold_up_nothing_else(
    kube: Kube, name: str, gold: str
) -> None:
    replicas = {"type": "integer", "maximum": 5}
    schema = {"type": "object", "required": ["tier"], "properties": {"replicas": replicas, "tier": {"type": "string"}}}
    await make_class(kube, gold, parametersSchema={"openAPIV3Schema": schema})
    await apply(kube, name, tenantClassName=gold, parameters={"replicas": 7}, resourceQuotas={"hard": {"pods": 1}})
    tenant = await ready(kube, name, status="False")
    found = condition(tenant, "ParametersValid")
    assert (found["status"], found["reason"]) == ("False", "NotAccepted")
    assert found["message"] == (
        f"not accepted by TenantClass {gold}: parameters.tier is missing and has no default; "
        "parameters.replicas holds 7; it accepts a number of at most 5"
    )
    assert await hard(kube, name) == {"pods": "1"}
    await kube.merge_patch(TENANTS, name, {"spec": {"parameters": {"replicas": 5, "tier": "a"}}})
    assert condition(await ready(kube, name), "ParametersValid")["status"] == "True"


async def test_a_class_whose_schema_can_t_be_used_leaves_its_tenants_as_they_are(
    kube: Kube, name: str, gold: str
) -> None:
    items = {"namespaces": {"items": [{"name": "a"}]}}
    await make_class(kube, gold, defaults=items)
    await apply(kube, name, tenantClassName=gold)
    await ready(kube, name)
    await make_class(kube, gold, parametersSchema={"openAPIV3Schema": {"type": "object", "oneOf": []}})

    async def told() -> dict[str, Any] | None:
        tenant = await kube.get(TENANTS, name)
        return tenant if "oneOf is not supported" in says(tenant, "ClassResolved") else None

    tenant = await eventually(told, within=10, what="the Tenant says what is wrong with its class")
    assert entries(tenant) == {f"{name}-a": True}
    assert (await namespace(kube, f"{name}-a"))["labels"]["tenantry.dev/tenant"] == name
    await make_class(kube, gold, defaults=items)
    await ready(kube, name)


@pytest.mark.parametrize("policy", ["Delete", "Orphan"])
async def test_another_class_with_another_pattern_costs_no_namespace(
    kube: Kube, name: str, gold: str, policy: str
) -> None:
    await make_class(kube, gold, defaults={"namespaces": {"pattern": "{name}-of-{tenant}"}})
    items = {"items": [{"name": "dev", "labels": {"env": "dev"}}]}
    limits = {"hard": {"pods": 3}}
    await apply(kube, name, deletionPolicy=policy, namespaces=items, resourceQuotas=limits)
    await ready(kube, name)
    before = await namespace(kube, f"{name}-dev")
    await apply(kube, name, deletionPolicy=policy, namespaces=items, resourceQuotas=limits, tenantClassName=gold)
    tenant = await ready(kube, name, status="False")
    assert f"the entry dev has the namespace {name}-dev, which would now be called dev-of-{name}" in says(tenant)
    assert entries(tenant) == {f"{name}-dev": True}
    after = await namespace(kube, f"{name}-dev")
    assert (after["uid"], after["labels"]) == (before["uid"], before["labels"])
    assert await hard(kube, f"{name}-dev") == {"pods": "3"}
    items["items"][0]["fullName"] = f"{name}-dev"  # the way out that the message names
    await apply(kube, name, deletionPolicy=policy, namespaces=items, resourceQuotas=limits, tenantClassName=gold)
    await ready(kube, name)
    assert (await namespace(kube, f"{name}-dev"))["uid"] == before["uid"]


async def test_a_full_name_that_comes_too_late_or_is_mistyped_can_be_put_right(kube: Kube, name: str) -> None:
    await apply(kube, name, deletionPolicy="Delete", namespaces={"items": [{"name": "dev"}]})
    await ready(kube, name)
    before = await namespace(kube, f"{name}-dev")
    wrong = {"items": [{"name": "dev", "fullName": f"other-{name}"}]}
    await apply(kube, name, deletionPolicy="Delete", namespaces=wrong)
    assert f"which would now be called other-{name}" in says(await ready(kube, name, status="False"))
    await absent(kube, NAMESPACES, f"other-{name}")
    await apply(kube, name, deletionPolicy="Delete", namespaces={"items": [{"name": "dev"}]})
    await ready(kube, name)
    assert (await namespace(kube, f"{name}-dev"))["uid"] == before["uid"]


async def test_a_full_name_takes_an_existing_namespace_only_with_its_owners_consent(kube: Kube, name: str) -> None:
    await kube.create(NAMESPACES, {"metadata": {"name": f"legacy-{name}"}})
    await apply(kube, name, namespaces={"items": [{"name": "old", "fullName": f"legacy-{name}"}]})
    assert "to hand it over" in says(await ready(kube, name, status="False"))
    await kube.merge_patch(NAMESPACES, f"legacy-{name}", {"metadata": {"labels": {"tenantry.dev/adopt-by": name}}})
    await ready(kube, name)
    assert (await namespace(kube, f"legacy-{name}"))["labels"]["tenantry.dev/tenant"] == name


async def joined(kube: Kube, name: str, **spec: Any) -> str:
    """Make a tenant that a namespace with content has joined by its label; return the namespace's name."""
    other = f"theirs-{name}"
    await kube.create(NAMESPACES, {"metadata": {"name": other, "labels": {"team": "x", "tenantry.dev/adopt-by": name}}})
    flag = {"items": [], "adoptByLabel": True}
    await apply(kube, name, namespaces=flag, resourceQuotas={"hard": {"pods": 3}}, **spec)
    assert entries(await ready(kube, name)) == {other: True}
    return other


async def released(kube: Kube, name: str, other: str) -> None:
    """Wait until the namespace is nobody's, with nothing of ours inside."""

    async def free() -> bool:
        labels: dict[str, str] = (await namespace(kube, other))["labels"]
        seen.append(labels)
        quotas = (await kube.list(RESOURCE_QUOTAS, other))["items"]
        ours = {"tenantry.dev/orphaned-from": name, "team": "x", "kubernetes.io/metadata.name": other}
        return labels == ours and not quotas

    seen: list[dict[str, str]] = []
    await eventually(free, within=15, what=f"{other} is released")
    assert "deletionTimestamp" not in await namespace(kube, other)


async def test_an_unlisted_namespace_joins_by_its_label_and_gets_everything(kube: Kube, name: str) -> None:
    other = await joined(kube, name, deletionPolicy="Delete")
    labels = (await namespace(kube, other))["labels"]
    assert (labels["tenantry.dev/tenant"], labels["tenantry.dev/adopt-by"], labels["team"]) == (name, name, "x")
    assert await hard(kube, other) == {"pods": "3"}
    later = f"later-{name}"
    await kube.create(NAMESPACES, {"metadata": {"name": later, "labels": {"tenantry.dev/adopt-by": name}}})

    async def both() -> bool:
        return entries(await kube.get(TENANTS, name)) == {later: True, other: True}

    await eventually(both, within=10, what="the second one has joined, too")


@pytest.mark.parametrize("policy", ["Delete", "Orphan", "Retain"])
async def test_a_namespace_that_joined_is_released_when_its_label_or_the_flag_goes(
    kube: Kube, name: str, policy: str
) -> None:
    other = await joined(kube, name, deletionPolicy=policy)
    await kube.merge_patch(NAMESPACES, other, {"metadata": {"labels": {"tenantry.dev/adopt-by": None}}})
    await released(kube, name, other)
    again = {"tenantry.dev/adopt-by": name, "tenantry.dev/orphaned-from": None}
    await kube.merge_patch(NAMESPACES, other, {"metadata": {"labels": again}})

    async def back() -> bool:
        labels: dict[str, str] = (await namespace(kube, other))["labels"]
        return labels.get("tenantry.dev/tenant") == name

    await eventually(back, within=10, what=f"{other} has joined again")
    await kube.merge_patch(TENANTS, name, {"spec": {"namespaces": {"adoptByLabel": False}}})
    await released(kube, name, other)


@pytest.mark.parametrize("policy", ["Delete", "Orphan"])
async def test_a_deleted_tenant_releases_what_joined_it_whatever_becomes_of_the_rest(
    kube: Kube, name: str, policy: str
) -> None:
    other = await joined(kube, name, deletionPolicy=policy)
    await kube.merge_patch(TENANTS, name, {"spec": {"namespaces": {"items": [{"name": "own"}]}}})
    await ready(kube, name)
    await kube.delete(TENANTS, name)
    await absent(kube, TENANTS, name)
    await released(kube, name, other)
    if policy == "Delete":
        await absent(kube, NAMESPACES, f"{name}-own")


async def test_neither_anothers_namespace_nor_the_systems_joins_by_its_label(kube: Kube, name: str) -> None:
    await apply(kube, f"{name}-rich", namespaces={"items": [{"name": "a"}]})
    await ready(kube, f"{name}-rich")
    owned = f"{name}-rich-a"
    offer = {"metadata": {"labels": {"tenantry.dev/adopt-by": name}}}
    for target in ("kube-public", owned):
        await kube.merge_patch(NAMESPACES, target, offer)
    try:
        await joined(kube, name)
        assert (await namespace(kube, owned))["labels"]["tenantry.dev/tenant"] == f"{name}-rich"
        assert "tenantry.dev/tenant" not in (await namespace(kube, "kube-public"))["labels"]
    finally:
        await kube.merge_patch(NAMESPACES, "kube-public", {"metadata": {"labels": {"tenantry.dev/adopt-by": None}}})


async def test_what_joins_counts_against_the_quota(kube: Kube, name: str) -> None:
    other = await joined(kube, name)
    await kube.merge_patch(TENANTS, name, {"spec": {"namespaces": {"quota": 1}}})
    await ready(kube, name)
    await kube.create(NAMESPACES, {"metadata": {"name": f"{other}-2", "labels": {"tenantry.dev/adopt-by": name}}})

    async def told() -> bool:
        return f"not made: {other}-2" in says(await kube.get(TENANTS, name))

    await eventually(told, within=10, what="the second one is refused")
    assert "tenantry.dev/tenant" not in (await namespace(kube, f"{other}-2"))["labels"]
