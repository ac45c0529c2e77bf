"""What the operator keeps of Tenants, and that none is missing that exists and none stays that is gone."""

import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import tenantry_operator.caches as caches_module
import tenantry_operator.reconcile as reconcile_module
from tenantry.errors import Forbidden
from tenantry.jsontext import dump_json
from tenantry.model import Tenant
from tenantry.reflector import Timing
from tenantry.resources import TENANT_CLASSES, TENANTS
from tenantry_operator.actions import RemoveFinalizer
from tenantry_operator.caches import Caches
from tenantry_operator.entry import Kept, entry_of, keep, recall
from tenantry_operator.events import Recorder
from tenantry_operator.live import Live
from tenantry_operator.metrics import Metrics
from tenantry_operator.plan import Plan, refused_plan
from tenantry_operator.queue import Lane, Queue
from tenantry_operator.reconcile import Reconciler
from tests.support.background import background
from tests.support.eventually import eventually
from tests.unit.scripted_api import ScriptedApi, event, page, scripted, status
from tests.unit.test_plan import NOW, plan_of, tenant

EMPTY: dict[str, Any] = {"namespaces": {"items": []}}


def stored(name: str, version: int, **spec: Any) -> dict[str, Any]:
    """A Tenant as the API server has it, with what is of no use to the operator."""
    body = tenant(name, **spec)
    applied = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(body)}
    body["metadata"] |= {
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "annotations": applied,
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
    }
    return body


def settled(name: str, version: int) -> dict[str, Any]:
    """A Tenant that asks for no namespace and says all that there is to say."""
    body = stored(name, version, **EMPTY)
    return {**body, "status": plan_of(body).status}


class Told:
    """Caches of which only the Tenants run, and what they told."""

    def __init__(self, caches: Caches, api: ScriptedApi, said: list[str]) -> None:
        self.caches = caches
        self.api = api
        self.said = said


@asynccontextmanager
async def following(directory: Path) -> AsyncIterator[Told]:
    said: list[str] = []
    async with scripted(directory) as (api, kube):
        caches = Caches(
            kube,
            on_tenant=lambda name: said.append(f"look at {name}"),
            on_gone=lambda name: said.append(f"{name} is gone"),
            on_all=lambda: said.append("look at all"),
            on_usage=said.append,
        )
        told = Told(caches, api, said)
        (cache,) = (each for each in caches.reflectors if each.kind == TENANTS.kind)
        cache._timing = Timing(silence=5, relist=0, first_retry=0.01, last_retry=0.02)
        async with background(cache.run()):
            yield told


def test_what_is_kept_reads_as_the_object_itself_and_leaves_out_what_no_look_needs() -> None:
    body = settled("acme", 7)
    kept = keep(body)
    assert recall(kept).status == body["status"]
    assert recall(kept) == entry_of(
        {**body, "metadata": {key: value for key, value in body["metadata"].items() if key != "annotations"}}
    )
    assert b"managedFields" not in kept.json
    assert b"last-applied" not in kept.json


def test_a_tenant_being_deleted_and_its_finalizers_are_remembered() -> None:
    body = stored("acme", 7)
    body["metadata"] |= {"deletionTimestamp": NOW, "finalizers": ["theirs/one", "tenantry.dev/teardown"]}
    entry = recall(keep(body))
    assert entry.deleting
    assert entry.finalizers == ("theirs/one", "tenantry.dev/teardown")
    assert (entry.uid, entry.version) == ("uid-acme", 7)


def test_a_tenant_that_the_model_refuses_stays_refused_and_keeps_its_status() -> None:
    body = stored("acme", 7, owners=[{"kind": "Group", "name": "x", "role": "king"}])
    entry = recall(keep({**body, "status": {"phase": "Failed", "namespaces": [{"name": "acme", "ready": True}]}}))
    assert entry.tenant is None
    assert "spec.owners.0.role" in entry.refusal
    plan = refused_plan(entry, now=NOW)
    assert plan.actions == ()
    assert plan.status is not None
    assert plan.status["namespaces"] == [{"name": "acme", "ready": True}]
    again = recall(keep({**body, "status": plan.status}))
    assert refused_plan(again, now="2030-01-01T00:00:00Z").status is None, "it is said once"


def test_json_that_can_be_read_and_not_be_written_is_kept_as_its_refusal() -> None:
    deep: dict[str, Any] = {}
    for _ in range(400):
        deep = {"a": deep}
    with pytest.raises(TypeError):
        dump_json(deep)
    entry = recall(keep({**stored("acme", 7, parameters=deep), "status": {"phase": "Failed"}}))
    assert entry.tenant is None
    assert "nested deeper than 16 levels" in entry.refusal
    assert entry.status == {"phase": "Failed"}


async def test_a_tenant_that_was_deleted_while_the_watch_was_away_is_forgotten(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(stored("acme", 1), stored("beta", 2), version=5))
        run.api.on_watch((410, status(410, "Expired")))
        run.api.on_list(page(stored("beta", 2), version=9))
        await eventually(lambda: "acme is gone" in run.said, within=5, what="the deletion is noticed")
        assert not run.caches.has("acme")
        assert list(run.caches.tenants()) == ["beta"]
        assert run.caches.entry("acme") is None
        assert run.said.count("acme is gone") == 1
        assert run.said.count("look at beta") == 1, "nothing of it has changed"


async def test_every_complete_list_has_every_tenant_looked_at_and_a_failed_one_none(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(stored("acme", 1), version=5))
        run.api.on_watch(([], "close"))
        run.api.on_list((503, status(503, "Unavailable")))
        await eventually(lambda: len(run.api.queries) == 4, within=5, what="it lists again")
        assert run.said == ["look at acme", "look at all"]
        run.api.on_list(page(stored("acme", 1), version=5))
        await eventually(lambda: run.said.count("look at all") == 2, within=5, what="the second list")


async def test_tenants_come_back_as_a_restored_api_server_has_them(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(stored("acme", 30, displayName="new"), stored("late", 40), version=50))
        run.api.on_watch((410, status(410, "Expired")))
        run.api.on_list(*[page(stored("acme", 3, displayName="old"), version=20)] * 3)
        await eventually(lambda: "late is gone" in run.said, within=5, what="the older state is taken")
        entry = run.caches.entry("acme")
        assert entry is not None
        assert entry.tenant is not None
        assert (entry.version, entry.tenant.spec.display_name) == (3, "old")
        assert run.said[-3:] == ["look at acme", "late is gone", "look at all"]


async def test_our_own_write_is_seen_at_once_and_its_echo_wakes_nobody(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(stored("acme", 1), version=5))
        await eventually(lambda: run.caches.has("acme"), within=5, what="the Tenant is known")
        run.said.clear()
        ours = stored("acme", 6)
        ours["metadata"]["finalizers"] = ["tenantry.dev/teardown"]
        run.caches.absorb("acme", {**ours, "kind": TENANTS.kind})
        entry = run.caches.entry("acme")
        assert entry is not None
        assert entry.finalizers == ("tenantry.dev/teardown",)
        run.api.on_watch(([event("MODIFIED", ours), event("ADDED", stored("beta", 7))], "hang"))
        await eventually(lambda: run.caches.has("beta"), within=5, what="the watch has told of both")
        assert run.said == ["look at beta"]


async def test_a_class_that_kopf_has_seen_is_known_before_the_reflector_hears_of_it(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        gold = {"metadata": {"name": "gold", "uid": "u", "resourceVersion": "8"}, "spec": {}}
        run.caches.absorb_class(gold)
        assert list(run.caches.classes) == ["gold"]
        assert run.said == ["look at all"]
        run.caches.absorb_class(gold)
        assert run.said == ["look at all"], "it is known already"
        (cache,) = (each for each in run.caches.reflectors if each.kind == TENANT_CLASSES.kind)
        async with background(cache.run()):
            run.api.on_list(page(version=9), page(version=9))
            await eventually(lambda: not run.caches.classes, within=5, what="the list has the last word")


async def test_no_model_of_a_settled_tenant_outlives_the_look(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (api, kube):
        queue = Queue()
        reconciler = Reconciler(kube, queue, Recorder(kube, Metrics()))
        (cache,) = (each for each in reconciler.caches.reflectors if each.kind == TENANTS.kind)
        async with background(cache.run()):
            api.on_list(page(settled("only-here", 1), version=5))
            await eventually(lambda: len(queue) == 1, within=5, what="it is to be looked at")
            entry = reconciler.caches.entry("only-here")
            assert entry is not None
            assert models_of("only-here") == 1, "while it is looked at there is one"
            del entry
            await reconciler.reconcile("only-here")
            assert [dict(query) for query in api.queries if "watch" not in query] == [{"limit": "500"}], "no request"
            assert models_of("only-here") == 0
            assert {type(kept) for kept in cache.items.values()} == {Kept}


async def test_a_change_that_comes_during_a_look_is_looked_at_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scripted(tmp_path) as (api, kube):
        queue = Queue()
        reconciler = Reconciler(kube, queue, Recorder(kube, Metrics()))
        plan = reconciler._plan

        async def interrupted(*arguments: Any) -> Plan:
            made = await plan(*arguments)
            queue.add("acme")
            return made

        monkeypatch.setattr(reconciler, "_plan", interrupted)
        (cache,) = (each for each in reconciler.caches.reflectors if each.kind == TENANTS.kind)
        async with background(cache.run()):
            api.on_list(page(settled("acme", 1), version=5))
            assert await queue.get() == "acme"
            await reconciler.reconcile("acme")
            queue.done("acme")
            assert len(queue) == 1


@pytest.mark.parametrize("change", [{}, {"generation": 4}, {"finalizers": []}])
async def test_a_change_that_the_answer_to_a_status_brings_is_looked_at(tmp_path: Path, change: dict[str, Any]) -> None:
    async with scripted(tmp_path) as (api, kube):
        queue = Queue()
        reconciler = Reconciler(kube, queue, Recorder(kube, Metrics()))
        (cache,) = (each for each in reconciler.caches.reflectors if each.kind == TENANTS.kind)
        asked = stored("acme", 1, **EMPTY)

        def answer(_: str, patch: Any) -> tuple[int, Any]:
            metadata = {**asked["metadata"], "resourceVersion": "9", **change}
            return 200, {**asked, "kind": "Tenant", "metadata": metadata, "status": patch["status"]}

        api.on_patch = answer
        async with background(cache.run()):
            api.on_list(page(asked, version=5))
            assert await queue.get() == "acme"
            await reconciler.reconcile("acme")
            queue.done("acme")
            assert len(queue) == bool(change), "the watch will tell of nothing newer"


async def test_what_was_refused_of_one_version_is_not_held_against_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scripted(tmp_path) as (api, kube):
        reconciler = Reconciler(kube, Queue(), Recorder(kube, Metrics()))
        (cache,) = (each for each in reconciler.caches.reflectors if each.kind == TENANTS.kind)
        mended = stored("acme", 6, **EMPTY)
        mended["metadata"]["generation"] += 1

        async def refuse(*_: object) -> None:
            cache.absorb({**mended, "status": plan_of(mended).status})
            raise Forbidden("no")

        async def confirm(*_: object) -> None: ...

        monkeypatch.setattr(reconcile_module, "execute", refuse)
        monkeypatch.setattr(Live, "confirm", confirm)
        async with background(cache.run()):
            api.on_list(page(stored("acme", 1), version=5))
            await eventually(lambda: reconciler.caches.has("acme"), within=5, what="the Tenant is known")
            await reconciler.reconcile("acme")


async def test_a_finalizer_is_removed_once_although_the_tenant_is_still_to_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scripted(tmp_path) as (api, kube):
        reconciler = Reconciler(kube, Queue(), Recorder(kube, Metrics()))
        (cache,) = (each for each in reconciler.caches.reflectors if each.kind == TENANTS.kind)
        done: list[object] = []

        async def note(_kube: object, _entry: object, action: object, _memory: object) -> None:
            done.append(action)

        monkeypatch.setattr(reconcile_module, "execute", note)
        async with background(cache.run()):
            going = stored("acme", 1, **EMPTY)
            going["metadata"]["deletionTimestamp"] = NOW
            api.on_list(page(going, version=5))
            await eventually(lambda: reconciler.caches.has("acme"), within=5, what="the Tenant is known")
            await reconciler.reconcile("acme")
            assert done == [RemoveFinalizer()]


def models_of(name: str) -> int:
    gc.collect()
    return sum(isinstance(each, Tenant) and each.name == name for each in gc.get_objects())


@pytest.mark.parametrize("moment", ["before the look", "after the look"])
async def test_what_comes_before_a_look_is_seen_by_it_and_what_comes_later_by_another(moment: str) -> None:
    queue = Queue()
    queue.add("acme")
    assert await queue.get() == "acme"
    if moment == "before the look":
        queue.add("acme")
    queue.caught_up("acme")
    if moment == "after the look":
        queue.add("acme", Lane.RESYNC)
    queue.done("acme")
    assert len(queue) == (moment == "after the look")


def test_a_lost_deletion_is_noticed_within_ten_minutes() -> None:
    assert caches_module.RESYNC_SECONDS == 600
