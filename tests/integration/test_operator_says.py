"""What the operator tells people and Argo CD: the quota in the status, Events, and health."""

import asyncio
import secrets
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tenantry.kube import Kube
from tenantry.resources import CONFIG_MAPS, EVENTS, LIMIT_RANGES, NAMESPACES, RESOURCE_QUOTAS, SECRETS, TENANTS
from tests.integration.test_operator import absent, apply, ready
from tests.integration.test_operator_children import EVERYTHING
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.identities import requests_of
from tests.support.lua import health
from tests.support.tenantry import Operator
from tests.unit.test_argocd_health import SCRIPT

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def name() -> str:
    """A tenant name of the test's own."""
    return f"s{secrets.token_hex(4)}"


async def quota_says(kube: Kube, name: str, within: float = 30, **expected: Any) -> dict[str, Any]:
    """Wait until `status.quota` has what is expected; return it."""

    async def look() -> bool:
        seen.append((await kube.get(TENANTS, name)).get("status", {}).get("quota", {}))
        return {key: seen[-1].get(key) for key in expected} == expected

    seen: list[dict[str, Any]] = []
    try:
        await eventually(look, within=within, what=f"status.quota has {expected}")
    except AssertionError as error:
        raise AssertionError(f"{error}; {seen[-1:]}") from None
    return seen[-1]


async def events_of(kube: Kube, name: str) -> list[dict[str, Any]]:
    found = (await kube.list(EVENTS, "default"))["items"]
    return [event for event in found if event["regarding"]["name"] == name]


async def told(kube: Kube, name: str, *reasons: str) -> list[dict[str, Any]]:
    """Wait until there are Events of exactly these reasons, in whatever order; return them."""

    async def look() -> bool:
        seen[:] = await events_of(kube, name)
        return sorted(event["reason"] for event in seen) == sorted(reasons)

    seen: list[dict[str, Any]] = []
    try:
        # Other tests' Events go first, five a second.
        await eventually(look, within=30, what=f"the Events of {name} are {reasons}")
    except AssertionError as error:
        raise AssertionError(f"{error}; {[(event['reason'], event['note']) for event in seen]}") from None
    return seen


def status_writes(control_plane: ControlPlane, name: str) -> list[datetime]:
    return [
        datetime.fromisoformat(event["requestReceivedTimestamp"])
        for event in requests_of(control_plane, "tenantry-operator")
        if event["verb"] == "patch"
        and event["objectRef"].get("subresource") == "status"
        and event["objectRef"]["name"] == name
    ]


async def test_the_status_says_what_a_tenant_may_use_was_given_and_uses(
    kube: Kube, control_plane: ControlPlane, name: str
) -> None:
    items = [{"name": item, "resourceQuota": {"hard": {"configmaps": "20", "secrets": "5"}}} for item in ("a", "b")]
    hard = {"configmaps": "50", "secrets": "10", "requests.cpu": "4000m"}
    await apply(kube, name, namespaces={"items": items}, resourceQuotas={"scope": "Tenant", "hard": hard})
    await ready(kube, name)
    said = await quota_says(kube, name, used={"configmaps": "0", "secrets": "0", "requests.cpu": "0"})
    assert said["hard"] == {"configmaps": "50", "secrets": "10", "requests.cpu": "4"}
    assert said["allocated"] == {"configmaps": "40", "secrets": "10", "requests.cpu": "0"}
    before = {item: (await kube.get(RESOURCE_QUOTAS, "tenantry", f"{name}-{item}"))["spec"] for item in "ab"}
    for number in range(12):
        await kube.create(CONFIG_MAPS, {"metadata": {"name": f"c{number}"}}, f"{name}-{'ab'[number % 2]}")
        await asyncio.sleep(0.25)
    await kube.create(SECRETS, {"metadata": {"name": "s"}}, f"{name}-a")
    said = await quota_says(kube, name, used={"configmaps": "12", "secrets": "1", "requests.cpu": "0"})
    assert said["summary"] == "requests.cpu 0/4, configmaps 12/50, secrets 1/10"
    times = status_writes(control_plane, name)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    settled = next(index for index, gap in enumerate(gaps) if gap > timedelta(seconds=5))
    assert all(gap >= timedelta(seconds=9.5) for gap in gaps[settled:]), times
    assert before == {item: (await kube.get(RESOURCE_QUOTAS, "tenantry", f"{name}-{item}"))["spec"] for item in "ab"}


async def test_a_tenant_that_gives_up_its_quota_says_nothing_of_one(kube: Kube, name: str) -> None:
    await apply(kube, name, resourceQuotas={"hard": {"configmaps": "3"}})
    await quota_says(kube, name, used={"configmaps": "0"})
    await apply(kube, name)
    assert "quota" not in (await ready(kube, name))["status"]


async def test_kubectl_describe_shows_what_was_done(kube: Kube, control_plane: ControlPlane, name: str) -> None:
    await apply(kube, name, **EVERYTHING)
    await ready(kube, name)
    for event in await told(kube, name, "NamespaceCreated", "Reconciled"):
        assert event["reportingController"] == "tenantry.dev/tenantry-operator"
    described = await control_plane.kubectl("describe", "tenant", name)
    _, _, shown = described.partition("Events:")
    assert f"created namespace {name}" in shown, described
    assert "everything is as the Tenant and its class want it" in shown
    assert "tenantry.dev/tenantry-operator" in shown


async def test_drift_that_is_repaired_again_and_again_is_told_once(kube: Kube, name: str) -> None:
    await apply(kube, name, **EVERYTHING)
    await ready(kube, name)
    for number in range(8):
        patch = {"spec": {"hard": {"configmaps": str(900 + number)}}}
        await kube.merge_patch(RESOURCE_QUOTAS, "tenantry", patch, name, field_manager="somebody")

        async def repaired() -> bool:
            quota = await kube.get(RESOURCE_QUOTAS, "tenantry", name)
            return bool(quota["spec"]["hard"]["configmaps"] == "3")

        await eventually(repaired, within=10, what="the quota is put back")
    await kube.delete(LIMIT_RANGES, "tenantry-defaults", name)
    # The wish changes too, which is no drift.
    await apply(kube, name, **{**EVERYTHING, "networkPolicies": {"isolation": "Namespace"}})
    await ready(kube, name)
    found = await told(kube, name, "NamespaceCreated", "Reconciled", "DriftRepaired", "DriftRepaired")
    assert {event["note"] for event in found if event["reason"] == "DriftRepaired"} == {
        f"ResourceQuota {name}/tenantry was changed and is put back",
        f"LimitRange {name}/tenantry-defaults was missing and is there again",
    }
    assert {event["type"] for event in found} == {"Normal"}


async def test_a_problem_is_told_once_as_a_warning_and_so_is_its_end(kube: Kube, name: str) -> None:
    await kube.create(NAMESPACES, {"metadata": {"name": name}})
    await apply(kube, name)
    await ready(kube, name, status="False")
    (event,) = await told(kube, name, "NeedsAttention")
    assert event["type"] == "Warning"
    assert f"to hand it over, label it tenantry.dev/adopt-by={name}" in event["note"]
    await kube.merge_patch(NAMESPACES, name, {"metadata": {"labels": {"tenantry.dev/adopt-by": name}}})
    await ready(kube, name)
    await told(kube, name, "NeedsAttention", "NamespaceUpdated", "Reconciled")


async def test_a_restart_says_nothing_again(kube: Kube, operator: Operator, name: str) -> None:
    await kube.create(NAMESPACES, {"metadata": {"name": name}})
    await apply(kube, name)
    await ready(kube, name, status="False")
    await apply(kube, f"{name}-fine")
    await told(kube, name, "NeedsAttention")
    await told(kube, f"{name}-fine", "NamespaceCreated", "Reconciled")
    assert await operator.stop() == 0
    await operator.start()
    # Changes and Events are in order: what is said of a newer Tenant comes after whatever a restart says.
    await apply(kube, f"{name}-new")
    await told(kube, f"{name}-new", "NamespaceCreated", "Reconciled")
    await told(kube, name, "NeedsAttention")
    await told(kube, f"{name}-fine", "NamespaceCreated", "Reconciled")


@pytest.mark.parametrize(("policy", "reason"), [("Orphan", "NamespaceReleased"), ("Delete", "NamespaceDeleted")])
async def test_off_boarding_is_told(kube: Kube, name: str, policy: str, reason: str) -> None:
    await apply(kube, name, deletionPolicy=policy)
    await ready(kube, name)
    await kube.delete(TENANTS, name)
    await absent(kube, TENANTS, name)
    await told(kube, name, "NamespaceCreated", "Reconciled", "OffboardingStarted", reason)


async def test_argo_cd_s_health_check_understands_what_the_operator_writes(
    kube: Kube, operator: Operator, name: str
) -> None:
    operator.process.check()
    await apply(kube, name)
    tenant = await ready(kube, name)
    assert health(SCRIPT, tenant)[0] == "Healthy"
    changed = await apply(kube, name, lifecycle={"state": "Suspended", "reason": "unpaid"})
    assert health(SCRIPT, changed)[0] == "Progressing", "the status is older than the spec"
    assert health(SCRIPT, await ready(kube, name)) == ("Suspended", "unpaid")
    await apply(kube, name, tenantClassName=f"{name}-none")
    found, message = health(SCRIPT, await ready(kube, name, status="False"))
    assert found == "Degraded"
    assert f"there is no TenantClass '{name}-none'" in message
    await kube.merge_patch(TENANTS, name, {"metadata": {"finalizers": ["test/keep", "tenantry.dev/teardown"]}})
    await kube.delete(TENANTS, name)
    assert health(SCRIPT, await kube.get(TENANTS, name))[0] == "Progressing"
    await kube.merge_patch(TENANTS, name, {"metadata": {"finalizers": []}})
