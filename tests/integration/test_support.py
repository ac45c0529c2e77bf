"""The real parts behave as other tests take for granted; a failure here explains failures elsewhere."""

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from tenantry.errors import Unavailable
from tenantry.kube import Kube
from tenantry.resources import APPLICATIONS, NAMESPACES
from tests.support import article
from tests.support.argocd import NAMESPACE, ArgoCD
from tests.support.binaries import Binaries, BuildFailed, ensure
from tests.support.control_plane import ControlPlane, KubectlFailed
from tests.support.eventually import eventually
from tests.support.gobuild import Go
from tests.support.postgres import Postgres, execute
from tests.support.processes import Ended, Process, free_port


def test_a_child_that_ends_early_is_an_error_that_shows_its_log(tmp_path: Path) -> None:
    script = "print('what went wrong'); raise SystemExit(3)"
    process = Process("early", [sys.executable, "-c", script], log=tmp_path / "log")
    with pytest.raises(Ended, match=r"early ended with 3(.|\n)*what went wrong"):
        process.finish(within=10)


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    with Process("stubborn", [sys.executable, "-c", script], log=tmp_path / "log") as process:
        deadline = time.monotonic() + 10
        while "up" not in process.log_tail() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.stop(grace=0.2) == -signal.SIGKILL


async def test_no_child_survives_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from tests.support.processes import Process
        child = Process("child", ["{sys.executable}", "-c", "import time; time.sleep(60)"], log=Path("{tmp_path}/log"))
        print(child.pid, flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    await eventually(lambda: not _alive(child), within=5, what="the child of the killed parent is gone")


def _alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


async def test_waiting_in_vain_says_for_what_and_what_was_seen_last() -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.2 s: the moon; last seen: 0"):
        await eventually(lambda: 0, within=0.2, what="the moon")


def test_a_build_that_fails_shows_the_errors_of_the_compiler(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module broken\n")
    (tmp_path / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(BuildFailed, match=r"go build failed:(.|\n)*main\.go:3:15: undefined: undefined"):
        Go(tmp_path).build(["."], variables={}, into=into, log=tmp_path / "build.log", report=print)


def test_kubebuilder_assets_without_a_program_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(BuildFailed, match=r"KUBEBUILDER_ASSETS.*etcd, kube-apiserver, kubectl"):
        ensure(print)


async def test_a_deleted_namespace_takes_what_is_in_it_along(control_plane: ControlPlane, kube: Kube) -> None:
    await control_plane.kubectl("create", "namespace", "going")
    await control_plane.kubectl("create", "configmap", "thing", "--namespace=going")
    await control_plane.kubectl("delete", "namespace", "going", "--wait=false")

    async def gone() -> bool:
        names = [item["metadata"]["name"] for item in (await kube.list(NAMESPACES))["items"]]
        return "going" not in names

    await eventually(gone, within=30, what="the namespace is gone")


async def test_a_service_account_has_only_the_rights_that_it_was_given(control_plane: ControlPlane) -> None:
    await control_plane.kubectl("create", "serviceaccount", "nobody", "--namespace=default")
    kubeconfig = await control_plane.service_account_kubeconfig("default", "nobody")
    with pytest.raises(KubectlFailed, match=r"serviceaccount:default:nobody.* cannot list resource"):
        await control_plane.kubectl(f"--kubeconfig={kubeconfig}", "get", "namespaces")


@pytest.fixture
async def own_control_plane(binaries: Binaries, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    plane = ControlPlane(binaries, tmp_path)
    try:
        await plane.start()
        yield plane
    finally:
        await plane.stop()


async def test_an_api_server_that_comes_back_knows_what_it_knew(own_control_plane: ControlPlane) -> None:
    await own_control_plane.kubectl("create", "namespace", "kept")
    async with await own_control_plane.kube() as kube:
        own_control_plane.stop_apiserver()
        with pytest.raises(Unavailable):
            await kube.get(NAMESPACES, "kept")
        await own_control_plane.start_apiserver()
        assert (await kube.get(NAMESPACES, "kept"))["metadata"]["name"] == "kept"


async def test_postgres_loses_no_commit_when_it_is_stopped_at_once(postgres: Postgres, database: str) -> None:
    await execute(database, article.rows(("kept", "active")))
    postgres.stop()
    with pytest.raises(OSError, match="Connect call failed"):
        await execute(database, "SELECT 1")
    await postgres.start()
    connection = await asyncpg.connect(database)
    try:
        assert await connection.fetchval("SELECT status FROM organization WHERE tenant = 'kept'") == "active"
        assert await connection.fetchval("SELECT count(*) FROM organization") == len(article.TENANTS) + 1
    finally:
        await connection.close()


async def test_postgres_refuses_a_wrong_password(postgres: Postgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await execute(postgres.dsn(password="wrong"), "SELECT 1")


def test_the_articles_tenants_give_the_applications_of_its_listing() -> None:
    assert {name.removeprefix("foobar-app-") for name in article.APPLICATIONS} == {
        "acme-corp",
        "beta-solutions",
        "delta-technologies",
        "echo-innovations",
        "foxtrot-consulting",
        "gamma-industries",
        "global-tech",
        "horizon-enterprises",
        "innova-systems",
        "jupiter-networks",
    }


class _Plugin:
    """A plugin that answers whatever a test wants it to."""

    def __init__(self) -> None:
        self.status = 200
        self.answer: Any = _parameters(*article.TENANTS)
        self.asked: list[tuple[str, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append((request.headers["Authorization"], await request.json()))
        return web.json_response(self.answer, status=self.status)


def _parameters(*tenants: str) -> dict[str, Any]:
    return {"output": {"parameters": [{"tenant": tenant, "status": "active"} for tenant in tenants]}}


@asynccontextmanager
async def _listening(plugin: _Plugin) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/api/v1/getparams.execute", plugin.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def plugin(argocd: ArgoCD) -> AsyncIterator[_Plugin]:
    """The article's ApplicationSet over a plugin of this test, its ten Applications there already."""
    plugin = _Plugin()
    body = article.application_set("support-plugin")
    async with _listening(plugin) as url:
        await argocd.configure_plugin("support-plugin", url=url, token="a-token")
        await argocd.apply_application_set(body)
        try:
            await _complete(argocd)
            yield plugin
        finally:
            await argocd.delete_application_set(body["metadata"]["name"])


async def _complete(argocd: ArgoCD) -> None:
    async def there() -> bool:
        return set(await argocd.applications("tenant-generator-plugin-demo")) == article.APPLICATIONS

    await eventually(there, within=30, what="the article's ten Applications exist")


async def test_the_real_controller_makes_the_articles_applications(plugin: _Plugin) -> None:
    authorization, asked = plugin.asked[0]
    assert authorization == "Bearer a-token"
    assert asked == {"applicationSetName": "tenant-generator-plugin-demo", "input": {}}


async def test_a_refresh_returns_after_the_controller_has_followed(argocd: ArgoCD, plugin: _Plugin) -> None:
    plugin.answer = _parameters(*article.TENANTS, "newcomer")
    assert (await argocd.refresh("tenant-generator-plugin-demo")).ok
    assert "foobar-app-newcomer" in await argocd.applications("tenant-generator-plugin-demo")


async def test_a_failed_refresh_says_why_each_time_and_deletes_nothing(argocd: ArgoCD, plugin: _Plugin) -> None:
    before = await argocd.applications("tenant-generator-plugin-demo")
    plugin.status, plugin.answer = 503, {"message": "not yet"}
    for _ in range(2):
        asked = len(plugin.asked)
        refreshed = await argocd.refresh("tenant-generator-plugin-demo")
        assert (refreshed.ok, refreshed.reason) == (False, "ApplicationGenerationFromParamsError")
        assert "status code 503: not yet" in refreshed.message
        assert len(plugin.asked) > asked
    assert await argocd.applications("tenant-generator-plugin-demo") == before
    plugin.status, plugin.answer = 200, _parameters(*article.TENANTS)
    assert (await argocd.refresh("tenant-generator-plugin-demo")).ok


async def test_an_application_is_healthy_until_it_is_deleted_and_then_goes(
    argocd: ArgoCD, kube: Kube, plugin: _Plugin
) -> None:
    async def healthy() -> bool:
        body = await kube.get(APPLICATIONS, "foobar-app-acme-corp", NAMESPACE)
        return bool(body["status"]["health"]["status"] == "Healthy" and body["status"]["sync"]["status"] == "Synced")

    await eventually(healthy, within=10, what="the Application is synced and healthy")
    plugin.answer = _parameters(*(tenant for tenant in article.TENANTS if tenant != "acme_corp"))
    await argocd.refresh("tenant-generator-plugin-demo")

    async def gone() -> bool:
        return "foobar-app-acme-corp" not in await argocd.applications("tenant-generator-plugin-demo")

    await eventually(gone, within=10, what="the deleted Application is gone")
