"""What the operator measures, and what it tells probes about its own progress."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

import tenantry_operator.reconcile as reconcile_module
import tenantry_operator.worker as worker_module
from tenantry.errors import Conflict, Unavailable
from tenantry.resources import RESOURCE_QUOTAS
from tenantry_operator.actions import ApplyChild, DeleteNamespace, ReleaseNamespace
from tenantry_operator.children.child import Child
from tenantry_operator.entry import entry_of
from tenantry_operator.metrics import Metrics
from tenantry_operator.queue import Queue
from tenantry_operator.standing import make_app
from tenantry_operator.worker import WORKERS, Worker
from tests.support.eventually import eventually
from tests.unit.scripted_api import ScriptedApi, page, scripted

CONTROLLER = {"controller": "tenant"}
QUEUE = {"controller": "tenant", "name": "tenant"}


def sample(metrics: Metrics, series: str, /, **labels: str) -> float:
    """The one sample of that name and those labels, and nothing besides."""
    families = text_string_to_metric_families(metrics.render().decode())
    (found,) = [one for family in families for one in family.samples if one.name == series and one.labels == labels]
    return found.value


def test_every_series_that_a_stock_dashboard_asks_for_is_there_from_the_start() -> None:
    metrics = Metrics()
    Queue(metrics=metrics)
    metrics.watch_lease("it", lambda: True)
    for result in ("success", "error", "requeue"):
        assert sample(metrics, "controller_runtime_reconcile_total", **CONTROLLER, result=result) == 0
    for name in (
        "controller_runtime_reconcile_errors_total",
        "controller_runtime_reconcile_time_seconds_count",
        "controller_runtime_active_workers",
        "controller_runtime_max_concurrent_reconciles",
    ):
        assert sample(metrics, name, **CONTROLLER) == 0
    for name in (
        "workqueue_depth",
        "workqueue_adds_total",
        "workqueue_retries_total",
        "workqueue_queue_duration_seconds_count",
        "workqueue_work_duration_seconds_count",
        "workqueue_unfinished_work_seconds",
        "workqueue_longest_running_processor_seconds",
    ):
        assert sample(metrics, name, **QUEUE) == 0
    assert sample(metrics, "leader_election_master_status", name="it") == 1
    assert sample(metrics, "process_resident_memory_bytes") > 0


def test_the_buckets_are_those_of_controller_runtime() -> None:
    metrics = Metrics()
    assert sample(metrics, "controller_runtime_reconcile_time_seconds_bucket", **CONTROLLER, le="0.005") == 0
    assert sample(metrics, "controller_runtime_reconcile_time_seconds_bucket", **CONTROLLER, le="60.0") == 0
    assert sample(metrics, "workqueue_queue_duration_seconds_bucket", **QUEUE, le="1e-08") == 0
    assert sample(metrics, "workqueue_queue_duration_seconds_bucket", **QUEUE, le="1000.0") == 0


def test_only_an_error_counts_as_one() -> None:
    metrics = Metrics()
    metrics.count_reconcile("success", 0.1)
    metrics.count_reconcile("requeue", 0.1)
    metrics.count_reconcile("error", 0.3)
    assert sample(metrics, "controller_runtime_reconcile_errors_total", **CONTROLLER) == 1
    assert sample(metrics, "controller_runtime_reconcile_total", **CONTROLLER, result="requeue") == 1
    assert sample(metrics, "controller_runtime_reconcile_time_seconds_sum", **CONTROLLER) == pytest.approx(0.5)


async def test_a_key_is_counted_from_its_coming_to_its_end() -> None:
    metrics = Metrics()
    queue = Queue(metrics=metrics)
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert sample(metrics, "workqueue_adds_total", **QUEUE) == 2
    assert sample(metrics, "workqueue_depth", **QUEUE) == 2
    assert await queue.get() == "a"
    assert sample(metrics, "workqueue_depth", **QUEUE) == 1
    assert sample(metrics, "workqueue_queue_duration_seconds_count", **QUEUE) == 1
    queue.add("a")
    queue.add("a")
    assert sample(metrics, "workqueue_adds_total", **QUEUE) == 3
    await asyncio.sleep(0.05)
    assert sample(metrics, "workqueue_unfinished_work_seconds", **QUEUE) >= 0.05
    assert sample(metrics, "workqueue_longest_running_processor_seconds", **QUEUE) >= 0.05
    queue.done("a")
    assert sample(metrics, "workqueue_work_duration_seconds_count", **QUEUE) == 1
    assert sample(metrics, "workqueue_work_duration_seconds_sum", **QUEUE) >= 0.05
    assert sample(metrics, "workqueue_unfinished_work_seconds", **QUEUE) == 0
    assert sample(metrics, "workqueue_depth", **QUEUE) == 2
    assert sample(metrics, "workqueue_adds_total", **QUEUE) == 3


async def test_a_retry_is_counted_as_one() -> None:
    metrics = Metrics()
    queue = Queue(first_retry=0.01, metrics=metrics)
    queue.retry("a")
    assert sample(metrics, "workqueue_retries_total", **QUEUE) == 1
    assert await asyncio.wait_for(queue.get(), 2) == "a"


Running = tuple[Worker, Metrics, ScriptedApi]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """A worker on an API server that answers when told to."""
    async with scripted(tmp_path) as (api, kube):
        metrics = Metrics()
        worker = Worker(kube, metrics)
        yield worker, metrics, api
        await worker.stop()


def sync(worker: Worker, api: ScriptedApi) -> int:
    """Let every cache become complete and follow a quiet watch; return how many there are."""
    count = len(list(worker.reconciler.caches.reflectors))
    for _ in range(count):
        api.on_list(page(version=5))
        api.on_watch(([], "hang"))
    return count


async def started(worker: Worker, api: ScriptedApi) -> None:
    sync(worker, api)
    worker.start()
    await eventually(lambda: not worker.unready(), within=5, what="the worker is ready")


def reconcile_by(monkeypatch: pytest.MonkeyPatch, worker: Worker, work: Callable[[str], Awaitable[None]]) -> None:
    monkeypatch.setattr(worker.reconciler, "reconcile", work)


async def ask(worker: Worker, metrics: Metrics, path: str) -> tuple[int, str]:
    async with TestClient(TestServer(make_app(worker, metrics))) as client, client.get(path) as response:
        assert response.headers["Connection"] == "close"
        return response.status, (await response.text()).strip()


async def test_a_standby_is_alive_ready_and_measured(running: Running) -> None:
    worker, metrics, _ = running
    assert await ask(worker, metrics, "/healthz") == (200, "ok")
    assert await ask(worker, metrics, "/readyz") == (200, "ok")
    status, text = await ask(worker, metrics, "/metrics")
    assert status == 200
    assert f'controller_runtime_max_concurrent_reconciles{{controller="tenant"}} {float(WORKERS)}' in text


async def test_until_every_cache_is_complete_it_is_alive_but_not_ready(running: Running) -> None:
    worker, metrics, api = running
    worker.start()
    status, why = await ask(worker, metrics, "/readyz")
    assert (status, why) == (503, "the cache of Namespace is not complete yet")
    assert await ask(worker, metrics, "/healthz") == (200, "ok")
    sync(worker, api)
    await eventually(lambda: not worker.unready(), within=5, what="the worker is ready")


async def test_a_cache_that_hears_nothing_makes_it_unready_but_is_no_reason_to_start_anew(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _, api = running
    await started(worker, api)
    monkeypatch.setattr(worker_module, "SILENT_SECONDS", 0.05)
    await eventually(worker.unready, within=5, what="the silence is noticed")
    assert "has heard nothing for" in worker.unready()
    assert worker.trouble() == ""


async def test_results_are_counted_and_failures_come_again(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, metrics, api = running
    failures: list[Exception] = [Conflict("first"), Unavailable("down"), ValueError("a surprise")]

    async def reconcile(_: str) -> None:
        assert sample(metrics, "controller_runtime_active_workers", **CONTROLLER) == 1
        if failures:
            raise failures.pop(0)

    reconcile_by(monkeypatch, worker, reconcile)
    monkeypatch.setattr(worker._queue, "_first_retry", 0.01)
    await started(worker, api)
    worker._queue.add("a")

    def count(result: str) -> float:
        return sample(metrics, "controller_runtime_reconcile_total", **CONTROLLER, result=result)

    await eventually(lambda: count("success"), within=5, what="the fourth look succeeds")
    assert [count(result) for result in ("success", "requeue", "error")] == [1, 1, 2]
    assert sample(metrics, "workqueue_retries_total", **QUEUE) == 3
    assert sample(metrics, "controller_runtime_active_workers", **CONTROLLER) == 0
    assert worker.trouble() == ""


async def test_a_look_that_does_not_end_is_trouble(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, _, api = running

    async def reconcile(_: str) -> None:
        await asyncio.Event().wait()

    reconcile_by(monkeypatch, worker, reconcile)
    await started(worker, api)
    monkeypatch.setattr(worker_module, "STUCK_SECONDS", 0.05)
    worker._queue.add("a")
    await eventually(worker.trouble, within=5, what="the stuck look is noticed")
    assert "worked on" in worker.trouble()


async def test_a_tenant_that_waits_while_workers_are_idle_is_trouble(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _, api = running
    await started(worker, api)
    monkeypatch.setattr(worker_module, "IDLE_SECONDS", 0.05)
    # A wake-up that gets lost: the one mistake that would leave every other sign of life in place.
    monkeypatch.setattr(worker._queue._available, "set", lambda: None)
    worker._queue.add("a")
    await eventually(worker.trouble, within=5, what="the wait is noticed")
    assert "although workers are idle" in worker.trouble()


async def test_a_long_queue_before_busy_workers_is_no_trouble(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _, api = running

    async def reconcile(_: str) -> None:
        await asyncio.Event().wait()

    reconcile_by(monkeypatch, worker, reconcile)
    await started(worker, api)
    monkeypatch.setattr(worker_module, "IDLE_SECONDS", 0.05)
    for number in range(WORKERS + 5):
        worker._queue.add(f"t{number}")
    await eventually(lambda: worker._queue.longest_wait() > 0.2, within=5, what="some have waited")
    assert worker.trouble() == ""


async def test_a_task_that_died_is_trouble(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, metrics, api = running
    cache = next(iter(worker.reconciler.caches.reflectors))

    async def die() -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(cache, "run", die)
    sync(worker, api)
    worker.start()
    await eventually(worker.trouble, within=5, what="the dead task is noticed")
    assert worker.trouble() == f"cache of {cache.kind} has ended"
    assert (await ask(worker, metrics, "/healthz"))[0] == 503


def tenant_of(name: str, phase: str, ready: str) -> dict[str, Any]:
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]} if phase else {}
    return {
        "kind": "Tenant",
        "metadata": {"name": name, "uid": name, "resourceVersion": "1"},
        "spec": {},
        "status": status,
    }


async def test_tenants_are_counted_by_phase_and_by_whether_they_are_ready(running: Running) -> None:
    worker, metrics, _ = running
    for name, phase, ready in (
        ("a", "Active", "True"),
        ("b", "Active", "True"),
        ("c", "Failed", "False"),
        ("d", "", ""),
    ):
        worker.reconciler.caches.absorb(name, tenant_of(name, phase, ready))
    for phase, count in {"Active": 2, "Failed": 1, "Unknown": 1}.items():
        assert sample(metrics, "tenantry_tenants", phase=phase) == count
    for ready, count in {"True": 2, "False": 1, "Unknown": 1}.items():
        assert sample(metrics, "tenantry_tenants_ready", status=ready) == count


async def test_what_is_put_back_and_let_go_is_counted(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, metrics, _ = running
    entry = entry_of(tenant_of("a", "Active", "True"))
    failures: list[Exception] = []

    async def execute(*_: object) -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr(reconcile_module, "execute", execute)
    child = Child(RESOURCE_QUOTAS, {"metadata": {"namespace": "a", "name": "q"}}, "digest")
    carry_out = worker.reconciler._carry_out
    await carry_out(entry, ApplyChild(child, first=True))
    assert 'tenantry_operator_drift_repairs_total{kind="ResourceQuota"}' not in metrics.render().decode()
    monkeypatch.setattr(worker.reconciler.caches, "last_digest", lambda *_: "digest")
    await carry_out(entry, ApplyChild(child, first=True))
    assert sample(metrics, "tenantry_operator_drift_repairs_total", kind="ResourceQuota") == 1
    await carry_out(entry, DeleteNamespace("a", "u"))
    await carry_out(entry, ReleaseNamespace("b", {}))
    failures.append(Conflict("namespace a is no longer that of tenant a"))
    with pytest.raises(Conflict):
        await carry_out(entry, DeleteNamespace("a", "u"))
    for action in ("deleted", "released"):
        assert sample(metrics, "tenantry_operator_namespaces_let_go_total", action=action) == 1
    assert sample(metrics, "tenantry_operator_deletions_prevented_total") == 1


async def test_a_standby_is_not_deaf(running: Running) -> None:
    worker, metrics, api = running
    assert "tenantry_watch_last_event_age_seconds{" not in metrics.render().decode()
    await started(worker, api)
    assert sample(metrics, "tenantry_watch_last_event_age_seconds", kind="Namespace") < 60
