"""Operators in twos: one works, one stands by, and no accident makes both work.

Each test has a Lease namespace of its own, so that the operator of the session, on the same cluster, is no party to it.
That one also sees the Tenants here; what a test's own operator did is read from its metrics and its log.
"""

import asyncio
import os
import re
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from tenantry.credentials import Credentials, load_credentials
from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.resources import LEASES, NAMESPACES, TENANTS
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.processes import Process, free_port
from tests.support.tenantry import Operator

LEASE = "tenantry-operator"
DURATION, RETRY = 15.0, 2.0
MANIFESTS = Path(__file__).parents[2] / "manifests"
Start = Callable[[str], Awaitable[Operator]]


@pytest.fixture
async def space(kube: Kube) -> AsyncIterator[str]:
    """A namespace for the Lease."""
    name = f"standing-{uuid.uuid4().hex[:6]}"
    await kube.create(NAMESPACES, {"metadata": {"name": name}})
    yield name
    await kube.delete(NAMESPACES, name)


@pytest.fixture
async def start(control_plane: ControlPlane, space: str, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts operators that share the Lease."""
    started: list[Operator] = []

    async def one(name: str) -> Operator:
        env = {"TENANTRY_LEASE_NAMESPACE": space}
        operator = Operator(kubeconfig=control_plane.kubeconfig, directory=tmp_path / name, env=env)
        started.append(operator)
        await operator.start()
        return operator

    yield one
    for operator in started:
        operator.process.send(signal.SIGCONT)
        await operator.stop()


@pytest.fixture
async def tenant(kube: Kube) -> AsyncIterator[str]:
    """A Tenant that asks for nothing."""
    name = f"standing{uuid.uuid4().hex[:6]}"
    await kube.create(
        TENANTS,
        {
            "apiVersion": "tenantry.dev/v1alpha1",
            "kind": "Tenant",
            "metadata": {"name": name},
            "spec": {"deletionPolicy": "Delete"},
        },
    )
    yield name
    await kube.delete(TENANTS, name)

    async def gone() -> bool:
        try:
            return not await kube.get(TENANTS, name)
        except NotFound:
            return True

    await eventually(gone, within=30, what=f"Tenant {name} is gone")


class Door:
    """The only way from an operator to the API server: notes every request, and can be shut, which answers nothing."""

    def __init__(self, credentials: Credentials, authorization: str) -> None:
        self._credentials = credentials
        self._authorization = authorization
        self.shut = False
        self.writes: list[tuple[float, str]] = []

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            self.writes.append((time.monotonic(), f"{request.method} {request.path}"))
        if self.shut:
            await asyncio.Event().wait()
        headers = {name: request.headers[name] for name in ("Accept", "Content-Type") if name in request.headers}
        async with self.http.request(
            request.method,
            self._credentials.server + request.path_qs,
            data=await request.read() or None,
            headers={**headers, "Authorization": self._authorization},
            ssl=self._credentials.ssl_context(),
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            await response.prepare(request)
            with suppress(aiohttp.ClientError, ConnectionError):
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            return response

    @asynccontextmanager
    async def kubeconfig(self, directory: Path) -> AsyncIterator[Path]:
        """Yield a kubeconfig that leads through the door."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.pass_on)
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            TestServer(app) as server,
            aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as self.http,
        ):
            path = directory / "door.kubeconfig"
            config = {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "door",
                "contexts": [{"name": "door", "context": {"cluster": "door", "user": "door"}}],
                "clusters": [{"name": "door", "cluster": {"server": str(server.make_url("/"))}}],
                "users": [{"name": "door", "user": {"token": "of no importance"}}],
            }
            path.write_text(yaml.safe_dump(config))
            yield path


@pytest.fixture
async def behind_a_door(
    control_plane: ControlPlane, space: str, tmp_path: Path
) -> AsyncIterator[tuple[Operator, Door]]:
    """An operator that works, and the door that it goes through."""
    credentials = await load_credentials(str(control_plane.kubeconfig))
    door = Door(credentials, await credentials.authorization() or "")
    async with door.kubeconfig(tmp_path) as path:
        operator = Operator(kubeconfig=path, directory=tmp_path, env={"TENANTRY_LEASE_NAMESPACE": space})
        await operator.start()
        try:
            await works(operator)
            yield operator, door
        finally:
            operator.kill()
    await credentials.close()


async def get(operator: Operator, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(operator.url + path) as response:
        return response.status, await response.text()


async def metrics(operator: Operator) -> dict[str, float]:
    """The samples by name with labels."""
    _, text = await get(operator, "/metrics")
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    }


async def leads(operator: Operator) -> bool:
    return (await metrics(operator))[f'leader_election_master_status{{name="{LEASE}"}}'] == 1.0


async def works(operator: Operator, within: float = 20) -> None:
    async def look() -> Any:
        operator.process.check()
        return await leads(operator) and (await get(operator, "/readyz")) == (200, "ok\n")

    await eventually(look, within=within, what="the operator works")


async def reconciled(operator: Operator) -> float:
    return (await metrics(operator))['controller_runtime_reconcile_total{controller="tenant",result="success"}']


async def lease(kube: Kube, space: str) -> dict[str, Any]:
    spec: dict[str, Any] = (await kube.get(LEASES, LEASE, space))["spec"]
    return spec


def log(operator: Operator) -> str:
    return operator.process.log.read_text()


async def test_one_works_and_the_other_stands_by_alive_ready_and_idle(
    kube: Kube, start: Start, tenant: str, space: str
) -> None:
    first = await start("first")
    await works(first)
    second = await start("second")
    assert [await leads(first), await leads(second)] == [True, False]
    assert await get(second, "/healthz") == (200, "ok\n")
    assert await get(second, "/readyz") == (200, "ok\n")
    await eventually(lambda: reconciled(first), within=10, what="the first reconciles")
    seen = await metrics(first)
    labels = '{controller="tenant",name="tenant"}'
    assert seen[f"workqueue_adds_total{labels}"] >= 1
    assert seen[f"workqueue_work_duration_seconds_count{labels}"] >= 1
    assert seen[f"workqueue_queue_duration_seconds_count{labels}"] >= 1
    assert f"workqueue_depth{labels}" in seen
    assert seen['controller_runtime_max_concurrent_reconciles{controller="tenant"}'] == 16
    assert seen['controller_runtime_reconcile_time_seconds_count{controller="tenant"}'] >= 1
    assert seen["process_resident_memory_bytes"] > 1e6
    assert await reconciled(second) == 0
    assert '"msg": "standing by"' in log(second)
    spec = await lease(kube, space)
    assert spec["leaseDurationSeconds"] == DURATION
    assert spec["holderIdentity"] in log(first)


async def test_after_a_kill_the_standby_works_when_the_lease_has_expired(start: Start) -> None:
    first = await start("first")
    await works(first)
    second = await start("second")
    await asyncio.sleep(RETRY)
    first.kill()
    killed = time.monotonic()
    await eventually(lambda: leads(second), within=DURATION + RETRY + 1, what="the standby leads")
    took = time.monotonic() - killed
    await works(second)
    print(f"after SIGKILL: leads within {took:.1f} s, works within {time.monotonic() - killed:.1f} s")
    assert took >= DURATION - 2 * RETRY, "the dead one could still have been alive"


async def test_after_a_clean_end_the_standby_works_within_a_look(kube: Kube, start: Start, space: str) -> None:
    first = await start("first")
    await works(first)
    second = await start("second")
    stopping = asyncio.create_task(first.stop())
    asked = time.monotonic()
    assert await stopping == 0, log(first)
    ended = time.monotonic()
    assert ended - asked < 4, "something was waited for"
    await eventually(lambda: leads(second), within=RETRY + 1, what="the standby leads")
    print(f"after SIGTERM: ends within {ended - asked:.1f} s, the other leads {time.monotonic() - ended:.1f} s later")
    assert (await lease(kube, space))["leaseTransitions"] == 1


async def test_a_restart_on_the_same_address_does_not_wait_for_its_own_lease(start: Start) -> None:
    operator = await start("only")
    await works(operator)
    operator.kill()
    restarted = time.monotonic()
    await operator.start()
    await works(operator, within=8)
    print(f"restarted after SIGKILL: works within {time.monotonic() - restarted:.1f} s")


async def test_a_holder_that_slept_through_its_lease_writes_nothing_more_and_ends(
    kube: Kube, behind_a_door: tuple[Operator, Door], start: Start, tenant: str
) -> None:
    first, door = behind_a_door
    await eventually(lambda: reconciled(first), within=10, what="the first reconciles")
    second = await start("second")
    first.process.send(signal.SIGSTOP)
    await works(second, within=DURATION + RETRY + 5)
    # Work for the sleeper: it finds all of this when it wakes up.
    for number in range(20):
        labels = {"tenantry.dev/tenant": None, "n": str(number)}
        await kube.merge_patch(NAMESPACES, tenant, {"metadata": {"labels": labels}})
    before = log(first)
    woken = time.monotonic()
    first.process.send(signal.SIGCONT)
    await eventually(lambda: first.process.exit_code, within=5, what="the sleeper ends")
    assert first.process.exit_code == 1
    assert [what for at, what in door.writes if at >= woken] == []
    said = log(first)[len(before) :].splitlines()
    assert len(said) == 1, said
    assert '"msg": "the Lease is lost; this process ends"' in said[0]
    second.process.check()
    assert await leads(second)


async def test_a_holder_that_is_cut_off_ends_well_before_the_standby_starts(
    behind_a_door: tuple[Operator, Door], start: Start
) -> None:
    first, door = behind_a_door
    second = await start("second")
    await eventually(lambda: "holds it" in log(second), within=5, what="the second stands by")
    door.shut = True
    shut = time.monotonic()
    await eventually(lambda: first.process.exit_code, within=DURATION, what="the holder ends")
    ended = time.monotonic()
    assert first.process.exit_code == 1
    assert "it could not be renewed in time" in log(first)
    assert not await leads(second)
    await eventually(lambda: leads(second), within=DURATION + RETRY - (ended - shut), what="the standby leads")
    print(f"cut off: ends after {ended - shut:.1f} s, the other leads after {time.monotonic() - shut:.1f} s")
    assert time.monotonic() - ended > 2.5


async def test_a_holder_whose_lease_is_taken_away_ends_and_leaves_it_alone(
    kube: Kube, start: Start, space: str
) -> None:
    first = await start("first")
    await works(first)
    await kube.merge_patch(LEASES, LEASE, {"spec": {"holderIdentity": "somebody"}}, space)
    await eventually(lambda: first.process.exit_code, within=RETRY + 2, what="the holder ends")
    assert first.process.exit_code == 1
    assert "somebody holds it" in log(first)
    assert (await lease(kube, space))["holderIdentity"] == "somebody"


async def test_a_standby_that_is_asked_to_end_does_so_cleanly(kube: Kube, start: Start, space: str) -> None:
    first = await start("first")
    await works(first)
    held = await lease(kube, space)
    second = await start("second")
    await eventually(lambda: "standing by" in log(second), within=5, what="the second stands by")
    asked = time.monotonic()
    assert await second.stop() == 0, log(second)
    assert time.monotonic() - asked < 5
    assert '"msg": "stopped"' in log(second)
    assert (await lease(kube, space))["holderIdentity"] == held["holderIdentity"]


async def ends(control_plane: ControlPlane, directory: Path, **env: str) -> tuple[int | None, str]:
    """Run an operator that can't start; return its exit code and what it printed."""
    command = Path(sys.executable).with_name("tenantry-operator")
    settings = {"PATH": os.environ["PATH"], "KUBECONFIG": str(control_plane.kubeconfig)}
    settings["TENANTRY_BIND"] = f"127.0.0.1:{free_port()}"
    with Process("tenantry-operator", [command], log=directory / "log", env={**settings, **env}) as process:
        await eventually(lambda: process.exit_code is not None, within=20, what="it ends")
        return process.exit_code, process.log.read_text()


async def test_a_lease_namespace_that_is_missing_or_none_ends_it_with_one_line(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    code, said = await ends(control_plane, tmp_path, TENANTRY_LEASE_NAMESPACE="not-there")
    assert code == 1
    assert re.fullmatch(
        r"tenantry-operator: the Lease tenantry-operator has no place: .*not-there.*; "
        r"create it, or name another in TENANTRY_LEASE_NAMESPACE\n",
        said,
    ), said
    (tmp_path / "log").unlink()
    code, said = await ends(control_plane, tmp_path, TENANTRY_LEASE_NAMESPACE="Not A Name")
    assert code == 2
    assert (
        said == "tenantry-operator: TENANTRY_LEASE_NAMESPACE holds 'Not A Name'; it accepts the name of a namespace\n"
    )


async def test_an_address_that_is_taken_ends_it_with_one_line(
    control_plane: ControlPlane, start: Start, tmp_path: Path
) -> None:
    address = (await start("first")).url.removeprefix("http://")
    code, said = await ends(control_plane, tmp_path, TENANTRY_BIND=address)
    assert code == 2
    assert said.startswith(f"tenantry-operator: TENANTRY_BIND holds '{address}'; it accepts an address that is free")
    assert said.count("\n") == 1


async def test_the_component_ha_runs_two_and_the_base_may_hold_the_lease_and_no_other(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(MANIFESTS / "base", tmp_path)],
        "components": [os.path.relpath(MANIFESTS / "components/ha", tmp_path)],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    bodies = [body for body in yaml.safe_load_all(await control_plane.kubectl("kustomize", str(tmp_path))) if body]
    found = {(body["kind"], body["metadata"]["name"]): body for body in bodies}
    for name in ("tenantry-operator", "tenantry-generator"):
        deployment = found["Deployment", name]["spec"]
        assert (deployment["replicas"], deployment["strategy"]["type"]) == (2, "RollingUpdate")
        budget = found["PodDisruptionBudget", name]["spec"]
        labels = deployment["template"]["metadata"]["labels"]
        assert budget["selector"]["matchLabels"].items() <= labels.items()
    role = found["Role", "tenantry-operator"]
    assert role["metadata"]["namespace"] == "tenantry-system"
    verbs = {(rule["verbs"][0], *rule.get("resourceNames", ["any"])) for rule in role["rules"]}
    assert verbs == {("create", "any"), ("get", LEASE)}
    kinds = ("PodDisruptionBudget", "Deployment")
    for body in [found[kind, name] for kind in kinds for name in ("tenantry-operator", "tenantry-generator")]:
        body["metadata"]["namespace"] = "default"
        text = yaml.safe_dump(body)
        await control_plane.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
