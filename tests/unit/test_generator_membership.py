"""The state that is recorded: what a read, an acknowledgement and a view make of it, and that storing loses nothing."""

import random
from dataclasses import replace
from typing import Any

import pytest

from tenantry.classes import resolve
from tenantry.model import parse_tenant
from tenantry.render import ClusterRow, Row, render_row, render_tenant
from tenantry_generator.errors import RecordCorrupt
from tenantry_generator.generator_selector import Selector, read_selector
from tenantry_generator.guard import WINDOW
from tenantry_generator.membership import (
    KEPT,
    Departed,
    Fate,
    Membership,
    acknowledge,
    expire,
    holds,
    know_keys,
    release_views,
    take,
    unheld,
)
from tenantry_generator.membership_codec import decode, encode
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.record import Stored
from tenantry_generator.record.tables import changed_entries
from tenantry_generator.views import make_view, shown

COLUMNS = ("status",)
HOUR = 3600.0


def rows(*names: str, status: str = "active") -> dict[str, Row]:
    return {name: render_row(name, {"status": status}) for name in names}


def many(count: int, *, status: str = "active") -> dict[str, Row]:
    return rows(*(f"t{number:03}" for number in range(count)), status=status)


def tenants(*names: str) -> dict[str, ClusterRow]:
    objects = {name: parse_tenant({"metadata": {"name": name}}) for name in names}
    return {name: render_tenant(resolve(tenant, {})) for name, tenant in objects.items()}


def served(membership: Membership) -> set[str]:
    return set(membership.merged.rows)


def watched(
    membership: Membership, *, now: float = 0, selector: Selector | None = None, **parameters: Any
) -> Membership:
    """Return the state after the ApplicationSet `apps` has asked with these parameters."""
    query = parse_query(parameters, accepted_parameters(COLUMNS))
    view = make_view(
        "apps", parameters=parameters, query=query, selector=selector, rows=membership.merged.rows, now=now
    )
    return replace(membership, views={**membership.views, view.id: view})


def seen(membership: Membership) -> dict[str, Row]:
    """Return what the only view is shown, after the generator's selector."""
    (view,) = membership.views.values()
    elements = shown(view.query.elements(membership.merged.rows), [view])
    return {key: row for key, row in elements.items() if view.selector is None or view.selector.matches(row)}


def test_a_read_that_changes_nothing_is_the_same_state() -> None:
    read = many(5)
    before = take(Membership(), "postgres", read, now=0)
    assert take(before, "postgres", dict(read), now=60) is before


def test_a_tenant_of_both_sources_that_leaves_one_is_listed_by_the_other() -> None:
    state = take(Membership(), "postgres", rows("a", "b"), now=0)
    state = take(state, "cluster", tenants("a", "c"), now=0)
    state = take(state, "cluster", tenants("c"), now=60)
    assert state.departed == {"a": Departed(Fate.LISTED, "cluster", 60)}
    assert state.everything.departed == (), "nobody has left everything"
    state = take(state, "postgres", rows("b"), now=120)
    assert state.departed == {"a": Departed(Fate.LEFT, "postgres", 120)}
    assert take(state, "cluster", tenants("a", "c"), now=180).departed == {}


def test_what_has_left_is_remembered_for_a_week_and_what_is_held_for_ever() -> None:
    state = take(Membership(), "postgres", many(10), now=0)
    state = take(state, "postgres", many(9), now=60)
    state = take(state, "postgres", rows("t000"), now=HOUR)
    assert {each.fate for each in state.departed.values()} == {Fate.LEFT, Fate.HELD}
    later = take(state, "postgres", rows("t000", "new"), now=KEPT + 120)
    assert {each.fate for each in later.departed.values()} == {Fate.HELD}
    assert later.departed["t001"].at == HOUR


def test_more_than_a_fifth_of_everything_is_held_though_no_source_has_lost_a_tenth() -> None:
    state = take(Membership(), "postgres", rows("a", "b", "c", "d"), now=0)
    state = take(state, "cluster", tenants("w", "x", "y", "z"), now=0)
    state = take(state, "postgres", rows("a", "b"), now=60)
    assert holds(state) == []
    state = take(state, "cluster", tenants("w", "x", "y"), now=120)
    (hold,) = holds(state)
    assert (hold.set, set(hold.names)) == ("source cluster", {"z"})
    assert "20 % of all tenants" in hold.why


def test_a_held_tenant_is_served_as_it_was_and_additions_and_changes_flow_on() -> None:
    state = take(Membership(), "postgres", many(10), now=0)
    read = {**many(3, status="trial"), **rows("new")}
    state = take(state, "postgres", read, now=60)
    assert served(state) == {*many(10), "new"}
    assert (state.merged.rows["t000"]["status"], state.merged.rows["t009"]["status"]) == ("trial", "active")


def test_an_acknowledgement_releases_exactly_those_still_missing_once_and_outside_the_limit() -> None:
    state = take(Membership(), "postgres", many(20), now=0)
    state = take(state, "postgres", many(10), now=60)
    state = take(state, "postgres", many(11), now=120)
    (hold,) = holds(state)
    state = acknowledge(state, hold.hash, by="me", now=180)
    state = take(state, "postgres", unheld(state.sources["postgres"]), now=180)
    assert (served(state), holds(state)) == (set(many(11)), [])
    assert state.departed["t019"] == Departed(Fate.LEFT, "postgres", 180)
    assert (state.acknowledged[hold.hash].by, state.acknowledged[hold.hash].used) == ("me", 180)
    state = take(state, "postgres", many(9), now=240)
    assert holds(state) == [], "what was released counts against the next departures"
    assert len(holds(take(state, "postgres", many(8), now=300))) == 1


def test_who_returns_with_the_read_that_follows_an_acknowledgement_has_not_left() -> None:
    state = take(Membership(), "postgres", many(10), now=0)
    state = take(state, "postgres", many(5), now=60)
    state = acknowledge(state, holds(state)[0].hash, by="me", now=120)
    state = take(state, "postgres", many(8), now=180)
    assert served(state) == set(many(8))
    assert state.departed.keys() == {"t008", "t009"}


def test_an_acknowledgement_leaves_other_holds_alone() -> None:
    state = take(Membership(), "postgres", many(10), now=0)
    state = take(state, "postgres", many(6), now=60)
    state = take(state, "postgres", many(5), now=120)
    first, second = holds(state)
    state = acknowledge(state, first.hash, by="me", now=180)
    state = take(state, "postgres", many(5), now=180)
    assert (served(state), holds(state)) == (set(many(6)), [second])


@pytest.mark.parametrize("later", [HOUR + 1, -HOUR - 1])
def test_an_acknowledgement_that_is_not_used_is_forgotten_after_an_hour(later: float) -> None:
    state = take(Membership(), "postgres", many(10), now=0)
    state = take(state, "postgres", many(5), now=60)
    state = acknowledge(state, holds(state)[0].hash, by="me", now=120)
    assert expire(state, now=120 + HOUR - 1) is state
    state = take(expire(state, now=120 + later), "postgres", many(5), now=120 + later)
    assert len(holds(state)) == 1
    assert served(state) == set(many(10))


def test_a_mass_change_of_status_is_held_in_a_view_that_filters_by_it() -> None:
    state = watched(take(Membership(), "postgres", many(10), now=0), status=["active", "trial"])
    state = take(state, "postgres", {**many(10), **many(4, status="suspended"), **rows("new")}, now=60)
    assert set(seen(state)) == {*many(10), "new"}
    assert seen(state)["t000"]["status"] == "active", "it is shown as it last matched"
    assert state.merged.rows["t000"]["status"] == "suspended", "others see how it is"
    (hold,) = holds(state)
    assert hold.names == set(many(4))
    assert state.departed == {}, "nobody has left a source"
    released = release_views(acknowledge(state, hold.hash, by="me", now=120), now=120)
    assert set(seen(released)) == {*many(10), "new"} - set(many(4))
    assert released.acknowledged[hold.hash].used == 120
    assert release_views(state, now=120) is state


def test_the_same_for_the_selector_of_the_generator() -> None:
    selector = read_selector({"matchExpressions": [{"key": "status", "operator": "NotIn", "values": ["suspended"]}]})
    state = watched(take(Membership(), "postgres", many(10), now=0), selector=selector)
    state = take(state, "postgres", many(10, status="suspended"), now=60)
    assert set(seen(state)) == set(many(10))
    assert len(holds(state)[0].names) == 10


def test_two_may_change_their_status_and_one_that_changes_back_leaves_the_hold() -> None:
    state = watched(take(Membership(), "postgres", many(10), now=0), status="active")
    state = take(state, "postgres", {**many(10), **many(2, status="late")}, now=60)
    assert set(seen(state)) == set(many(10)) - set(many(2))
    state = take(state, "postgres", {**many(10), **many(4, status="late")}, now=120)
    assert [hold.names for hold in holds(state)] == [{"t002", "t003"}]
    state = take(state, "postgres", {**many(10), **many(3, status="late")}, now=180)
    assert [hold.names for hold in holds(state)] == [{"t002"}]


def test_who_leaves_the_source_leaves_every_view_even_when_it_is_held_there() -> None:
    state = watched(take(Membership(), "postgres", many(10), now=0), status="active")
    state = take(state, "postgres", {**many(10), **many(4, status="late")}, now=60)
    remaining = {**many(10), **many(4, status="late")}
    del remaining["t000"]
    state = take(state, "postgres", remaining, now=120)
    assert set(seen(state)) == set(many(10)) - {"t000"}
    assert [hold.names for hold in holds(state)] == [{"t001", "t002", "t003"}]


def test_what_is_held_in_the_source_stays_in_the_view() -> None:
    state = watched(take(Membership(), "postgres", many(10), now=0), status="active")
    state = take(state, "postgres", {}, now=60)
    assert set(seen(state)) == set(many(10))
    assert len(holds(state)) == 1


def test_no_schedule_of_changes_shortens_a_view_beyond_the_limit() -> None:
    seed = random.randrange(2**32)  # noqa: S311 - repeatable, no secret
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311
    for _ in range(30):
        names = [f"t{number}" for number in range(chance.choice([2, 3, 15, 60]))]
        state = watched(take(Membership(), "postgres", rows(*names), now=0), status="active")
        now = 0.0
        history, left = [(0.0, len(names))], list[tuple[float, int]]()
        for _ in range(60):
            now += chance.choice([1, 60, 600, 4000])
            changing = chance.choice([0.0, 0.02, 0.1, 0.5, 1.0])
            late = {name for name in names if chance.random() < changing}
            read = {**rows(*names), **rows(*late, status="late")}
            before, state = set(seen(state)), take(state, "postgres", read, now=now)
            if chance.random() < 0.3:
                state = decode(encode(state), COLUMNS)  # a restart
            after = set(seen(state))
            assert set(names) - late <= after
            if gone := before - after:
                left.append((now, len(gone)))
                base = [count for since, count in history if since <= now - WINDOW] or [history[0][1]]
                assert sum(count for when, count in left if when > now - WINDOW) <= max(2, base[-1] / 10)
            history.append((now, len(after)))


def with_parameters(name: str, **parameters: Any) -> ClusterRow:
    body = {"metadata": {"name": name}, "spec": {"parameters": parameters}}
    return render_tenant(resolve(parse_tenant(body), {}))


def test_every_element_has_the_keys_of_the_schemas_whichever_source_it_comes_from() -> None:
    keys = ("chart", "flag", "size", "unset")
    state = take(know_keys(Membership(), keys, now=0), "postgres", rows("beta"), now=0)
    acme = with_parameters("acme", chart={"replicas": 3}, flag=True, size=5, other="x")
    state = take(state, "cluster", {"acme": acme}, now=0)
    found = {name: {key: row[key] for key in keys} for name, row in state.merged.rows.items()}
    assert found == {
        "acme": {"chart": {"replicas": "3"}, "flag": True, "size": "5", "unset": ""},
        "beta": dict.fromkeys(keys, ""),
    }
    assert "other" not in state.merged.rows["acme"]
    assert know_keys(state, ("size",), now=60) is state, "none of them goes"
    assert take(state, "cluster", {"acme": acme}, now=60) is state
    again = take(state, "postgres", rows("beta", "gamma"), now=60)
    assert again.merged.rows["acme"] is state.merged.rows["acme"]
    assert again.merged.rows["gamma"]["size"] == ""


def test_a_configured_column_and_the_row_under_a_tenant_stay_what_they_are_beside_the_keys_of_a_schema() -> None:
    row = {"acme": render_row("acme", {"status": "late", "plan": "of the row"})}
    tenant = render_tenant(
        resolve(parse_tenant({"metadata": {"name": "acme"}, "spec": {"parameters": {"size": 1}}}), {}),
        ("status", "plan"),
    )
    state = take(take(Membership(), "postgres", row, now=0), "cluster", {"acme": tenant}, now=0)
    state = know_keys(state, ("plan", "size"), now=60)
    element = state.merged.rows["acme"]
    assert [element[key] for key in ("plan", "size", "status", "source")] == ["of the row", "1", "late", "cluster"]


def test_held_elements_of_a_view_get_new_keys_too_also_those_that_are_configured_before_a_restart() -> None:
    state = watched(take(Membership(), "postgres", many(10), now=0), status="active")
    state = take(state, "postgres", many(10, status="late"), now=60)
    state = know_keys(state, ("size",), now=120)
    assert {row["size"] for row in seen(state).values()} == {""}
    assert len(seen(state)) == 10
    decoded = decode(encode(state), ("status", "plan"))
    assert {(row["size"], row["plan"], row["status"]) for row in seen(decoded).values()} == {("", "", "active")}


def test_a_view_by_a_key_of_a_schema_is_guarded_recorded_and_matches_scalars_only() -> None:
    names = [f"t{number:02}" for number in range(9)]
    named = {name: with_parameters(name, size="large") for name in names}
    other = {"other": with_parameters("other", size=["large"])}
    state = take(know_keys(Membership(), ("size",), now=0), "cluster", {**named, **other}, now=0)
    query = parse_query({"size": "large"}, accepted_parameters(COLUMNS, ("size",)))
    view = make_view("apps", parameters={"size": "large"}, query=query, selector=None, rows=state.merged.rows, now=0)
    state = replace(state, views={view.id: view})
    assert seen(state).keys() == named.keys()
    state = take(state, "cluster", {name: with_parameters(name, size="small") for name in names}, now=60)
    assert len(holds(state)) == 1
    assert seen(state).keys() == named.keys()
    decoded = decode(encode(state), COLUMNS)
    assert decoded == state
    assert seen(decoded).keys() == named.keys()


def everything() -> Membership:
    """Return a state with something in every part of it."""
    selector = read_selector({"matchLabels": {"source": "postgres"}})
    state = take(Membership(revision=7), "postgres", many(12), now=0)
    state = take(state, "cluster", tenants("a", "b", "t000"), now=0)
    state = watched(watched(state, status="active"), selector=selector)
    state = take(state, "cluster", tenants("a", "t000"), now=60)
    state = take(state, "postgres", {**many(11), **many(5, status="late")}, now=120)
    state = know_keys(take(state, "postgres", many(3), now=180), ("size",), now=180)
    return acknowledge(state, holds(state)[0].hash, by="me", now=200)


def test_a_state_survives_being_stored() -> None:
    state = everything()
    assert len(holds(state)) == 2
    assert decode(encode(state), COLUMNS) == state


def test_only_what_changed_is_an_entry_to_write() -> None:
    state = everything()
    before = encode(state)
    changed = take(state, "postgres", {**unheld(state.sources["postgres"]), **rows("new")}, now=240)
    after = encode(changed)
    differing = {table: changed_entries(before.tables[table], each) for table, each in after.tables.items()}
    assert {table: keys for table, keys in differing.items() if keys} == {"postgres": ["new"]}


def test_rows_of_the_record_get_the_columns_that_are_configured_now() -> None:
    stored = encode(take(Membership(), "postgres", many(1), now=0))
    row = decode(stored, ("status", "plan")).merged.rows["t000"]
    assert list(row) == list(render_row("x", {"status": "", "plan": ""}))
    assert (row["status"], row["plan"]) == ("active", "")
    assert "plan" not in decode(encode(decode(stored, ("plan",))), COLUMNS).merged.rows["t000"]


@pytest.mark.parametrize("meta", [b"{}", b'{"format": 1}', b"[]", b'{"format": 99}', b"no JSON"])
def test_a_record_of_another_form_is_corrupt_and_never_empty(meta: bytes) -> None:
    with pytest.raises(RecordCorrupt):
        decode(Stored(1, meta, {}), COLUMNS)
