"""The cache against the faults of an API server: nothing may go missing that is not gone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tenantry.errors import KubeError, NotFound, Throttled
from tenantry.reflector import Key, Reflector, Timing
from tenantry.resources import CONFIG_MAPS, NAMESPACES
from tests.support.eventually import eventually
from tests.unit.scripted_api import ScriptedApi, bookmark, event, namespace, page, scripted, status

QUICK = Timing(silence=0.3, relist=900, first_retry=0.01, last_retry=0.02)


class Following:
    """A running reflector, and every change it reported."""

    def __init__(self, api: ScriptedApi, reflector: Reflector[str]) -> None:
        self.api = api
        self.reflector = reflector
        self.changes: list[tuple[str, str | None, str | None]] = []
        self.restored: list[set[str]] = []
        self.lists: list[list[str]] = []

    def note(self, key: Key, before: str | None, after: str | None) -> None:
        self.changes.append((key[1], before, after))

    def note_restored(self, missing: frozenset[Key]) -> None:
        assert missing <= self.reflector.items.keys()
        self.restored.append({name for _, name in missing})

    def note_listed(self) -> None:
        assert self.reflector.synced.is_set()
        self.lists.append(self.names)

    @property
    def names(self) -> list[str]:
        return sorted(name for _, name in self.reflector.items)

    async def reaches(self, *names: str) -> None:
        await eventually(lambda: self.names == sorted(names), within=5, what=f"{names}, not {self.names}")


def _version(body: dict[str, Any]) -> str:
    return str(body["metadata"]["resourceVersion"])


@contextlib.asynccontextmanager
async def following(directory: Path, *, timing: Timing = QUICK) -> AsyncIterator[Following]:
    async with scripted(directory) as (api, kube):
        holder: list[Following] = []
        reflector = Reflector(
            kube,
            NAMESPACES,
            transform=_version,
            on_change=lambda *change: holder[0].note(*change),
            on_restored=lambda missing: holder[0].note_restored(missing),
            on_listed=lambda: holder[0].note_listed(),
            timing=timing,
        )
        holder.append(Following(api, reflector))
        task = asyncio.create_task(reflector.run())
        try:
            yield holder[0]
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_pages_are_published_together(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), version=5, token="next"))
        await eventually(lambda: len(run.api.queries) == 2, within=5, what="the second page is asked for")
        assert run.names == []
        assert not run.reflector.synced.is_set()
        run.api.on_list(page(namespace("b", 2), version=5))
        await run.reaches("a", "b")
        assert run.reflector.synced.is_set()
        assert run.api.queries[1]["continue"] == "next"


async def test_a_continue_token_that_expires_starts_the_list_over_and_publishes_nothing(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), version=5, token="next"), (410, status(410, "Expired")))
        run.api.on_list(page(namespace("b", 6), namespace("c", 6), version=7))
        await run.reaches("b", "c")
        assert ("a", None, "1") not in run.changes
        assert "continue" not in run.api.queries[2]


async def test_a_watch_goes_on_from_the_last_bookmark(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), version=5))
        run.api.on_watch(([event("ADDED", namespace("b", 6)), bookmark(42)], "close"))
        await eventually(lambda: len(run.api.queries) == 3, within=5, what="watching again")
        assert run.api.queries[2]["resourceVersion"] == "42"
        assert run.names == ["a", "b"]


async def test_an_expired_watch_lists_again_and_finds_what_was_deleted_meanwhile(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), namespace("b", 2), version=5))
        run.api.on_watch(([{"type": "ERROR", "object": status(410, "Expired")}], "close"))
        run.api.on_list(page(namespace("b", 2), namespace("c", 8), version=9))
        await run.reaches("b", "c")
        assert run.changes[-2:] == [("c", None, "8"), ("a", "1", None)]


async def test_a_watch_refused_with_410_lists_again(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), version=5))
        run.api.on_watch((410, status(410, "Expired")))
        run.api.on_list(page(namespace("b", 6), version=9))
        await run.reaches("b")


async def test_a_kind_that_is_not_served_any_more_keeps_its_items_and_is_listed_anew_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), version=5))
        run.api.on_watch((404, status(404, "NotFound")))
        run.api.on_list((404, status(404, "NotFound")))
        await eventually(lambda: len(run.api.queries) == 4, within=5, what="listing for the third time")
        assert run.names == ["a"]
        assert isinstance(run.reflector.error, NotFound)
        assert "watch" not in run.api.queries[3], "a watch could miss what went with the kind"
        run.api.on_list(page(namespace("b", 8), version=9))
        await run.reaches("b")
        assert run.reflector.error is None


async def test_one_namespace_can_be_followed_and_each_turn_of_error_is_told(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (api, kube):
        told: list[KubeError | None] = []
        reflector = Reflector(
            kube,
            CONFIG_MAPS,
            transform=_version,
            on_error=lambda: told.append(reflector.error),
            namespace="one",
            timing=QUICK,
        )
        api.on_list((404, status(404, "NotFound")), page(version=5))
        task = asyncio.create_task(reflector.run())
        try:
            await eventually(lambda: len(api.queries) == 3, within=5, what="a watch is open")
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    assert [type(error) for error in told] == [NotFound, type(None)]
    assert api.paths == ["/api/v1/namespaces/one/configmaps"] * 3


async def test_a_silent_stream_is_dropped_and_what_it_did_not_tell_is_listed(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), version=5))
        run.api.on_watch(([], "hang"))
        run.api.on_list(page(namespace("a", 1), namespace("b", 6), version=6))
        await run.reaches("a", "b")
        run.api.on_watch(([event("ADDED", namespace("c", 7))], "hang"))
        await run.reaches("a", "b", "c")


async def test_a_stream_that_ends_inside_an_event_loses_nothing(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), version=5))
        run.api.on_watch(([], b'{"type":"DELETED","object":{"meta'), ([event("ADDED", namespace("b", 6))], "hang"))
        await run.reaches("a", "b")


@pytest.mark.parametrize(
    ("code", "kind"), [(404, NotFound), (403, KubeError), (500, KubeError), (429, Throttled), (503, KubeError)]
)
async def test_a_failing_list_is_an_error_and_never_an_absence(tmp_path: Path, code: int, kind: type) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), version=5))
        run.api.on_watch((410, status(410, "Expired")))
        run.api.on_list((code, status(code, "Broken")))
        await eventually(lambda: isinstance(run.reflector.error, kind), within=5, what=f"{kind}: {run.reflector.error}")
        assert run.names == ["a"]
        run.api.on_list(page(namespace("a", 1), namespace("b", 6), version=7))
        await run.reaches("a", "b")
        await eventually(lambda: run.reflector.error is None, within=5, what="healthy again")


async def test_a_list_older_than_what_was_seen_is_refused(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), namespace("b", 2), version=50))
        run.api.on_watch((410, status(410, "Expired")))
        run.api.on_list(page(namespace("a", 1), version=20))
        await eventually(lambda: run.reflector.error is not None, within=5, what="the refusal is reported")
        assert "its resourceVersion is lower than one seen before" in str(run.reflector.error)
        assert run.names == ["a", "b"]


async def test_two_older_lists_that_are_not_in_a_row_with_a_third_change_nothing(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), namespace("b", 2), version=50))
        for older in ([20, 20], [21, 21], [22]):
            run.api.on_watch((410, status(410, "Expired")))
            run.api.on_list(*(page(namespace("a", 1), version=version) for version in older))
            run.api.on_list(page(namespace("a", 1), namespace("b", 2), version=51))
        asked = 1 + 3 + 5 + 3
        await eventually(lambda: len(run.api.queries) >= asked, within=5, what="every list was read")
        assert run.names == ["a", "b"]
        assert run.restored == []


async def test_the_third_older_list_in_a_row_is_what_a_restored_api_server_has(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 30), namespace("b", 2), namespace("c", 40), version=50))
        run.api.on_watch((410, status(410, "Expired")))
        run.api.on_list(*[page(namespace("a", 1), namespace("b", 2), version=20)] * 3)
        await run.reaches("a", "b")
        assert run.restored == [{"c"}], "told before anything is taken out"
        assert run.changes[-2:] == [("a", "30", "1"), ("c", "40", None)]
        run.api.on_watch(([event("MODIFIED", namespace("b", 21)), event("ADDED", namespace("d", 22))], "hang"))
        await run.reaches("a", "b", "d")
        assert run.reflector.items["", "b"] == "21"
        assert run.reflector.error is None


async def test_a_restored_api_server_that_has_gone_past_what_was_seen_is_told_by_an_object_that_is_older_than_it_was(
    tmp_path: Path,
) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 30), namespace("b", 2), namespace("c", 40), version=50))
        run.api.on_watch((410, status(410, "Expired")))
        now = page(namespace("a", 1), namespace("b", 2), namespace("d", 60), version=61)
        run.api.on_list(now, (503, status(503, "Unavailable")), now)
        await run.reaches("a", "b", "d")
        assert run.restored == [{"c"}], "told before anything is taken out, and once"
        assert run.reflector.items["", "a"] == "1"
        assert ("a", "30", "1") in run.changes


async def test_what_our_own_write_has_made_newer_than_a_list_is_no_sign_of_a_restored_api_server(
    tmp_path: Path,
) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), version=50))
        await run.reaches("a")
        run.reflector.absorb(namespace("a", 70))
        run.api.on_watch((410, status(410, "Expired")))
        run.api.on_list(page(namespace("a", 1), namespace("b", 51), version=60))
        await run.reaches("a", "b")
        assert run.reflector.items["", "a"] == "70"
        assert run.restored == []


async def test_the_lists_in_between_may_fail_and_the_older_ones_count_on(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), namespace("b", 2), version=50))
        run.api.on_watch((410, status(410, "Expired")))
        older = page(namespace("a", 1), version=20)
        run.api.on_list(older, (503, status(503, "Unavailable")), older, (410, status(410, "Expired")))
        await eventually(lambda: len(run.api.queries) >= 6, within=5, what="four lists more")
        assert run.names == ["a", "b"]
        run.api.on_list(older)
        await run.reaches("a")


@pytest.mark.parametrize("place", ["first page", "second page"])
async def test_410_on_a_relist_starts_it_over_and_takes_nothing_out(tmp_path: Path, place: str) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), namespace("b", 2), version=5))
        run.api.on_watch((410, status(410, "Expired")))
        if place == "second page":
            run.api.on_list(page(namespace("a", 1), version=9, token="next"))
        run.api.on_list((410, status(410, "Expired")))
        await eventually(lambda: len(run.api.queries) >= 5 - (place == "first page"), within=5, what="listing again")
        assert run.names == ["a", "b"]
        run.api.on_list(page(namespace("b", 2), version=10))
        await run.reaches("b")
        assert "continue" not in run.api.queries[-2]


@pytest.mark.parametrize("place", ["list", "watch"])
async def test_429_is_waited_out_for_as_long_as_the_server_says(tmp_path: Path, place: str) -> None:
    busy = (429, status(429, "TooManyRequests") | {"details": {"retryAfterSeconds": 1}})
    async with following(tmp_path) as run:
        if place == "list":
            run.api.on_list(busy)
        run.api.on_list(page(namespace("a", 1), version=5))
        if place == "watch":
            run.api.on_watch(busy)
        run.api.on_watch(([event("ADDED", namespace("b", 6))], "hang"))
        await eventually(lambda: isinstance(run.reflector.error, Throttled), within=5, what="the refusal is reported")
        asked, since = len(run.api.queries), asyncio.get_running_loop().time()
        await run.reaches("a", "b")
        assert asyncio.get_running_loop().time() - since > 0.8
        lists = [query for query in run.api.queries if "watch" not in query]
        assert len(lists) == (2 if place == "list" else 1), "a refused watch is no reason to list"
        assert len(run.api.queries) == asked + (2 if place == "list" else 1)


async def test_a_connection_that_is_refused_leaves_everything_and_is_tried_again(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), version=5))
        run.api.on_watch(([], "drop"), ([], "drop"), ([event("ADDED", namespace("b", 6))], "hang"))
        await run.reaches("a", "b")
        assert all(name != "a" or after is not None for name, _, after in run.changes)


async def test_an_object_that_loses_the_label_leaves_a_cache_that_selects_by_it(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1, team="x"), namespace("b", 2, team="x"), version=5))
        run.api.on_watch(([event("DELETED", namespace("a", 6))], "hang"))
        await run.reaches("b")


async def test_a_kind_that_is_gone_and_back_is_listed_and_has_the_new_objects(tmp_path: Path) -> None:
    gone = (404, status(404, "NotFound"))
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), namespace("b", 2), version=5))
        run.api.on_watch(gone)
        run.api.on_list(gone)
        await eventually(lambda: len(run.api.queries) >= 4, within=5, what="it is listed again")
        assert isinstance(run.reflector.error, NotFound)
        assert run.names == ["a", "b"]
        run.api.on_list(page(namespace("b", 9), version=10))
        await run.reaches("b")
        assert run.reflector.items["", "b"] == "9"


async def test_a_list_answer_that_is_no_list_is_refused(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), version=5))
        run.api.on_watch((410, status(410, "Expired")))
        run.api.on_list({"metadata": {"resourceVersion": "9"}})
        await eventually(lambda: run.reflector.error is not None, within=5, what="the refusal is reported")
        assert run.names == ["a"]


async def test_a_periodic_list_finds_a_delete_that_the_watch_never_told(tmp_path: Path) -> None:
    timing = Timing(silence=5, relist=0, first_retry=0.01, last_retry=0.02)
    async with following(tmp_path, timing=timing) as run:
        run.api.on_list(page(namespace("a", 1), namespace("b", 2), version=5))
        run.api.on_watch(([bookmark(9)], "close"))
        run.api.on_list(page(namespace("b", 2), version=10))
        await run.reaches("b")


async def test_every_complete_list_is_told_of_once_it_is_taken_and_a_failed_one_is_not(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), version=5))
        run.api.on_watch((410, status(410, "Expired")))
        run.api.on_list((503, status(503, "Unavailable")), page(namespace("b", 6), version=7))
        await run.reaches("b")
        assert run.lists == [["a"], ["b"]]


@pytest.mark.parametrize("relist", [0.5, 60, 900])
async def test_a_watch_never_outlasts_the_next_list(tmp_path: Path, relist: float) -> None:
    timing = Timing(silence=5, relist=relist, first_retry=0.01, last_retry=0.02)
    async with following(tmp_path, timing=timing) as run:
        run.api.on_list(page(version=5))
        await eventually(lambda: len(run.api.queries) == 2, within=5, what="a watch is open")
        assert 1 <= int(run.api.queries[1]["timeoutSeconds"]) <= max(1, min(relist, 600))


async def test_events_older_than_our_own_write_do_not_undo_it(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(namespace("a", 1), version=5))
        await run.reaches("a")
        run.reflector.absorb(namespace("a", 9))
        run.reflector.absorb(namespace("new", 10))
        run.api.on_watch(([event("MODIFIED", namespace("a", 7)), bookmark(8)], "close"))
        await eventually(lambda: len(run.api.queries) == 3, within=5, what="watching again")
        assert run.reflector.items == {("", "a"): "9", ("", "new"): "10"}


async def test_a_write_that_is_answered_after_its_deletion_was_seen_leaves_no_ghost(tmp_path: Path) -> None:
    async with following(tmp_path) as run:
        run.api.on_list(page(version=5))
        run.api.on_watch(([event("ADDED", namespace("a", 6)), event("DELETED", namespace("a", 7))], "hang"))
        await eventually(lambda: ("a", "6", None) in run.changes, within=5, what="the deletion is seen")
        run.reflector.absorb(namespace("a", 6))
        assert run.names == []


async def test_a_watch_that_is_open_again_is_healthy_before_anything_happens(tmp_path: Path) -> None:
    timing = Timing(silence=5, relist=900, first_retry=0.01, last_retry=0.02)
    async with following(tmp_path, timing=timing) as run:
        run.api.on_list(page(version=5))
        run.api.on_watch((503, status(503, "ServiceUnavailable")))
        await eventually(lambda: run.reflector.error is not None, within=5, what="the failure is shown")
        run.api.on_watch(([], "hang"))
        await eventually(lambda: run.reflector.error is None, within=2, what="the open watch is healthy")


async def test_a_watch_that_has_worked_is_tried_again_at_once_however_it_ends(tmp_path: Path) -> None:
    timing = Timing(silence=5, relist=900, first_retry=0.02, last_retry=60)
    async with following(tmp_path, timing=timing) as run:
        run.api.on_list(page(version=5))
        broken = b'{"type":"DELETED","object":{"meta'
        run.api.on_watch(*[([], broken)] * 7, ([bookmark(9)], broken), ([event("ADDED", namespace("b", 10))], "hang"))
        await eventually(lambda: len(run.api.queries) >= 9, within=10, what="the watch that brings something")
        await eventually(lambda: run.names == ["b"], within=1, what="the next one")


async def test_a_watch_that_ends_at_once_over_and_over_is_no_hot_loop(tmp_path: Path) -> None:
    timing = Timing(silence=5, relist=900, first_retry=0.2, last_retry=10)
    async with following(tmp_path, timing=timing) as run:
        run.api.on_list(page(version=5))
        run.api.on_watch(*[([], "close")] * 50)
        await eventually(lambda: len(run.api.queries) >= 3, within=5, what="a second watch")
        await asyncio.sleep(0.5)
        assert len(run.api.queries) < 8
