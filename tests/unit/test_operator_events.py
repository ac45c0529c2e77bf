"""What is said about a Tenant in Events, and that saying it is never in the way."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tenantry.kube import Kube
from tenantry.resources import RESOURCE_QUOTAS
from tenantry_operator import notes
from tenantry_operator.actions import AddFinalizer, ApplyChild, CreateNamespace, DeleteNamespace, ReleaseNamespace
from tenantry_operator.caches import Caches
from tenantry_operator.children.child import Child
from tenantry_operator.entry import Entry, entry_of
from tenantry_operator.events import Recorder
from tenantry_operator.metrics import Metrics
from tenantry_operator.notes import Note
from tests.support.background import background
from tests.support.eventually import eventually
from tests.unit.scripted_api import scripted
from tests.unit.test_operator_metrics import sample
from tests.unit.test_plan import namespace, plan_of, tenant
from tests.unit.test_plan_children import settled, stored

NOTE = Note("Reconciled", "fine")


def status_of(body: dict[str, Any], *present: Any, **how: Any) -> dict[str, Any]:
    status = plan_of(body, *present, **how).status
    assert status is not None
    return status


def test_only_what_turns_is_said() -> None:
    waiting, ready = status_of(tenant()), status_of(tenant(), namespace("acme"))
    refused = status_of(tenant(), namespace("acme", "other"))
    other = status_of(tenant(), namespace("acme", None))
    said = notes.of_transition
    assert said({}, waiting) is None
    assert said(waiting, ready) == Note("Reconciled", "everything is as the Tenant and its class want it")
    assert said(ready, ready) is None
    assert said(ready, waiting) is None
    first = said(ready, refused)
    assert first == Note("NeedsAttention", refused["conditions"][2]["message"], warning=True)
    assert "it belongs to the tenant other" in first.text
    assert said(refused, refused) is None
    second = said(refused, other)
    assert second is not None
    assert second.text != first.text
    assert said(other, ready) is not None


@pytest.mark.parametrize(
    ("action", "drift", "reason"),
    [
        (CreateNamespace({"metadata": {"name": "a"}}), False, "NamespaceCreated"),
        (ReleaseNamespace("a", {}), False, "NamespaceReleased"),
        (DeleteNamespace("a", "u"), False, "NamespaceDeleted"),
        (AddFinalizer(), False, None),
        (ApplyChild(Child(RESOURCE_QUOTAS, {"metadata": {"namespace": "a", "name": "q"}}, ""), True), False, None),
        (
            ApplyChild(Child(RESOURCE_QUOTAS, {"metadata": {"namespace": "a", "name": "q"}}, ""), True),
            True,
            "DriftRepaired",
        ),
    ],
)
def test_what_was_done_is_said_and_a_wish_that_is_carried_out_is_no_drift(
    action: Any, drift: bool, reason: str | None
) -> None:
    note = notes.of_action(action, drift=drift)
    assert (note and note.reason) == reason
    if reason == "DriftRepaired":
        assert note is not None
        assert note.text == "ResourceQuota a/q was missing and is there again"


def test_off_boarding_is_said_until_the_status_says_it() -> None:
    begun = tenant(deleting=True)
    assert notes.of_deletion(entry_of(begun)) is not None
    assert notes.of_deletion(entry_of({**begun, "status": {"phase": "Terminating"}})) is None
    assert notes.of_deletion(entry_of(tenant(deleting=True, finalizer=False))) is None
    assert notes.of_deletion(entry_of(tenant())) is None


async def test_only_a_child_that_others_changed_or_took_counts_as_drift(tmp_path: Path) -> None:
    body = tenant(resourceQuotas={"hard": {"pods": "5"}})
    ((key, found),) = settled(body, "acme").items()
    live = {**json.loads(found.content), "apiVersion": "v1", "kind": "ResourceQuota"}
    live["metadata"] |= {"name": "tenantry", "namespace": "acme"}
    told: list[str] = []
    async with scripted(tmp_path) as (_, kube):
        caches = Caches(
            kube,
            on_tenant=told.append,
            on_gone=told.append,
            on_all=lambda: None,
            on_usage=lambda name: told.append(f"~{name}"),
        )
        caches.namespaces("acme", frozenset({"acme"}))
        assert caches.last_digest("acme", key) == ""
        caches.absorb("acme", stored(live))
        assert caches.last_digest("acme", key) == found.digest
        quotas = caches._by_kind["ResourceQuota"]
        used = {**stored(live), "status": {"used": {"pods": "2"}}}
        used["metadata"]["resourceVersion"] = "6"
        quotas.absorb(used)
        assert told == ["~acme"], "nothing but its usage has changed"
        assert json.loads(caches.children("acme")[key].used) == {"pods": "2"}
        quotas.discard(("acme", "tenantry"), "6")
        assert caches.last_digest("acme", key) == found.digest, "somebody else has taken it"
        assert told == ["~acme", "acme"]
        caches.absorb("acme", {**used, "metadata": {**used["metadata"], "resourceVersion": "8"}})
        caches.discard("acme", key, "8")
        assert caches.last_digest("acme", key) == "", "we have taken it"
        quotas.absorb({**used, "metadata": {**used["metadata"], "resourceVersion": "10"}})
        quotas.discard(("acme", "tenantry"), "10")
        caches.discard("acme", key, "10")
        assert caches.last_digest("acme", key) == "", "we have taken it, and the watch has told of it first"


class Api:
    """Takes Events, or refuses them; `open` lets requests through."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.code = 201
        self.open = asyncio.Event()
        self.open.set()

    async def handle(self, request: web.Request) -> web.Response:
        await self.open.wait()
        body = await request.json()
        self.events.append(body)
        return web.json_response(body if self.code == 201 else {"kind": "Status", "code": self.code}, status=self.code)


@asynccontextmanager
async def recording(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Recorder, Metrics, Api]]:
    """Yield a recorder that writes to an API of the test's own."""
    api, metrics, app = Api(), Metrics(), web.Application()
    app.router.add_post("/apis/events.k8s.io/v1/namespaces/default/events", api.handle)
    async with TestServer(app) as server:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "clusters": [{"name": "x", "cluster": {"server": str(server.make_url("/")).rstrip("/")}}],
            "users": [{"name": "x", "user": {"token": "of no importance"}}],
        }
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        async with await Kube.connect(str(path)) as kube:
            recorder = Recorder(kube, metrics, **options)
            async with background(recorder.run()):
                yield recorder, metrics, api


def entry(name: str = "acme") -> Entry:
    body = tenant(name)
    body["metadata"]["uid"] = f"uid-{name}"
    return entry_of(body)


def count(metrics: Metrics, result: str) -> float:
    return sample(metrics, "tenantry_operator_events_total", result=result)


async def test_the_same_is_said_of_a_tenant_once_a_minute(tmp_path: Path) -> None:
    async with recording(tmp_path, repeat=0.3) as (recorder, metrics, api):
        for _ in range(50):
            recorder.say(entry(), NOTE)
            recorder.say(entry("other"), NOTE)
        await eventually(lambda: len(api.events) == 2, within=5, what="each Tenant has its Event")
        await asyncio.sleep(0.35)
        recorder.say(entry(), NOTE)
        await eventually(lambda: len(api.events) == 3, within=5, what="it is said again later")
        assert len(recorder._said) == 1, "what is too old is forgotten"
        assert count(metrics, "written") == 3


async def test_what_is_refused_is_counted_and_what_comes_later_is_written(tmp_path: Path) -> None:
    async with recording(tmp_path) as (recorder, metrics, api):
        codes = (403, 404, 409, 422, 429, 500, 503)
        for number, code in enumerate(codes, start=1):
            api.code = code
            recorder.say(entry(f"t{code}"), NOTE)

            def counted(number: int = number) -> bool:
                return count(metrics, "refused") == number

            await eventually(counted, within=5, what=f"a {code} is counted")
        api.code = 201
        recorder.say(entry(), NOTE)
        await eventually(lambda: count(metrics, "written") == 1, within=5, what="the next is written")


async def test_nobody_waits_for_an_api_server_that_does_not_answer(tmp_path: Path) -> None:
    async with recording(tmp_path, capacity=10, burst=100) as (recorder, metrics, api):
        api.open.clear()
        for number in range(100):
            recorder.say(entry(f"t{number}"), NOTE)
        assert count(metrics, "dropped") == 90
        recorder.say(entry(), Note("NeedsAttention", "help", warning=True))
        assert count(metrics, "dropped") == 90, "a warning has room of its own"
        api.open.set()
        await eventually(lambda: len(api.events) == 11, within=5, what="what waited is written")
        assert api.events[0]["type"] == "Warning"


async def test_many_are_written_slowly_after_a_burst(tmp_path: Path) -> None:
    async with recording(tmp_path, rate=20.0, burst=5) as (recorder, _, api):
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(15):
            recorder.say(entry(f"t{number}"), NOTE)
        await eventually(lambda: len(api.events) >= 5, within=5, what="the burst is written")
        await eventually(lambda: len(api.events) == 15, within=5, what="the rest is written")
        assert loop.time() - began >= 10 / 20.0 - 0.06


async def test_while_tenants_wait_events_come_one_by_one(tmp_path: Path) -> None:
    busy = True
    async with recording(tmp_path, rate=1000.0, busy=lambda: busy, give_way=0.2) as (recorder, _, api):
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(20):
            recorder.say(entry(f"t{number}"), NOTE)
        await eventually(lambda: len(api.events) == 3, within=5, what="a few are written all the same")
        assert loop.time() - began >= 0.6
        busy = False
        await eventually(lambda: len(api.events) == 20, within=2, what="the rest is written when nobody waits")


async def test_a_long_text_is_cut_to_what_the_api_server_takes(tmp_path: Path) -> None:
    async with recording(tmp_path) as (recorder, _, api):
        recorder.say(entry(), Note("NeedsAttention", "ä" * 2000, warning=True))
        await eventually(lambda: api.events, within=5, what="it is written")
        assert len(api.events[0]["note"].encode()) == 1024
