"""The work queue keeps client-go's promises."""

import asyncio

from tenantry_operator.queue import Lane, Queue
from tests.support.eventually import eventually


async def _next(queue: Queue) -> str:
    return await asyncio.wait_for(queue.get(), 2)


async def test_a_key_added_twice_is_worked_on_once() -> None:
    queue = Queue()
    queue.add("a")
    queue.add("a")
    assert await _next(queue) == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_a_key_added_while_it_is_worked_on_comes_again_and_only_after_done() -> None:
    queue = Queue()
    queue.add("a")
    assert await _next(queue) == "a"
    queue.add("a")
    queue.add("b")
    assert await _next(queue) == "b", "a must not be given to a second worker"
    queue.done("a")
    assert await _next(queue) == "a"


async def test_a_change_goes_before_resyncs() -> None:
    queue = Queue()
    for name in ("r1", "r2", "r3"):
        queue.add(name, Lane.RESYNC)
    queue.add("edited")
    assert await _next(queue) == "edited"


async def test_while_changes_keep_coming_resyncs_get_one_turn_in_eight() -> None:
    queue = Queue()
    for name in ("r1", "r2", "r3"):
        queue.add(name, Lane.RESYNC)
    taken = []
    for number in range(30):
        queue.add(f"c{number}")
        queue.add(f"d{number}")
        taken.append(await _next(queue))
        queue.done(taken[-1])
    assert [at for at, name in enumerate(taken) if name.startswith("r")] == [7, 15, 23]


async def test_a_resync_that_becomes_a_change_moves_up_and_is_not_done_twice() -> None:
    queue = Queue()
    queue.add("r1", Lane.RESYNC)
    queue.add("r2", Lane.RESYNC)
    queue.add("r2", Lane.CHANGE)
    taken = []
    while len(queue):
        taken.append(await _next(queue))
        queue.done(taken[-1])
    assert taken == ["r2", "r1"]


async def test_a_resync_does_not_pull_a_waiting_change_down() -> None:
    queue = Queue()
    queue.add("a", Lane.CHANGE)
    queue.add("a", Lane.RESYNC)
    queue.add("b", Lane.RESYNC)
    assert await _next(queue) == "a"
    queue.done("a")
    assert await _next(queue) == "b"
    assert len(queue) == 0


async def test_delays_of_a_failing_key_grow_up_to_the_cap_and_end_with_success() -> None:
    queue = Queue(first_retry=0.01, last_retry=0.08)
    for full in [0.01, 0.02, 0.04, 0.08, 0.08]:
        assert full / 2 <= queue.retry("a") <= full
        assert await _next(queue) == "a"
        queue.done("a")
    queue.forget("a")
    assert queue.retry("a") <= 0.01


async def test_tries_that_something_else_calls_for_do_not_put_off_the_one_that_is_due() -> None:
    queue = Queue(first_retry=0.05, last_retry=300)
    delays = [queue.retry("a") for _ in range(20)]
    assert delays == sorted(delays, reverse=True)
    assert await _next(queue) == "a"
    queue.done("a")
    assert 0.05 <= queue.retry("a") <= 0.1, "it has doubled once"


async def test_a_wait_from_before_a_success_does_not_count_for_the_next_failure() -> None:
    queue = Queue(first_retry=0.01, last_retry=300)
    assert queue.retry("a", at_least=60) == 60
    queue.forget("a")
    assert queue.retry("a") <= 0.01
    assert await _next(queue) == "a"


async def test_a_server_that_asks_for_patience_gets_it() -> None:
    queue = Queue(first_retry=0.1, last_retry=8)
    assert queue.retry("a", at_least=5) == 5


async def test_a_back_off_can_be_kept_short() -> None:
    queue = Queue(first_retry=100, last_retry=300)
    assert queue.retry("a") > 30
    assert queue.retry("a", at_most=30) == 30


async def test_an_earlier_time_stands_against_a_later_one() -> None:
    queue = Queue()
    queue.add_after("a", 0.01)
    queue.add_after("a", 60)
    assert await _next(queue) == "a"


async def test_a_sooner_time_replaces_a_later_one() -> None:
    queue = Queue()
    queue.add_after("a", 60)
    queue.add_after("a", 0.01)
    assert await _next(queue) == "a"


async def test_every_key_is_worked_on_by_one_worker_at_a_time_under_load() -> None:
    queue = Queue()
    working: set[str] = set()
    finished: list[str] = []

    async def work() -> None:
        while True:
            key = await queue.get()
            assert key not in working
            working.add(key)
            await asyncio.sleep(0)
            working.discard(key)
            finished.append(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(8)]
    keys = [f"k{number % 50}" for number in range(1000)]
    for key in keys:
        queue.add(key)
        await asyncio.sleep(0)
    await eventually(lambda: not len(queue) and not working, within=5, what="the queue is worked off")
    for worker in workers:
        worker.cancel()
    results = await asyncio.gather(*workers, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results), results
    assert set(finished) == set(keys)


async def test_a_key_that_moves_up_has_waited_since_it_first_came() -> None:
    queue = Queue()
    assert queue.longest_wait() == 0
    queue.add("a", Lane.RESYNC)
    await asyncio.sleep(0.05)
    queue.add("a", Lane.CHANGE)
    assert queue.longest_wait() >= 0.05
    await _next(queue)
    assert queue.longest_wait() == 0


async def test_work_under_way_is_timed_until_it_is_done() -> None:
    queue = Queue()
    queue.add("a")
    await _next(queue)
    await asyncio.sleep(0.05)
    assert queue.longest_work() >= 0.05
    queue.done("a")
    assert queue.longest_work() == 0
