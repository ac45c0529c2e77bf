"""How many at once, who waits, and what is given back when somebody no longer does."""

import asyncio

import pytest

from tenantry_generator.by_then import by_then
from tenantry_generator.errors import NotReady
from tenantry_generator.turns import Turns


async def take(turns: Turns) -> None:
    if not turns.take():
        await turns.wait()


async def test_who_came_first_is_next_and_who_comes_beyond_the_queue_is_refused() -> None:
    turns, order = Turns(1, waiting=2), list[int]()

    async def work(number: int) -> None:
        await take(turns)
        order.append(number)

    await take(turns)
    waiting = [asyncio.create_task(work(number)) for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(NotReady, match="2 requests wait for an answer already"):
        await take(turns)
    for _ in range(3):
        turns.give_back()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert order == [0, 1]
    assert turns.take()
    assert not turns.take()
    await asyncio.gather(*waiting)


@pytest.mark.parametrize("come", [False, True])
async def test_whoever_gives_up_waiting_keeps_no_turn(come: bool) -> None:
    turns = Turns(1, waiting=2)
    await take(turns)
    waiting = asyncio.create_task(turns.wait())
    await asyncio.sleep(0)
    if come:
        turns.give_back()
        waiting.cancel()
    else:
        waiting.cancel()
        turns.give_back()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert turns.take()
    assert not turns.take()


async def test_a_deadline_cancels_what_takes_too_long_and_lets_through_what_does_not() -> None:
    seen: list[str] = []

    async def work(seconds: float) -> str:
        try:
            if seconds:
                await asyncio.sleep(seconds)
            await asyncio.sleep(seconds / 2)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return "done"

    for seconds in (0, 0.01):
        assert await by_then(work(seconds), seconds=5) == "done"
    with pytest.raises(TimeoutError):
        await by_then(work(5), seconds=0.05)
    assert seen == ["cancelled"]


@pytest.mark.parametrize("seconds", [0, 0.01])
async def test_what_fails_fails_as_it_would_without_a_deadline(seconds: float) -> None:
    async def work() -> None:
        if seconds:
            await asyncio.sleep(seconds)
        raise NotReady("not now")

    with pytest.raises(NotReady, match="not now"):
        await by_then(work(), seconds=5)
