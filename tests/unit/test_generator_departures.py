"""When a row has left, and when what is read is no longer what was read before."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tenantry.render import Row, render_row
from tenantry_generator.blockmap import BlockMap
from tenantry_generator.settings import Database, Table
from tenantry_generator.sources.departures import (
    APART,
    Absence,
    Column,
    Identity,
    Reading,
    State,
    difference,
    look_again,
    other,
    settle,
)

IDENTITY = Identity(
    system="7711",
    database=(16384, "organization"),
    schema="public",
    table=16385,
    columns=(Column("status", 2, "text"), Column("tenant", 1, "text")),
)
DATABASE = Database({}, "db:5432", "reader", "organization", "DB_USER", "DB_NAME", "DB_HOST and DB_PORT")
TABLE = Table(schema=None, name="organization", tenant_column="tenant", columns=("status",))
TOOK = 0.2


def rows(names: str, status: str = "active") -> dict[str, Row]:
    return {name: render_row(name, {"status": status}) for name in names}


def reading(names: str | Mapping[str, Row], *, connection: int, at: float) -> Reading:
    held = rows(names) if isinstance(names, str) else names
    return Reading(held, IDENTITY, connection, started=at, ended=at + TOOK)


def settled(*readings: tuple[str, int, float]) -> State:
    """The state after readings, each as (names, connection, start)."""
    state: State | None = None
    for names, connection, at in readings:
        state = settle(state, reading(names, connection=connection, at=at))
    assert state is not None
    return state


@pytest.mark.parametrize(
    ("readings", "published"),
    [
        ([("abc", 1, 0)], "abc"),
        ([("", 1, 0)], ""),
        ([("abc", 1, 0), ("ab", 1, 5)], "abc"),
        ([("abc", 1, 0), ("ab", 1, 5), ("ab", 1, 50)], "abc"),
        ([("abc", 1, 0), ("ab", 1, 5), ("ab", 2, 6)], "abc"),
        ([("abc", 1, 0), ("ab", 1, 5), ("ab", 2, 5 + TOOK + APART)], "ab"),
        ([("abc", 1, 0), ("ab", 1, 5), ("ab", 2, 6), ("ab", 2, 7)], "ab"),
        ([("abc", 1, 0), ("ab", 2, 5), ("ab", 1, 7)], "ab"),
        ([("abc", 1, 0), ("ab", 1, 5), ("abc", 2, 7), ("ab", 3, 9)], "abc"),
        ([("abc", 1, 0), ("ab", 1, 5), ("abc", 2, 7), ("ab", 3, 9), ("ab", 4, 11)], "ab"),
        ([("abc", 1, 0), ("ab", 1, 5), ("a", 2, 7)], "ab"),
        ([("abc", 1, 0), ("ab", 1, 5), ("a", 2, 7), ("a", 3, 9)], "a"),
        ([("abc", 1, 0), ("", 1, 5)], "abc"),
        ([("abc", 1, 0), ("", 1, 5), ("", 2, 7)], ""),
        ([("abc", 1, 0), ("abd", 1, 5)], "abcd"),
        ([("abc", 1, 0), ("abd", 1, 5), ("abe", 2, 7)], "abde"),
    ],
)
def test_a_row_has_left_when_two_reads_far_enough_apart_over_two_connections_lack_it(
    readings: list[tuple[str, int, float]], published: str
) -> None:
    assert set(settled(*readings).rows) == set(published)


def test_what_changed_or_came_does_not_wait_for_what_is_absent() -> None:
    state = settle(settled(("ab", 1, 0)), reading(rows("bc", "trial"), connection=1, at=5))
    assert {name: row["status"] for name, row in state.rows.items()} == {"a": "active", "b": "trial", "c": "trial"}


def quarantine(names: str, *, connection: int, at: float, good: str = "") -> Reading:
    return replace(reading(good, connection=connection, at=at), quarantined=dict.fromkeys(names, "two rows differ"))


def test_a_quarantined_tenant_has_its_last_good_row_and_has_not_left() -> None:
    state = settled(("ab", 1, 0))
    for number, at in enumerate((5, 7, 9), start=1):
        state = settle(state, quarantine("ax", good="b", connection=number, at=at))
        assert (set(state.rows), state.absent) == (set("ab"), {})
        assert state.quarantined == {"a": "two rows differ", "x": "two rows differ"}
    state = settle(state, reading(rows("ab", "trial"), connection=4, at=11))
    assert (state.quarantined, state.rows["a"]["status"]) == ({"x": "two rows differ"}, "trial"), "x is but absent once"
    assert settle(state, reading("ab", connection=5, at=13)).quarantined == {}


def test_a_quarantined_tenant_leaves_as_any_other_also_one_without_a_good_row() -> None:
    state = settle(settled(("ab", 1, 0)), quarantine("ax", good="b", connection=1, at=5))
    state = settle(state, reading("b", connection=1, at=7))
    assert (set(state.rows), set(state.quarantined)) == (set("ab"), set("ax"))
    state = settle(state, reading("b", connection=2, at=9))
    assert (set(state.rows), set(state.quarantined)) == (set("b"), set())


def test_a_tenant_that_is_quarantined_from_the_first_read_on_is_told_and_not_published() -> None:
    state = settle(None, quarantine("a", good="b", connection=1, at=0))
    assert (set(state.rows), set(state.quarantined)) == (set("b"), set("a"))


def test_what_a_server_lacks_that_went_back_in_time_is_doubted_until_it_returns() -> None:
    def at(position: int | None, names: str, connection: int) -> Reading:
        return replace(reading(names, connection=connection, at=connection * 5), position=position)

    state = settle(settle(None, at(900, "abc", 1)), at(None, "ab", 2))
    assert (set(state.absent), state.doubted) == ({"c"}, {}), "a read that doesn't tell proves nothing"
    state = settle(state, at(800, "a", 3))
    assert set(state.doubted) == {"b", "c"}, "c was missed before, and only this server confirms it"
    state = settle(state, at(810, "a", 4))
    assert (set(state.rows), set(state.doubted)) == ({"a"}, {"b", "c"}), "it is told for as long as it is missing"
    assert settle(state, at(820, "abc", 5)).doubted == {}
    assert settle(state, at(809, "", 5)).doubted.keys() == {"a", "b", "c"}


def test_a_read_without_absences_is_published_as_it_is() -> None:
    read = reading("abc", connection=2, at=5)
    assert settle(settled(("ab", 1, 0), ("b", 1, 3)), read) == State(IDENTITY, BlockMap.of(read.rows))


@pytest.mark.parametrize(
    ("second", "confirms"),
    [(("ab", 1, 50), False), (("ab", 2, 1), False), (("ab", 2, TOOK + APART), True), (("b", 2, 5), True)],
)
def test_the_first_read_of_all_is_confirmed_by_one_a_second_later_over_another_connection(
    second: tuple[str, int, float], confirms: bool
) -> None:
    first = settled(("ab", 1, 0))
    assert (first.first, look_again(first)) == (Absence(TOOK, 1), TOOK + APART)
    assert (settled(("ab", 1, 0), second).first is None) is confirms


def test_so_is_the_first_after_a_takeover_though_this_process_has_read_before() -> None:
    before = settled(("ab", 1, 0), ("ab", 2, 5))
    assert before.first is None
    state = settle(before, reading("ab", connection=3, at=90), anew=True)
    assert state.first == Absence(90 + TOOK, 3)
    assert other(state, connection=3, now=92)
    assert settle(state, reading("ab", connection=4, at=92)).first is None


def test_an_absent_row_is_looked_for_again_a_second_after_the_read_that_lacked_it() -> None:
    assert look_again(settled(("abc", 1, 0), ("abc", 2, 3))) is None
    first = settled(("abc", 1, 0), ("abc", 2, 3), ("ab", 2, 5))
    assert look_again(first) == 5 + TOOK + APART
    assert look_again(settle(first, reading("a", connection=1, at=5.5))) == look_again(first)


def test_another_connection_is_due_only_when_this_one_can_confirm_nothing() -> None:
    state = settled(("abc", 1, 0), ("ab", 1, 5))
    due = look_again(state)
    assert due is not None
    assert not other(state, connection=1, now=due - 0.1)
    assert other(state, connection=1, now=due)
    assert not other(state, connection=2, now=due), "a read over this one confirms it"


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (IDENTITY, None),
        (replace(IDENTITY, system=None), None),
        (
            replace(IDENTITY, system="9999", table=1),
            "db:5432 is another Postgres cluster than before (its system_identifier differs); "
            "correct DB_HOST and DB_PORT, or restart the generator to accept it",
        ),
        (
            replace(IDENTITY, system=None, database=(16390, "organization")),
            "db:5432 leads to another database than before, or to one created anew; "
            "correct DB_HOST and DB_PORT, or restart the generator to accept it",
        ),
        (
            replace(IDENTITY, schema="app", table=16390),
            'table "organization" was found in the schema "public" and now is in "app"; correct the search_path, '
            "name the schema in TENANTRY_TABLE, or restart the generator to accept it",
        ),
        (
            replace(IDENTITY, table=16390),
            'table "organization" was created anew or replaced by another one; '
            "put the old one back, or restart the generator to accept it",
        ),
        (
            replace(IDENTITY, columns=(Column("status", 2, "integer"), Column("tenant", 1, "text"))),
            'table "organization": column "status" was of type text and now is integer; '
            "change it back, or restart the generator to accept it",
        ),
        (
            replace(IDENTITY, columns=(Column("status", 2, "text"), Column("tenant", 3, "text"))),
            'table "organization": column "tenant" was created anew; '
            "change it back, or restart the generator to accept it",
        ),
        (
            replace(IDENTITY, columns=IDENTITY.columns[1:]),
            'table "organization": column "status" is gone; change it back, or restart the generator to accept it',
        ),
        (
            replace(IDENTITY, definition=2),
            'view "organization" is defined differently than before; '
            "change it back, or restart the generator to accept it",
        ),
        (replace(IDENTITY, parts=frozenset({16385, 16386})), None),
        (replace(IDENTITY, columns=(Column("status", 2, "text", ("a", "b")), IDENTITY.columns[1])), None),
    ],
)
def test_what_differs_is_told_with_what_to_do(after: Identity, told: str | None) -> None:
    assert difference(IDENTITY, after, database=DATABASE, table=TABLE) == told


def test_partitions_and_enum_values_may_come_and_not_go() -> None:
    plan = Column("status", 2, "plan", ("gold", "silver"))
    before = replace(IDENTITY, columns=(plan, IDENTITY.columns[1]), parts=frozenset({1, 2, 3}))

    def told(after: Identity) -> str | None:
        return difference(before, after, database=DATABASE, table=TABLE)

    more = replace(plan, labels=("bronze", "gold", "silver"))
    assert told(replace(before, parts=frozenset({1, 2, 3, 4}), columns=(more, IDENTITY.columns[1]))) is None
    assert told(replace(before, parts=frozenset({1, 2, 4}))) == (
        'table "organization" has lost a partition; attach it again, or restart the generator to accept it'
    )
    renamed = replace(plan, labels=("argent", "gold"))
    assert told(replace(before, columns=(renamed, IDENTITY.columns[1]))) == (
        'table "organization": column "status": the value "silver" of its type plan was renamed; '
        "change it back, or restart the generator to accept it"
    )


def test_an_identifier_that_was_known_once_is_compared_after_a_read_without_it() -> None:
    blind = replace(reading("ab", connection=2, at=5), identity=replace(IDENTITY, system=None))
    state = settle(settled(("ab", 1, 0)), blind)
    assert difference(state.identity, replace(IDENTITY, system="9999"), database=DATABASE, table=TABLE) is not None


def test_an_identifier_that_can_be_read_only_later_is_no_difference_and_counts_from_then_on() -> None:
    blind = replace(reading("ab", connection=1, at=0), identity=replace(IDENTITY, system=None))
    first = settle(None, blind)
    assert difference(first.identity, IDENTITY, database=DATABASE, table=TABLE) is None
    assert settle(first, reading("ab", connection=1, at=5)).identity == IDENTITY
