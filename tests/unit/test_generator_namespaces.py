"""Namespaces that are asked for: what counts as a departure of a cluster's, and that storing loses nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tenantry.classes import resolve
from tenantry.model import parse_tenant
from tenantry.render import render_row, render_tenant
from tenantry_generator.errors import NotReady
from tenantry_generator.expand import Place
from tenantry_generator.membership import KEPT, Membership, acknowledge, holds, take
from tenantry_generator.membership_codec import decode, encode
from tenantry_generator.membership_namespaces import ask, follow_clusters, forget_clusters, touch
from tenantry_generator.namespaces import Namespaces
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.record.tables import changed_entries

ACCEPTED = accepted_parameters(("status",))
Read = dict[str, Place]


def expansion(**parameters: Any) -> Any:
    found = parse_query({"cluster": "far", **parameters}, ACCEPTED).expansion
    assert found is not None
    return found


def places(count: int, *, tenant: str = "", given: bool = True, **labels: str) -> Read:
    """Return namespaces n00, n01, ..., one of each tenant t00, t01, ... unless they are all of one."""
    names = {f"n{number:02}": tenant or f"t{number:02}" for number in range(count)}
    return {name: Place(name, of, labels, given) for name, of in names.items()}


def tenants(count: int, *extra: str) -> dict[str, Any]:
    names = [*(f"t{number:02}" for number in range(count)), *extra]
    return {name: render_row(name, {"status": "active"}) for name in names}


def asked(read: Mapping[str, Place], *, of: int = 30, **parameters: Any) -> Membership:
    """Return a state whose tenants come from rows, after somebody has asked for a cluster's namespaces."""
    return ask(take(Membership(), "postgres", tenants(of, "big"), now=0), expansion(**parameters), read, now=0)


def after(membership: Membership, read: Mapping[str, Place], *, now: float = 60, sure: bool = True) -> Membership:
    return follow_clusters(membership, {"far": read}, fresh={"far"}, sure={"far"} if sure else set(), now=now)


def only(membership: Membership) -> Namespaces:
    (found,) = membership.namespaces.values()
    return found


def shown(membership: Membership) -> dict[str, str]:
    """Return the tenant of each namespace in the answer."""
    return {place.name: tenant for tenant, found in only(membership).places.items() for place in found}


def test_two_may_leave_a_cluster_and_more_are_held_together_as_they_were() -> None:
    state = asked(places(20, stage="prod"))
    read = places(20, stage="prod")
    del read["n00"], read["n01"]
    state = after(state, read)
    assert shown(state).keys() == read.keys()
    few = {name: replace(place, labels={"stage": "test"}) for name, place in list(read.items())[:8]}
    state = after(state, few, now=120)
    assert shown(state).keys() == read.keys()
    (hold,) = holds(state)
    assert hold.set == "namespaces of far"
    assert hold.names == read.keys() - few.keys()
    assert only(state).rows["n02"].labels == {"stage": "test"}, "what is there is followed"
    assert only(state).rows["n19"].labels == {"stage": "prod"}


def test_one_that_a_restored_api_server_lacks_is_held() -> None:
    read = places(20)
    del read["n00"]
    doubted = {"far": {"n00": "the API server was restored"}}
    state = follow_clusters(asked(places(20)), {"far": read}, fresh={"far"}, sure={"far"}, doubted=doubted, now=60)
    assert shown(state).keys() == places(20).keys()
    assert [(hold.names, hold.why) for hold in holds(state)] == [(frozenset({"n00"}), "the API server was restored")]


def test_a_read_that_changes_nothing_is_the_same_state() -> None:
    state = asked(places(5))
    assert after(state, places(5)) is state
    assert follow_clusters(state, {}, fresh=set(), sure=set(), now=60) is state


def test_what_returns_leaves_the_hold_and_new_ones_join_at_once() -> None:
    state = after(asked(places(20)), places(5))
    state = after(state, places(19) | {"new": Place("new", "t00", {}, True)}, now=120)
    assert shown(state).keys() == places(20).keys() | {"new"}
    assert [hold.names for hold in holds(state)] == [{"n19"}]


def test_an_acknowledgement_is_followed_once_it_is_sure_who_is_missing() -> None:
    state = after(asked(places(20)), places(5))
    (hold,) = holds(state)
    state = acknowledge(state, hold.hash, by="me", now=120)
    waiting = follow_clusters(state, {"far": places(5)}, fresh=set(), sure=set(), now=120)
    assert waiting is state
    assert follow_clusters(state, {}, fresh=set(), sure=set(), now=120) is state, "not read since the start"
    state = follow_clusters(state, {"far": places(6)}, fresh=set(), sure={"far"}, now=180)
    assert shown(state).keys() == places(6).keys()
    assert holds(state) == []
    assert state.acknowledged[hold.hash].used == 180
    assert only(state).ledger.departed == (), "it doesn't count against the next departures"


def test_the_namespaces_of_a_tenant_that_has_left_are_no_departures() -> None:
    state = asked({**places(3), **{f"b{number}": Place(f"b{number}", "big", {}, True) for number in range(9)}})
    state = take(state, "postgres", tenants(30), now=30)
    state = after(state, places(3))
    assert shown(state).keys() == places(3).keys()
    assert holds(state) == []
    assert only(state).ledger.departed == ()


def test_a_tenant_that_leaves_takes_its_namespaces_out_of_a_hold() -> None:
    state = after(asked({**places(9), "b1": Place("b1", "big", {}, True)}), places(2))
    assert len(holds(state)[0].names) == 8
    state = take(state, "postgres", tenants(30), now=120)
    state = follow_clusters(state, {"far": places(2)}, fresh=set(), sure=set(), now=120)
    assert "b1" not in holds(state)[0].names | shown(state).keys()
    assert len(holds(state)[0].names) == 7


def test_a_mass_change_of_labels_is_held_for_the_selector_that_they_leave() -> None:
    state = ask(asked(places(20, stage="prod"), labelSelector="stage=prod"), expansion(), places(20), now=0)
    test = {name: replace(place, labels={"stage": "test"}) for name, place in places(20).items()}
    state = after(state, test)
    (hold,) = holds(state)
    assert (hold.set, len(hold.names)) == ('namespaces of far matching [["stage", "In", ["prod"]]]', 20)
    by_set = {each.set: each for each in state.namespaces.values()}
    assert by_set["namespaces of far"].rows == test
    assert {place.labels["stage"] for place in by_set[hold.set].rows.values()} == {"prod"}


def test_namespaces_that_change_hands_are_held_once_with_the_tenant_that_they_had() -> None:
    state = after(asked(places(20)), places(20, tenant="big"))
    assert shown(state) == {place.name: place.tenant for place in places(20).values()}
    (hold,) = holds(state)
    assert len(hold.names) == 20
    state = acknowledge(state, hold.hash, by="me", now=120)
    state = follow_clusters(state, {"far": places(20, tenant="big")}, fresh=set(), sure={"far"}, now=120)
    assert set(shown(state).values()) == {"big"}


@pytest.mark.parametrize(("source", "held"), [("cluster", 20), ("postgres", 0)])
def test_a_label_that_somebody_else_took_over_is_a_departure_of_a_tenant_object_only(source: str, held: int) -> None:
    named = [f"t{number:02}" for number in range(20)]
    objects = {name: render_tenant(resolve(parse_tenant({"metadata": {"name": name}}), {})) for name in named}
    state = take(Membership(), source, objects if source == "cluster" else tenants(20), now=0)
    state = ask(state, expansion(), places(20), now=0)
    state = after(state, places(20, given=False))
    assert sum(len(hold.names) for hold in holds(state)) == held
    assert {place.given for place in only(state).rows.values()} == {bool(held)}


def test_what_was_never_shown_does_not_count() -> None:
    state = take(
        Membership(), "cluster", {"a": render_tenant(resolve(parse_tenant({"metadata": {"name": "a"}}), {}))}, now=0
    )
    copied = places(20, tenant="a", given=False)
    own, other = Place("own", "a", {}, True), Place("other", "nobody", {}, True)
    state = ask(state, expansion(), {**copied, "own": own, "other": other}, now=0)
    state = after(state, {"own": own})
    assert only(state).rows.keys() == {"own"}
    assert holds(state) == []


def test_a_state_with_namespaces_survives_being_stored_and_only_what_changed_is_encoded_anew() -> None:
    state = ask(asked(places(20, stage="prod"), labelSelector="stage in (prod),!old"), expansion(), places(20), now=5)
    encode(state)
    state = after(state, places(5, stage="prod"))
    first = encode(state)
    decoded = decode(first, ("status",))
    assert decoded == state
    assert {key: each.places for key, each in decoded.namespaces.items()} == {
        key: each.places for key, each in state.namespaces.items()
    }
    second = encode(take(state, "postgres", tenants(31, "big"), now=90))
    for key in state.namespaces:
        table = f"namespaces/{key}"
        assert changed_entries(first.tables[table], second.tables[table]) == []


def test_a_record_of_a_version_without_namespaces_is_read() -> None:
    stored = encode(take(Membership(), "postgres", tenants(2), now=0))
    old = stored.meta.replace(b',"namespaces":{}', b"")
    assert old != stored.meta
    assert decode(replace(stored, meta=old), ("status",)).namespaces == {}


def test_what_nobody_asks_for_is_forgotten_after_a_week_but_no_hold() -> None:
    state = asked(places(5))
    assert forget_clusters(state, known={"far"}, now=KEPT) is state
    assert forget_clusters(state, known={"far"}, now=KEPT + 1).namespaces == {}
    assert forget_clusters(touch(state, expansion(), now=60), known={"far"}, now=KEPT + 1).namespaces
    held = after(state, {})
    assert forget_clusters(held, known={"far"}, now=KEPT + 1) is held
    assert forget_clusters(held, known=set(), now=KEPT + 1).namespaces == {}
    assert touch(Membership(), expansion(), now=60) == Membership()


def test_there_is_an_end_to_how_many_are_followed_and_asking_again_changes_nothing() -> None:
    state = asked(places(2))
    assert ask(state, expansion(), {}, now=60) is state
    for number in range(499):
        state = ask(state, expansion(labelSelector={"number": str(number)}), {}, now=0)
    with pytest.raises(NotReady):
        ask(state, expansion(cluster="near"), {}, now=0)
