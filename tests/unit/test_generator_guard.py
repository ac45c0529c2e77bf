"""How many may leave a set, and that the ones above that never do, whatever the sequence of reads and clocks."""

import random

import pytest

from tenantry_generator.guard import SHARE, WINDOW, Hold, Ledger, Room, Verdict, judge

SET = "source postgres"


class Guarded:
    """One set as its owner keeps it: what is served, its holds, its ledger."""

    def __init__(self, *names: str, now: float = 0) -> None:
        self.served = set(names)
        self.holds: tuple[Hold, ...] = ()
        self.ledger = Ledger().note(left=0, served=len(names), now=now)

    def read(self, names: set[str], *, now: float) -> Verdict:
        missing = self.served - names
        room = Room(self.ledger.room(share=SHARE, now=now))
        verdict = judge(SET, self.holds, missing=missing, remaining=len(names), room=room, now=now)
        assert verdict.left.isdisjoint(verdict.held)
        assert verdict.left | verdict.held == missing
        self.holds, self.served = verdict.holds, names | verdict.held
        self.ledger = self.ledger.note(left=len(verdict.left), served=len(self.served), now=now)
        return verdict


def tenants(count: int, *, start: int = 0) -> set[str]:
    return {f"t{number}" for number in range(start, start + count)}


@pytest.mark.parametrize(
    ("served", "left", "held"),
    [
        (10, 9, 0),
        (10, 8, 0),
        (10, 7, 3),
        (10, 0, 10),
        (4, 2, 0),
        (3, 1, 0),
        (3, 0, 3),
        (2, 1, 0),
        (2, 0, 2),
        (1, 0, 0),
        (30, 27, 0),
        (30, 26, 4),
        (100, 90, 0),
        (100, 89, 11),
    ],
)
def test_two_or_a_tenth_may_leave_at_once_but_never_all_but_a_single_one(served: int, left: int, held: int) -> None:
    verdict = Guarded(*tenants(served)).read(tenants(left), now=60)
    assert len(verdict.held) == held
    assert len(verdict.left) == served - left - held


def test_a_fifth_of_everything_may_leave_and_no_more() -> None:
    missing = frozenset(tenants(3))

    def left(leaving: frozenset[str]) -> frozenset[str]:
        room = Room(here=10, everywhere=2, leaving=leaving)
        return judge(SET, (), missing=missing, remaining=97, room=room, now=0).left

    assert left(frozenset(tenants(2))) == missing, "one of the three is listed by another source"
    assert left(missing) == frozenset()


def test_departures_add_up_within_the_window_and_are_forgotten_after_it() -> None:
    guarded = Guarded(*tenants(10))
    assert [len(guarded.read(tenants(count), now=now).held) for now, count in ((60, 9), (120, 8), (180, 7))] == [
        0,
        0,
        1,
    ]
    settled = Guarded(*tenants(10))
    settled.read(tenants(8), now=60)
    assert settled.read(tenants(6), now=180 + WINDOW).left == {"t6", "t7"}


def test_the_tenth_is_of_those_served_when_the_window_began() -> None:
    grown = Guarded(*tenants(10))
    grown.read(tenants(1000), now=120)
    assert len(grown.read(tenants(997), now=240).held) == 3
    settled = Guarded(*tenants(10))
    settled.read(tenants(1000), now=120)
    assert len(settled.read(tenants(900), now=121 + WINDOW).left) == 100


def test_a_hold_never_expires_and_ends_with_the_last_one_s_return() -> None:
    guarded = Guarded(*tenants(10))
    first = guarded.read(tenants(5), now=60).holds
    for day in range(1, 30):
        assert guarded.read(tenants(5), now=day * 86400.0).holds == first
    assert guarded.read(tenants(9), now=30 * 86400.0).held == {"t9"}
    assert guarded.read(tenants(10), now=30 * 86400.0).holds == ()
    assert guarded.served == tenants(10)


def test_a_hold_keeps_its_hash_when_some_return_and_a_new_one_has_another() -> None:
    guarded = Guarded(*tenants(10))
    (hold,) = guarded.read(tenants(5), now=60).holds
    (fewer,) = guarded.read(tenants(6), now=120).holds
    assert (fewer.hash, fewer.names) == (hold.hash, hold.names - {"t5"})
    assert (len(hold.hash), hold.set, hold.since) == (16, SET, 60)
    guarded.read(tenants(10), now=180)
    (again,) = guarded.read(tenants(5), now=240).holds
    assert again.names == hold.names
    assert again.hash != hold.hash, "an acknowledgement of the first one would count for the second"


def test_while_a_hold_stands_a_further_departure_is_a_hold_of_its_own() -> None:
    guarded = Guarded(*tenants(10))
    guarded.read(tenants(5), now=60)
    first, second = guarded.read(tenants(4), now=4 * WINDOW).holds
    assert (len(first.names), list(second.names), second.why) == (5, ["t4"], "an earlier hold stands")


def test_five_tenants_off_boarded_one_an_hour_are_never_held() -> None:
    guarded = Guarded(*tenants(10))
    for hour in range(1, 6):
        assert guarded.read(tenants(10 - hour), now=hour * 3600.0).held == frozenset()


def test_a_month_of_two_percent_a_day_is_never_held() -> None:
    seed = random.randrange(2**32)  # noqa: S311 - repeatable, no secret
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311
    names = tenants(500)
    guarded = Guarded(*names)
    for day in range(30):
        hours = sorted(chance.uniform(0, 24) for _ in range(len(names) // 50))
        for number, hour in enumerate(hours):
            names = (names - {chance.choice(sorted(names))}) | {f"new-{day}-{number}"}
            verdict = guarded.read(names, now=(day * 24 + hour) * 3600)
            assert verdict.held == frozenset()


def test_a_clock_that_was_set_back_does_not_open_the_gate_and_mends_itself() -> None:
    guarded = Guarded(*tenants(10), now=1e9)
    guarded.read(tenants(8), now=1e9 + 60)
    for jump in (0.0, 5e8, 1e9 - 7200):
        assert guarded.ledger.room(share=SHARE, now=jump) == 0
    guarded.read(tenants(8) | {"new"}, now=5e8)
    assert guarded.ledger.room(share=SHARE, now=5e8 + WINDOW + 61) == 2
    guarded.read(tenants(100), now=5e8 + 120)
    assert guarded.ledger.room(share=SHARE, now=5e8 + 4 * WINDOW) == 10, "it counts from now on what is served now"


def test_no_sequence_of_reads_shortens_a_set_beyond_the_limit() -> None:
    seed = random.randrange(2**32)  # noqa: S311
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311
    for _ in range(60):
        now = 0.0
        pool = [f"t{number}" for number in range(chance.choice([1, 2, 3, 12, 60, 300]))]
        guarded = Guarded(*pool)
        history = [(0.0, len(pool))]  # what was served from when on
        departures: list[tuple[float, int]] = []
        for _ in range(80):
            now += chance.choice([0.01, 1, 9, 60, 600, 1700, 4000])
            share = chance.choice([0.0, 0.5, 0.9, 0.97, 1.0, 1.0, 1.0])
            read = {name for name in pool if chance.random() < share}
            verdict = guarded.read(read, now=now)
            if verdict.left:
                assert read or len(verdict.left) == 1, "an empty read took tenants away"
                departures.append((now, len(verdict.left)))
                at_start = [count for since, count in history if since <= now - WINDOW] or [history[0][1]]
                left = sum(count for when, count in departures if when > now - WINDOW)
                assert left <= max(2, at_start[-1] / 10), (now, history, departures)
            history.append((now, len(guarded.served)))


def test_a_ledger_stays_small_however_often_it_is_written() -> None:
    ledger = Ledger()
    for step in range(20_000):
        ledger = ledger.note(left=step % 2, served=3 + step % 2, now=step / 2)
    assert max(len(ledger.served), len(ledger.departed)) <= WINDOW / 60 + 2
