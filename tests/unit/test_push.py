"""Push against an API server that fails as it is told: what is tried again, when, and what is never tried."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tenantry.kube import Kube
from tenantry.render import render_row
from tenantry_generator.applicationsets import REFRESH
from tenantry_generator.argocd import ApplicationSets
from tenantry_generator.membership import Membership, take
from tenantry_generator.metrics import Metrics
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.push import Push
from tenantry_generator.received import Receipt
from tests.support.background import background
from tests.support.eventually import eventually
from tests.unit.scripted_api import ScriptedApi, event, page, scripted, status

ACCEPTED = accepted_parameters(("status",))
EVERYTHING = parse_query({}, ACCEPTED)


def body(name: str, version: int, refresh: str = "") -> dict[str, Any]:
    generators = [{"plugin": {"configMapRef": {"name": "tenantry"}}}]
    metadata: dict[str, Any] = {"name": name, "namespace": "argocd", "uid": name, "resourceVersion": str(version)}
    if refresh:
        metadata["annotations"] = {REFRESH: refresh}
    return {"metadata": metadata, "spec": {"generators": generators}}


def receipt(name: str, revision: int) -> Receipt:
    return Receipt(name, EVERYTHING.key, EVERYTHING.of_tenants.key, revision, 0.0, {}, revision)


class Told:
    """A Push over an API server of ApplicationSets, and what it has annotated, with the times."""

    def __init__(self, api: ScriptedApi, kube: Kube) -> None:
        self.api = api
        self.metrics = Metrics()
        self.sets = ApplicationSets(kube, namespace="argocd", config_maps=["tenantry"], columns=["status"])
        self.push = Push(
            self.sets,
            parse=lambda given: parse_query(given, ACCEPTED),
            may_push=lambda: self.answers,
            metrics=self.metrics,
        )
        self.state = Membership(revision=1)
        self.answers = True
        self.patched: list[tuple[str, str, float]] = []
        self.fails: list[tuple[int, str]] = []
        self.version = 100
        api.on_patch = self._patch

    def _patch(self, path: str, patch: Any) -> tuple[int, Any]:
        name, value = path.rpartition("/")[2], patch["metadata"]["annotations"][REFRESH]
        self.patched.append((name, value, time.monotonic()))
        if self.fails:
            code, reason = self.fails.pop(0)
            return code, status(code, reason)
        self.version += 1
        return 200, body(name, self.version, value)

    def serve(self, *names: str) -> None:
        """Serve these tenants."""
        rows = {name: render_row(name, {"status": "active"}) for name in names}
        before = self.state
        after = take(before, "postgres", rows, now=0)
        self.state = replace(after, revision=before.revision + 1)
        self.push.served(before, self.state)

    def fetch(self, name: str) -> None:
        """The ApplicationSet gets the answer that is served now."""
        self.push.received(receipt(name, self.state.revision))

    def names(self) -> list[str]:
        return [name for name, _, _ in self.patched]

    def value(self, line: str) -> float:
        lines = self.metrics.render().decode().splitlines()
        return sum(float(each.rpartition(" ")[2]) for each in lines if each.startswith(f"{line} "))

    async def reconciled(self, *names: str) -> None:
        """The controller takes the annotations away."""
        gone = []
        for name in names:
            self.version += 1
            gone.append(event("MODIFIED", body(name, self.version)))
        for _ in range(2):  # the ConfigMaps are watched, too
            self.api.on_watch((gone, "close"))
        await eventually(lambda: not any(map(self.sets.annotation, names)), within=5, what="no annotation is left")

    async def patches(self, count: int, within: float = 5) -> None:
        await eventually(lambda: len(self.patched) >= count, within=within, what=f"{count} tries to annotate")

    async def quiet(self, seconds: float = 1.2) -> None:
        """See to it that nothing is annotated meanwhile."""
        count = len(self.patched)
        await asyncio.sleep(seconds)
        assert len(self.patched) == count


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    """Two ApplicationSets of ours, which have fetched what is served at the start."""
    async with telling(tmp_path, "one", "two") as told:
        await told.patches(2)
        for name in ("one", "two"):
            told.fetch(name)
        await told.reconciled("one", "two")
        told.patched.clear()
        yield told


@asynccontextmanager
async def telling(directory: Path, *names: str) -> AsyncIterator[Told]:
    """Serve a tenant, once these ApplicationSets are known."""
    async with scripted(directory) as (api, kube):
        # Whether the ApplicationSets or the ConfigMaps are listed first can't be told, so both are given both.
        listed = page(*(body(name, number + 1) for number, name in enumerate(names)), version=50)
        api.on_list(listed, listed)
        told = Told(api, kube)
        async with background(told.sets.run()), background(told.push.run()):
            await eventually(lambda: told.sets.synced, within=5, what="the ApplicationSets are known")
            told.serve("a")
            yield told


async def test_every_application_set_is_told_once_when_answering_begins_and_not_all_together(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(6)]
    async with telling(tmp_path, *names) as told:
        await told.patches(6)
        assert sorted(told.names()) == names
        times = [at for _, _, at in told.patched]
        assert times[-1] - times[0] >= 0.4
        assert len({value for _, value, _ in told.patched}) == 6
        await told.quiet()


async def test_a_change_that_was_fetched_is_told_once_and_one_that_nobody_sees_never(told: Told) -> None:
    told.serve("a", "b")
    await told.patches(2)
    for name in ("one", "two"):
        told.fetch(name)
    told.serve("a", "b")
    await told.quiet()
    assert sorted(told.names()) == ["one", "two"]
    assert told.value("tenantry_push_pending") == 0
    assert told.value("tenantry_push_delivery_seconds_count") == 2


async def test_a_conflict_and_an_api_server_that_fails_are_tried_again(told: Told) -> None:
    told.fails = [(409, "Conflict"), (500, "InternalError"), (503, "ServiceUnavailable"), (429, "TooManyRequests")]
    told.serve("a", "b")
    await told.patches(6)
    await told.quiet()
    assert told.value('tenantry_push_total{result="conflict"}') == 1
    assert told.value('tenantry_push_total{result="failed"}') == 3
    assert told.value("tenantry_push_pending") == 2, "annotated is not fetched"
    told.fetch("one")
    told.fetch("two")
    assert told.value("tenantry_push_pending") == 0


async def test_one_that_was_deleted_is_not_tried_again(told: Told) -> None:
    told.fails = [(404, "NotFound")]
    told.serve("a", "b")
    await told.patches(2)
    await told.quiet()
    assert told.value('tenantry_push_total{result="gone"}') == 1
    assert told.value("tenantry_push_pending") == 1


async def test_what_is_forbidden_is_tried_rarely(
    told: Told,
) -> None:
    told.fails = [(403, "Forbidden"), (403, "Forbidden")]
    told.serve("a", "b")
    await told.patches(2)
    told.serve("a", "b", "c")
    await told.quiet()
    assert told.value('tenantry_push_total{result="forbidden"}') == 2
    told.fetch("two")  # it has asked by itself
    assert told.value("tenantry_push_pending") == 1


async def test_nobody_is_told_by_one_that_stands_by_and_everybody_when_it_answers_again(told: Told) -> None:
    told.answers = False
    told.serve("a", "b")
    await told.quiet()
    assert told.value("tenantry_push_pending") == 0
    told.push.start_over()
    told.answers = True
    await told.quiet()  # nothing is served yet
    told.serve("a", "b", "c")
    await told.patches(2)
    assert sorted(told.names()) == ["one", "two"]
    await told.quiet()


async def test_a_wake_up_that_was_lost_is_repeated(told: Told) -> None:
    told.serve("a", "b")
    await told.patches(2)
    told.fetch("two")
    await told.reconciled("one", "two")
    await told.patches(3)
    assert told.names()[2] == "one"
    assert len({value for _, value, _ in told.patched}) == 3
    told.fetch("one")
    await told.quiet()


async def test_more_changes_than_it_can_follow_wake_everybody(told: Told) -> None:
    for number in range(100):  # without a pause in which it could look at one
        told.serve("a", f"t{number}")
    await told.patches(2)
    assert sorted(told.names()) == ["one", "two"]
    told.fetch("one")
    told.fetch("two")
    await told.quiet()


async def test_a_defect_ends_neither_the_process_nor_pushing(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("tenantry_generator.push.compare", broken)
    monkeypatch.setattr("tenantry_generator.push._AFTER_CRASH", 0.1)
    told.serve("a", "b")
    await told.patches(2)
    assert sorted(told.names()) == ["one", "two"]
