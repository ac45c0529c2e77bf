"""Merging the sources, and the snapshot that is served of them."""

import json

from tenantry.classes import resolve
from tenantry.model import parse_tenant
from tenantry.render import ClusterRow, Row, render_row, render_tenant
from tenantry_generator.body import Body
from tenantry_generator.merge import changed_names, merge
from tenantry_generator.query import Query
from tenantry_generator.snapshot import Snapshot, build_snapshot


def tenant(name: str, **parameters: object) -> ClusterRow:
    body = {"metadata": {"name": name}, "spec": {"parameters": parameters}}
    return render_tenant(resolve(parse_tenant(body), {}), ("status", "plan"))


def row(raw: str, *, status: str = "active", plan: str = "") -> Row:
    return render_row(raw, {"status": status, "plan": plan})


def by_name(*rows: Row) -> dict[str, Row]:
    return {element["name"]: element for element in rows}


def elements(body: Body) -> list[Row]:
    found: list[Row] = json.loads(bytes(body))["output"]["parameters"]
    return found


def names(body: Body) -> list[str]:
    return [element["name"] for element in elements(body)]


def test_both_sources_are_in_order_of_name_and_a_tenant_wins_over_its_row() -> None:
    cluster = {"b": tenant("b", status="trial"), "d": tenant("d")}
    database = by_name(row("c"), row("b", status="late", plan="gold"), row("a"))
    both = merge(cluster, database)
    merged = both.rows
    assert list(merged) == ["a", "b", "c", "d"]
    assert [merged[name]["source"] for name in merged] == ["postgres", "cluster", "postgres", "cluster"]
    assert (merged["b"]["status"], merged["b"]["plan"]) == ("trial", "gold")
    assert both.shadowed == 1


def test_every_element_has_the_same_keys_in_the_same_order() -> None:
    merged = merge({"a": tenant("a"), "b": tenant("b")}, by_name(row("b"), row("c"))).rows
    assert len({tuple(element) for element in merged.values()}) == 1


def snapshot(*rows: Row, previous: Snapshot | None = None) -> Snapshot:
    return build_snapshot(merge({}, by_name(*rows)).rows, previous)


def test_the_revision_grows_with_every_change_and_only_then() -> None:
    first = snapshot(row("a"), row("b"))
    same = snapshot(row("b"), row("a"), previous=first)
    changed = snapshot(row("a", status="trial"), row("b"), previous=same)
    assert (first.revision, same, changed.revision) == (1, first, 2)
    assert same.body.parts[1] is first.body.parts[1], "equal rows are not encoded again"
    assert elements(changed.body)[0]["status"] == "trial"


def test_a_filter_is_equality_or_any_of_a_list_and_all_keys_count() -> None:
    served = snapshot(row("a", plan="gold"), row("b", status="trial"), row("c", status="trial", plan="gold"))
    assert served.answer(Query({})) is served.body
    assert names(served.answer(Query({"status": frozenset({"trial"})}))) == ["b", "c"]
    both = Query({"status": frozenset({"trial", "active"}), "plan": frozenset({"gold"})})
    assert names(served.answer(both)) == ["a", "c"]
    assert bytes(served.answer(Query({"status": frozenset({"nobody"})}))) == b'{"output":{"parameters":[]}}'


def test_a_boolean_is_compared_by_its_json_text() -> None:
    served = build_snapshot(merge({"a": tenant("a", plan=True), "b": tenant("b", plan=False)}, {}).rows, None)
    assert names(served.answer(Query({"plan": frozenset({"true"})}))) == ["a"]


def test_rows_whose_parts_did_not_change_stay_the_same_objects() -> None:
    cluster, database = {"b": tenant("b")}, by_name(row("a"), row("b"), row("c"))
    before = merge(cluster, database)
    after = merge(cluster, {**database, **by_name(row("c", status="late"), row("aa"))}, before)
    assert list(after.rows) == ["a", "aa", "b", "c"]
    assert (after.rows["a"] is before.rows["a"], after.rows["b"] is before.rows["b"]) == (True, True)
    assert changed_names(before.rows, after.rows) == ["aa", "c"]
