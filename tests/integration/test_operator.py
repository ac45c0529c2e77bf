"""The operator on a real API server: what a Tenant turns into, what is repaired, and what is left alone."""

import asyncio
import re
import secrets
from typing import Any

import pytest

from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.resources import NAMESPACES, TENANTS
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.tenantry import Operator

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def name() -> str:
    """A tenant name of the test's own."""
    return f"t{secrets.token_hex(4)}"


async def apply(kube: Kube, name: str, **spec: Any) -> dict[str, Any]:
    return (await kube.apply(TENANTS, {"metadata": {"name": name}, "spec": spec}, field_manager="test")).object


async def ready(kube: Kube, name: str, *, status: str = "True") -> dict[str, Any]:
    """Wait until the newest generation is judged and Ready has `status`; return the Tenant."""

    async def look() -> dict[str, Any] | None:
        tenant = await kube.get(TENANTS, name)
        conditions = {found["type"]: found for found in tenant.get("status", {}).get("conditions", ())}
        judged = conditions.get("Ready", {})
        settled = judged.get("observedGeneration") == tenant["metadata"]["generation"]
        seen.append((tenant["metadata"]["generation"], judged))
        return tenant if settled and judged["status"] == status else None

    seen: list[Any] = []
    try:
        return await eventually(look, within=10, what=f"tenant {name} has Ready={status}")
    except AssertionError as error:
        raise AssertionError(f"{error}; {seen[-1:]}") from None


async def namespace(kube: Kube, name: str) -> dict[str, Any]:
    metadata: dict[str, Any] = (await kube.get(NAMESPACES, name))["metadata"]
    return metadata


async def absent(kube: Kube, resource: Any, name: str) -> None:
    async def gone() -> bool:
        try:
            await kube.get(resource, name)
        except NotFound:
            return True
        return False

    await eventually(gone, within=30, what=f"{resource.kind} {name} is gone")


def condition(tenant: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(found for found in tenant["status"]["conditions"] if found["type"] == kind)


async def test_a_tenant_gets_its_namespaces_and_says_that_it_is_ready(kube: Kube, name: str) -> None:
    items = [{"name": "dev", "labels": {"env": "dev"}}, {"name": "prod", "annotations": {"note": "x"}}]
    await apply(kube, name, namespaces={"items": items, "metadata": {"labels": {"cost-center": "c1"}}})
    tenant = await ready(kube, name)
    assert tenant["status"]["phase"] == "Active"
    assert tenant["status"]["namespaceCount"] == 2
    assert tenant["metadata"]["finalizers"] == ["tenantry.dev/teardown"]
    dev = await namespace(kube, f"{name}-dev")
    expected = {
        "env": "dev",
        "cost-center": "c1",
        "tenantry.dev/tenant": name,
        "app.kubernetes.io/managed-by": "tenantry",
    }
    assert expected.items() <= dev["labels"].items()
    assert "ownerReferences" not in dev
    prod = await namespace(kube, f"{name}-prod")
    assert prod["annotations"]["note"] == "x"


async def test_kubectl_shows_and_waits_for_a_tenant(kube: Kube, control_plane: ControlPlane, name: str) -> None:
    await apply(kube, name, displayName="Acme Payments", resourceQuotas={"hard": {"configmaps": "7"}})
    await control_plane.kubectl("wait", "--for=condition=Ready", f"tenant/{name}", "--timeout=10s")
    header, row = (await control_plane.kubectl("get", "tnt", name)).splitlines()
    assert header.split() == ["NAME", "PHASE", "CLASS", "NAMESPACES", "READY", "AGE"]
    assert re.fullmatch(rf"{name}\s+Active\s+1\s+True\s+\S+", row.strip()), row
    header, row = (await control_plane.kubectl("get", "tnt", name, "-o", "wide")).splitlines()
    assert re.fullmatch(r"NAME +PHASE +CLASS +NAMESPACES +READY +AGE +DISPLAY NAME +QUOTA.* +MESSAGE", header), header
    assert re.match(rf"{name}\s+Active\s+1\s+True\s+\S+\s+Acme Payments\s+configmaps [?0]/7", row), row


async def test_a_settled_tenant_costs_no_write(kube: Kube, name: str) -> None:
    await apply(kube, name, namespaces={"items": [{"name": "dev", "labels": {"env": "dev"}}]})
    settled = await ready(kube, name)
    before = await namespace(kube, f"{name}-dev")
    # An edit that asks for nothing makes the operator look again.
    await kube.merge_patch(TENANTS, name, {"metadata": {"annotations": {"touched": "1"}}})
    await kube.merge_patch(NAMESPACES, f"{name}-dev", {"metadata": {"annotations": {"touched": "1"}}})
    other = f"{name}x"
    await apply(kube, other)
    await ready(kube, other)  # the queue is in order, so by now both looks are over
    assert (await kube.get(TENANTS, name))["status"] == settled["status"]
    after = await namespace(kube, f"{name}-dev")
    ours = [entry["time"] for entry in after["managedFields"] if entry["manager"] == "tenantry-operator"]
    assert ours == [entry["time"] for entry in before["managedFields"] if entry["manager"] == "tenantry-operator"]


async def test_a_label_changed_or_removed_by_hand_is_put_back_and_foreign_ones_stay(kube: Kube, name: str) -> None:
    await apply(kube, name, namespaces={"metadata": {"labels": {"cost-center": "c1"}}})
    await ready(kube, name)
    drift = {
        "cost-center": "stolen",
        "tenantry.dev/tenant": "mallory",
        "app.kubernetes.io/managed-by": None,
        "own": "1",
    }
    for key, value in drift.items():
        await kube.merge_patch(NAMESPACES, name, {"metadata": {"labels": {key: value}}}, field_manager="somebody")
    wanted = {
        "cost-center": "c1",
        "tenantry.dev/tenant": name,
        "app.kubernetes.io/managed-by": "tenantry",
        "own": "1",
    }

    async def repaired() -> bool:
        labels: dict[str, str] = (await namespace(kube, name))["labels"]
        return wanted.items() <= labels.items()

    await eventually(repaired, within=10, what="the labels are put back")


async def test_a_namespace_deleted_by_hand_comes_back(kube: Kube, name: str) -> None:
    await apply(kube, name)
    await ready(kube, name)
    uid = (await namespace(kube, name))["uid"]
    await kube.delete(NAMESPACES, name)

    async def recreated() -> bool:
        try:
            return bool((await namespace(kube, name))["uid"] != uid)
        except NotFound:
            return False

    await eventually(recreated, within=30, what="the namespace is created again")
    await ready(kube, name)


async def test_a_label_that_left_the_spec_leaves_the_namespace(kube: Kube, name: str) -> None:
    await apply(kube, name, namespaces={"metadata": {"labels": {"a": "1", "b": "2"}}})
    await ready(kube, name)
    await apply(kube, name, namespaces={"metadata": {"labels": {"b": "2"}}})
    await ready(kube, name)
    labels = (await namespace(kube, name))["labels"]
    assert "a" not in labels
    assert labels["b"] == "2"


@pytest.mark.parametrize("policy", ["Orphan", None])
async def test_by_default_a_deleted_tenant_leaves_its_namespaces_without_our_labels(
    kube: Kube, name: str, policy: str | None
) -> None:
    await apply(kube, name, **({"deletionPolicy": policy} if policy else {}))
    await ready(kube, name)
    await kube.delete(TENANTS, name)
    await absent(kube, TENANTS, name)
    kept = await namespace(kube, name)
    assert "deletionTimestamp" not in kept
    assert kept["labels"] == {"kubernetes.io/metadata.name": name, "tenantry.dev/orphaned-from": name}


async def test_under_delete_the_namespaces_go_before_the_tenant(kube: Kube, name: str) -> None:
    await apply(kube, name, deletionPolicy="Delete", namespaces={"items": [{"name": "a"}, {"name": "b"}]})
    await ready(kube, name)
    await kube.delete(TENANTS, name)
    await absent(kube, TENANTS, name)
    for item in ("a", "b"):
        with pytest.raises(NotFound):
            await kube.get(NAMESPACES, f"{name}-{item}")


async def test_under_retain_the_namespaces_stay_as_they_are_and_a_new_tenant_finds_them(kube: Kube, name: str) -> None:
    await apply(kube, name, deletionPolicy="Retain")
    await ready(kube, name)
    before = await namespace(kube, name)
    await kube.delete(TENANTS, name)
    await absent(kube, TENANTS, name)
    assert (await namespace(kube, name))["resourceVersion"] == before["resourceVersion"]
    await apply(kube, name)
    await ready(kube, name)
    assert (await namespace(kube, name))["uid"] == before["uid"]


async def test_a_foreign_namespace_is_refused_and_untouched_until_its_owner_opts_in(kube: Kube, name: str) -> None:
    foreign = await kube.create(NAMESPACES, {"metadata": {"name": name, "labels": {"team": "theirs"}}})
    await apply(kube, name)
    tenant = await ready(kube, name, status="False")
    message = condition(tenant, "Stalled")["message"]
    assert f"to hand it over, label it tenantry.dev/adopt-by={name}" in message
    assert tenant["status"]["phase"] == "Failed"
    assert (await namespace(kube, name))["resourceVersion"] == foreign["metadata"]["resourceVersion"]
    await kube.merge_patch(NAMESPACES, name, {"metadata": {"labels": {"tenantry.dev/adopt-by": name}}})
    await ready(kube, name)
    labels = (await namespace(kube, name))["labels"]
    assert labels["team"] == "theirs"
    assert labels["tenantry.dev/tenant"] == name
    assert "tenantry.dev/adopt-by" not in labels


async def test_two_tenants_that_want_one_namespace_name_share_nothing(kube: Kube, name: str) -> None:
    first, second = name, f"{name}-a"
    await apply(kube, first, namespaces={"items": [{"name": "a-b"}]}, deletionPolicy="Delete")
    await ready(kube, first)
    await apply(kube, second, namespaces={"items": [{"name": "b"}]})
    tenant = await ready(kube, second, status="False")
    assert f"it belongs to the tenant {first}" in condition(tenant, "Stalled")["message"]
    await kube.delete(TENANTS, first)
    await absent(kube, TENANTS, first)
    await ready(kube, second)  # looked at again as soon as the name was free


async def test_a_class_lends_what_the_tenant_leaves_out(kube: Kube, control_plane: ControlPlane, name: str) -> None:
    tenant = await apply(kube, name, tenantClassName=name)
    tenant = await ready(kube, name, status="False")
    assert condition(tenant, "ClassResolved")["reason"] == "ClassProblem"
    await control_plane.kubectl(
        "apply",
        "-f",
        "-",
        stdin=f"""
apiVersion: tenantry.dev/v1alpha1
kind: TenantClass
metadata: {{name: {name}}}
spec: {{defaults: {{namespaces: {{items: [{{name: lent}}]}}}}}}
""",
    )
    tenant = await ready(kube, name)
    assert tenant["status"]["class"] == {"name": name}
    await namespace(kube, f"{name}-lent")


async def test_a_killed_operator_goes_on_where_it_was(kube: Kube, operator: Operator, name: str) -> None:
    await apply(kube, name, deletionPolicy="Delete")
    await ready(kube, name)
    operator.kill()
    await kube.merge_patch(NAMESPACES, name, {"metadata": {"labels": {"tenantry.dev/tenant": None}}})
    await apply(kube, f"{name}-new")
    await kube.delete(TENANTS, name)
    await operator.start()
    await ready(kube, f"{name}-new")
    await absent(kube, TENANTS, name)


async def test_many_tenants_at_once_all_become_ready(kube: Kube, name: str) -> None:
    names = [f"{name}-{number}" for number in range(40)]
    await asyncio.gather(*(apply(kube, each, namespaces={"items": [{"name": "a"}, {"name": "b"}]}) for each in names))
    for each in names:
        await ready(kube, each)


async def test_a_tenant_that_nobody_can_read_blocks_nobody_else(
    kube: Kube, control_plane: ControlPlane, name: str
) -> None:
    kind = '"apiVersion":"tenantry.dev/v1alpha1","kind":"Tenant"'
    deep = '{"a":' * 9000 + "1" + "}" * 9000
    body = f'{{{kind},"metadata":{{"name":"{name}"}},"spec":{{"parameters":{deep}}}}}'
    await control_plane.kubectl("create", "-f", "-", stdin=body)

    async def told() -> bool:
        path = "jsonpath={.status.conditions[?(@.type=='Stalled')].message}"
        return "nested deeper than 16 levels" in await control_plane.kubectl("get", "tenant", name, "-o", path)

    try:
        await apply(kube, f"{name}x")
        await ready(kube, f"{name}x")
        await eventually(told, within=10, what="the Tenant says what is wrong with it")
    finally:
        await control_plane.kubectl("delete", "tenant", name)
