"""How many tenants may leave, and that the ones above that never do, whatever the sequence of reads."""

import random

import pytest

from tenantry_generator.guard import WINDOW, State, admit


def tenants(count: int, *, start: int = 0) -> dict[str, str]:
    return {f"t{number}": "row" for number in range(start, start + count)}


def after(*reads: tuple[float, dict[str, str]]) -> State[str]:
    state: State[str] = State()
    for now, read in reads:
        state = admit(state, read, now=now)
    return state


def test_the_first_read_is_served_as_it_is() -> None:
    assert after((0, tenants(3))) == State(rows=tenants(3), served=((0, 3),))
    assert after((0, {})).rows == {}


@pytest.mark.parametrize(
    ("served", "left", "held"),
    [
        (10, 9, 0),
        (10, 8, 0),
        (10, 7, 3),
        (3, 1, 0),
        (3, 0, 3),
        (1, 0, 1),
        (30, 27, 0),
        (30, 26, 4),
        (100, 90, 0),
        (100, 89, 11),
    ],
)
def test_two_or_a_tenth_may_leave_at_once_but_never_all(served: int, left: int, held: int) -> None:
    state = after((0, tenants(served)), (60, tenants(left)))
    assert len(state.held) == held
    assert len(state.rows) == left + held


def test_all_departures_of_a_read_are_held_together_and_served_as_they_were() -> None:
    read = {"t0": "changed", "new": "row"}
    state = after((0, tenants(5)), (60, read))
    assert state.held == {"t1", "t2", "t3", "t4"}
    assert state.rows == {**tenants(5), **read}


def test_departures_add_up_within_the_window() -> None:
    state = after((0, tenants(10)), (60, tenants(9)), (120, tenants(8)), (180, tenants(7)))
    assert state.held == {"t7"}


def test_departures_are_forgotten_after_the_window() -> None:
    state = after((0, tenants(10)), (60, tenants(8)), (60 + WINDOW, tenants(6)))
    assert state.held == frozenset()
    assert len(state.rows) == 6


def test_the_tenth_is_of_those_served_when_the_window_began() -> None:
    grown = after((0, tenants(10)), (60, tenants(1000)), (120, tenants(997)))
    assert len(grown.held) == 3
    settled = after((0, tenants(10)), (60, tenants(1000)), (61 + WINDOW, tenants(900)))
    assert settled.held == frozenset()


def test_a_single_departure_that_is_doubted_is_held_until_it_returns() -> None:
    state = admit(after((0, tenants(10))), tenants(9), now=60, doubted={"t9", "never-was"})
    assert (state.held, len(state.rows)) == ({"t9"}, 10)
    assert admit(state, tenants(10), now=120, doubted={"never-was"}).held == frozenset()


def test_a_hold_never_expires() -> None:
    state = after((0, tenants(10)), (60, tenants(5)))
    for day in range(1, 30):
        state = admit(state, tenants(5), now=day * 86400.0)
        assert len(state.held) == 5
        assert len(state.rows) == 10


def test_a_tenant_that_returns_leaves_the_hold_and_the_others_stay() -> None:
    state = after((0, tenants(10)), (60, tenants(5)), (120, {**tenants(5), "t9": "returned"}))
    assert state.held == {"t5", "t6", "t7", "t8"}
    assert state.rows["t9"] == "returned"


def test_the_hold_ends_with_the_last_one_s_return() -> None:
    state = after((0, tenants(10)), (60, {}), (120, tenants(10)), (180, tenants(9)))
    assert state.held == frozenset()
    assert len(state.rows) == 9


def test_while_a_hold_stands_further_departures_join_it() -> None:
    state = after((0, tenants(10)), (60, tenants(5)), (120, tenants(4)))
    assert state.held == {"t4", "t5", "t6", "t7", "t8", "t9"}


def test_no_sequence_of_reads_shortens_a_source_beyond_the_limit() -> None:
    seed = random.randrange(2**32)  # noqa: S311 - repeatable, no secret
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311
    for _ in range(60):
        now = 0.0
        state: State[str] = State()
        history: list[tuple[float, int]] = []  # what was served from when on
        departures: list[tuple[float, int]] = []
        pool = [f"t{number}" for number in range(chance.choice([1, 3, 12, 60, 300]))]
        for _ in range(80):
            now += chance.choice([0.01, 1, 9, 60, 600, 1700, 4000])
            share = chance.choice([0.0, 0.5, 0.9, 0.97, 1.0, 1.0, 1.0])
            read = {name: f"row at {now}" for name in pool if chance.random() < share}
            before, state = state, admit(state, read, now=now)
            assert read.items() <= state.rows.items()
            assert state.held == state.rows.keys() - read.keys()
            gone = before.rows.keys() - state.rows.keys()
            if gone:
                assert read, "an empty read took tenants away"
                departures.append((now, len(gone)))
                at_start = [count for since, count in history if since <= now - WINDOW] or [history[0][1]]
                left = sum(count for when, count in departures if when > now - WINDOW)
                assert left <= max(2, at_start[-1] / 10), (now, history, departures)
            history.append((now, len(state.rows)))
            assert len(state.served) <= WINDOW / 10 + 2


def test_a_guard_s_memory_stays_small_however_often_it_is_asked() -> None:
    state: State[str] = State()
    for step in range(20_000):
        state = admit(state, tenants(3 + step % 2), now=step / 2)
    assert len(state.served) <= WINDOW / 10 + 2
