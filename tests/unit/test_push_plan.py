"""Whose answer a change concerns: exactly those whose elements, as Argo CD is left with them, are others."""

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tenantry.render import Row, render_row
from tenantry_generator.applicationsets import Use
from tenantry_generator.expand import Place
from tenantry_generator.generator_selector import Selector, read_selector, select
from tenantry_generator.membership import Membership, acknowledge, holds, know_keys, release_views, take
from tenantry_generator.membership_namespaces import ask, follow_clusters
from tenantry_generator.namespaces import by_tenant
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.push_plan import compare, differences, read_questions
from tenantry_generator.query import Query
from tenantry_generator.views import make_view, shown

ACCEPTED = accepted_parameters(("status",))


def parse(parameters: Mapping[str, Any]) -> Query:
    return parse_query(parameters, ACCEPTED)


def rows(**statuses: str) -> dict[str, Row]:
    return {name: render_row(name, {"status": status}) for name, status in statuses.items()}


def served(read: Mapping[str, Row], before: Membership | None = None, now: float = 0) -> Membership:
    return take(before or Membership(), "postgres", read, now=now)


def use(parameters: Mapping[str, Any] | None = None, **selector: Any) -> Use:
    return Use("tenantry", parameters or {}, read_selector(selector) if selector else None)


def concerned(before: Membership, after: Membership, *uses: Use) -> list[bool]:
    """Return for each generator of the ApplicationSet `apps` whether its answer differs."""
    change = compare(before, after)
    assert change is not None
    return [any(differences(change, question)) for question in read_questions("apps", uses, parse)]


def test_states_that_serve_the_same_differ_in_nothing() -> None:
    state = served(rows(a="x", b="y"))
    assert compare(state, replace(state, revision=7)) is None
    assert compare(state, served(rows(a="x", b="y"), state, now=60)) is None


@pytest.mark.parametrize(
    ("asked", "wakes"),
    [
        (use(), True),
        (use({"status": "y"}), True),
        (use({"status": ["x", "y"]}), True),
        (use({"status": "z"}), False),
        (use({"source": "postgres", "status": "y"}), True),
        (use({"source": "cluster"}), False),
        (use({"fields": ["source"]}), False),
        (use({"fields": ["status"]}), True),
        (use({"name": "b"}), False),
        (use({"selector": {"matchLabels": {"tier": "gold"}}}), False),
        (use(matchLabels={"status": "y"}), True),
        (use(matchLabels={"status": "z"}), False),
        (use({"fields": ["source"]}, matchLabels={"status": "y"}), False),
        (use(matchLabels={"name": "b"}), False),
    ],
)
def test_a_row_that_changes_wakes_those_that_see_the_difference(asked: Use, wakes: bool) -> None:
    before = served(rows(a="x", b="x", c="z"))
    after = served(rows(a="y", b="x", c="z"), before, now=60)
    assert concerned(before, after, asked) == [wakes]


def test_a_shard_wakes_for_its_own_tenants_only() -> None:
    before = served(rows(a="x"))
    after = served(rows(a="x", newcomer="x"), before, now=60)
    both = concerned(before, after, *(use({"shard": {"index": str(index), "count": "2"}}) for index in range(2)))
    assert sorted(both) == [False, True]


def test_a_tenant_that_comes_and_one_that_leaves_wake_who_saw_or_sees_them() -> None:
    state = served(rows(a="x", b="x", c="x", d="x"))
    more = served(rows(a="x", b="x", c="x", d="x", e="y"), state, now=60)
    assert concerned(state, more, use(), use({"status": "x"}), use({"status": "y"})) == [True, False, True]
    less = served(rows(b="x", c="x", d="x", e="y"), more, now=120)
    assert concerned(more, less, use(), use({"status": "x"}), use({"status": "y"})) == [True, True, False]


def watched(state: Membership, parameters: Mapping[str, Any], selector: Selector | None = None) -> Membership:
    every = state.merged.rows
    view = make_view("apps", parameters=parameters, query=parse(parameters), selector=selector, rows=every, now=0)
    return replace(state, views={**state.views, view.id: view})


def test_what_a_view_holds_is_no_difference_until_it_is_let_go() -> None:
    names = [f"t{number}" for number in range(9)]
    asked = {"status": "x"}
    before = watched(served(rows(**dict.fromkeys(names, "x"))), asked)
    held = served(rows(**dict.fromkeys(names, "y")), before, now=60)
    assert len(holds(held)) == 1
    assert concerned(before, held, use(asked), use({"status": "y"})) == [False, True]
    agreed = acknowledge(held, holds(held)[0].hash, by="me", now=61)
    let_go = release_views(agreed, now=62)
    assert concerned(held, let_go, use(asked), use({"status": "y"})) == [True, False]
    change = compare(held, agreed)
    assert change is not None
    assert change.agreed == {holds(held)[0].hash}
    assert not change.may_show_in("apps")
    change = compare(held, let_go)
    assert change is not None
    assert (change.may_show_in("apps"), change.may_show_in("another")) == (True, False)


def test_a_key_that_is_new_in_every_element_is_said() -> None:
    before = served(rows(a="x"))
    change = compare(before, know_keys(before, frozenset({"ring"}), now=1))
    assert change is not None
    assert change.everywhere
    assert change.may_show_in("apps")


def places(**tenants: str) -> dict[str, Place]:
    return {name: Place(name, tenant, {"stage": "live"}, True) for name, tenant in tenants.items()}


def test_namespaces_wake_who_asks_for_those_of_the_tenant() -> None:
    asked = {"expand": "namespace"}
    expansion = parse(asked).expansion
    assert expansion is not None
    before = ask(served(rows(a="x", b="y")), expansion, places(one="a"), now=0)
    read = {expansion.cluster: places(one="a", two="b")}
    after = follow_clusters(before, read, fresh=set(read), sure=set(read), now=60)
    queries = [asked, {**asked, "status": "x"}, {**asked, "namespace": "two"}, {**asked, "labelSelector": "stage=test"}]
    assert concerned(before, after, *map(use, queries), use()) == [True, False, True, False, False]
    change = compare(before, after)
    assert change is not None
    assert change.may_show_in("apps")


def test_who_asks_for_namespaces_that_nobody_has_been_answered_with_waits_for_nothing() -> None:
    before = served(rows(a="x"))
    after = served(rows(a="y"), before, now=60)
    assert concerned(before, after, use({"expand": "namespace"})) == [False]


def test_what_is_templated_or_would_be_refused_is_not_among_the_questions() -> None:
    uses = [Use("tenantry", None, None), Use("{{ .map }}", {}, None), use({"nonsense": "x"}), use({"status": "x"})]
    (question,) = read_questions("apps", uses, parse)
    assert question.query == parse({"status": "x"})


@pytest.mark.parametrize("seed", range(20))
def test_at_random_it_says_what_comparing_the_whole_answers_says(seed: int) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)  # noqa: S311
    statuses = ("x", "y", "z")
    asked = [
        use(),
        use({"status": "x"}),
        use({"status": ["x", "y"], "fields": ["state"]}),
        use({"shard": {"index": "1", "count": "3"}}),
        use(matchLabels={"status": "z"}),
        use({"expand": "namespace", "status": "y"}),
        use({"expand": "namespace"}, matchExpressions=[{"key": "namespace", "operator": "In", "values": ["n1", "n2"]}]),
    ]
    read = {f"t{number}": dice.choice(statuses) for number in range(12)}
    spaces = {f"n{number}": f"t{number}" for number in range(6)}
    expansion = parse({"expand": "namespace"}).expansion
    assert expansion is not None
    state = ask(served(rows(**read)), expansion, places(**spaces), now=0)
    for each in asked:
        state = watched(state, each.parameters or {}, each.selector)
    for turn in range(1, 30):
        before = state
        for _ in range(dice.randint(1, 4)):
            read[f"t{dice.randrange(14)}"] = dice.choice(statuses)
        if dice.random() < 0.3:
            read.pop(dice.choice(sorted(read)))
        if dice.random() < 0.3:
            spaces[f"n{dice.randrange(8)}"] = f"t{dice.randrange(14)}"
        state = served(rows(**read), state, now=turn)
        clusters = {expansion.cluster: places(**spaces)}
        state = follow_clusters(state, clusters, fresh=set(clusters), sure=set(clusters), now=turn)
        expected = [left_with(before, each) != left_with(state, each) for each in asked]
        if compare(before, state) is None:
            assert not any(expected)
        else:
            assert concerned(before, state, *asked) == expected


def left_with(membership: Membership, asked: Use) -> list[tuple[str, Row]]:
    """Return what Argo CD is left with, from the whole answer."""
    query = parse(asked.parameters or {})
    views = [view for view in membership.views.values() if view.query.of_tenants.key == query.of_tenants.key]
    if query.expansion is not None:
        (namespaces,) = membership.namespaces.values()
        query = query.bound(by_tenant(namespaces.rows))
    tenants = shown(query.of_tenants.elements(membership.merged.rows), views)
    return list(select(asked.selector, query.shaped(tenants)).items())
