"""Who answers, when, and in which order: by an elector that is told what to do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from tenantry.errors import Forbidden
from tenantry.lease import Elector
from tenantry_generator.errors import NotReady, RecordUnavailable
from tenantry_generator.role import Role
from tests.support.eventually import eventually


class ToldElector:
    """Gets the Lease when it is told to, and loses it so."""

    def __init__(self) -> None:
        self.valid = False
        self.given = asyncio.Event()
        self.refusal: Forbidden | None = None
        self.released: list[bool] = []
        self.lose: Callable[[str], None]

    async def acquire(self) -> None:
        if self.refusal is not None:
            raise self.refusal
        await self.given.wait()
        self.given.clear()
        self.valid = True

    @asynccontextmanager
    async def holding(self, on_lost: Callable[[str], None]) -> AsyncIterator[None]:
        def lose(why: str) -> None:
            self.valid = False
            on_lost(why)

        self.lose = lose
        try:
            yield
        finally:
            self.released.append(self.valid)
            self.valid = False


def role(elector: ToldElector, **steps: Callable[[], object]) -> Role:
    return Role(cast(Elector, elector), **steps)  # type: ignore[arg-type]


async def answers(one: Role) -> None:
    await eventually(one.answering, within=5, what="it answers")
    assert one.why_not() == ""


async def test_it_answers_while_it_holds_the_lease_and_again_after_it_has_it_back() -> None:
    elector = ToldElector()
    one = role(elector)
    async with one.holding():
        await asyncio.sleep(0)
        assert not one.answering()
        standing_by = one.why_not()
        assert "stands by" in standing_by
        for _ in range(2):
            elector.given.set()
            await answers(one)
            elector.lose("somebody holds it")
            assert not one.answering(), "at once, before any task runs"
            assert one.why_not() == standing_by
            await eventually(lambda: elector.released, within=1, what="it waits for the Lease again")
            elector.released.clear()
        elector.given.set()
        await answers(one)
    assert elector.released == [True]
    assert not one.answering()


async def test_it_does_not_answer_once_the_time_is_up_though_nobody_told_it() -> None:
    elector = ToldElector()
    one = role(elector)
    async with one.holding():
        elector.given.set()
        await answers(one)
        elector.valid = False
        assert not one.answering()
        assert "stands by" in one.why_not()


async def test_it_does_not_answer_before_what_must_come_first_has_succeeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenantry_generator.role._AFTER_FAILURE", 0.01)
    elector = ToldElector()
    failing, tries = True, 0

    async def load() -> None:
        nonlocal tries
        tries += 1
        if failing:
            raise RecordUnavailable("the record can't be read")

    one = role(elector, on_promoted=load)
    async with one.holding():
        elector.given.set()
        await eventually(lambda: tries > 2, within=5, what="it is tried again")
        assert not one.answering()
        assert one.why_not() == "this replica is to answer and can't yet: the record can't be read"
        failing = False
        await answers(one)
        before = tries
        elector.lose("somebody holds it")
        elector.given.set()
        await answers(one)
        assert tries == before + 1, "each time that it got the Lease"


async def test_losing_the_lease_while_getting_ready_ends_that() -> None:
    elector = ToldElector()
    started, ended = asyncio.Event(), asyncio.Event()

    async def load() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    one = role(elector, on_promoted=load)
    async with one.holding():
        elector.given.set()
        await started.wait()
        elector.lose("somebody holds it")
        await asyncio.wait_for(ended.wait(), 1)
        assert not one.answering()


async def test_what_shows_it_runs_only_while_it_answers() -> None:
    elector = ToldElector()
    shown: list[bool] = []

    async def show() -> None:
        shown.append(one.answering())
        try:
            await asyncio.Event().wait()
        finally:
            shown.append(one.answering())

    one = role(elector, show=show)
    async with one.holding():
        assert shown == []
        elector.given.set()
        await eventually(lambda: shown == [True], within=1, what="it is shown")
        elector.lose("somebody holds it")
        await eventually(lambda: shown == [True, False], within=1, what="it is no longer shown")


async def test_a_lease_that_it_may_not_have_is_told_and_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenantry_generator.role._AFTER_FAILURE", 0.01)
    elector = ToldElector()
    elector.refusal = Forbidden("leases are forbidden", status=403)
    one = role(elector)
    async with one.holding():
        await eventually(lambda: "leases are forbidden" in one.why_not(), within=1, what="it says why")
        elector.refusal = None
        elector.given.set()
        await answers(one)


async def test_without_a_lease_it_answers_when_it_is_ready() -> None:
    ready = asyncio.Event()

    async def load() -> None:
        await ready.wait()

    one = Role(None, on_promoted=load)
    async with one.holding():
        await asyncio.sleep(0)
        assert not one.answering()
        ready.set()
        await answers(one)


async def test_a_defect_in_getting_ready_ends_the_process_instead_of_standing_by_for_ever() -> None:
    async def load() -> None:
        raise ZeroDivisionError

    elector = ToldElector()
    elector.given.set()
    with pytest.raises(ExceptionGroup) as caught:
        async with role(elector, on_promoted=load).holding():
            await asyncio.sleep(5)
    assert caught.group_contains(ZeroDivisionError)
    assert not caught.group_contains(NotReady)
