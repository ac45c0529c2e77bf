"""A settled operator writes nothing: not on a restart, and not as time goes by. On a control plane of its own, so that
whatever it writes is about these Tenants."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tenantry.kube import Kube
from tenantry.resources import LIMIT_RANGES, NAMESPACES, NETWORK_POLICIES, RESOURCE_QUOTAS, ROLE_BINDINGS, TENANTS
from tests.integration.test_operator import apply, ready
from tests.support.binaries import Binaries
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.identities import install_identities, refusals, requests_of
from tests.support.tenantry import Operator

ROOT = Path(__file__).parents[2]
COUNT = 50
SILENCE = 20.0
SPEC: dict[str, Any] = {
    "resourceQuotas": {"hard": {"configmaps": "9", "requests.cpu": "2000m"}},
    "limitRanges": {"items": [{"name": "defaults", "limits": [{"type": "Container", "default": {"cpu": "0.5"}}]}]},
    "networkPolicies": {"isolation": "Tenant"},
    "owners": [{"kind": "Group", "name": "people", "role": "owner"}],
}
KINDS = (NAMESPACES, RESOURCE_QUOTAS, LIMIT_RANGES, NETWORK_POLICIES, ROLE_BINDINGS)


@pytest.fixture
async def plane(binaries: Binaries, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """A control plane that nobody else uses."""
    plane = ControlPlane(binaries, tmp_path / "control-plane")
    try:
        await plane.start()
        await plane.kubectl("apply", "--filename", str(ROOT / "crds"))
        await plane.serve_crds()
        yield plane
    finally:
        await plane.stop()


@pytest.fixture
async def operator(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Operator]:
    """An operator under its own ServiceAccount."""
    identities = await install_identities(plane)
    env = {"TENANTRY_LEASE_NAMESPACE": identities.namespace}
    running = Operator(kubeconfig=identities.operator, directory=tmp_path / "operator", env=env)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
    assert refusals(plane) == []


def writes(plane: ControlPlane) -> list[str]:
    """Return what the operator has written or tried to write, but for its Lease."""
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in requests_of(plane, "tenantry-operator")
        if event["verb"] not in ("get", "list", "watch") and event["objectRef"]["resource"] != "leases"
    ]


async def looks(operator: Operator) -> float:
    async with aiohttp.ClientSession() as http, http.get(f"{operator.url}/metrics") as response:
        text = await response.text()
    series = 'controller_runtime_reconcile_total{controller="tenant",result="success"} '
    return float(text.partition(series)[2].split()[0])


async def fallen_silent(plane: ControlPlane) -> None:
    """Wait until nothing was written for longer than usage and Events may wait."""
    seen: list[int] = []

    async def quiet() -> bool:
        await asyncio.sleep(1)
        seen.append(len(writes(plane)))
        return len(seen) > 13 and seen[-13] == seen[-1]

    await eventually(quiet, within=120, what="the operator has nothing left to write")


async def summaries(kube: Kube) -> set[str]:
    """Return what the Tenants say of their quotas."""
    return {tenant["status"]["quota"]["summary"] for tenant in (await kube.list(TENANTS))["items"]}


async def test_a_settled_operator_writes_nothing_neither_on_a_restart_nor_as_time_goes_by(
    plane: ControlPlane, operator: Operator
) -> None:
    names = [f"quiet-{number}" for number in range(COUNT)]
    async with await plane.kube() as kube:
        await asyncio.gather(*(apply(kube, name, **SPEC) for name in names))
        for name in names:
            await ready(kube, name)
            for resource in KINDS[1:]:
                assert len((await kube.list(resource, name))["items"]) == 1
        await fallen_silent(plane)
        settled = len(writes(plane))
        assert settled >= COUNT * (len(KINDS) + 2), "the audit log sees what the operator writes"
        assert await summaries(kube) == {"requests.cpu 0/2, configmaps 0/9"}
        assert await operator.stop() == 0
        await operator.start()

        async def looked() -> bool:
            return await looks(operator) >= COUNT

        await eventually(looked, within=30, what="each Tenant was looked at")
        await asyncio.sleep(SILENCE)
        assert writes(plane)[settled:] == []
