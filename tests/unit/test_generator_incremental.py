"""What is made by changes is what would have been made at once, and what indexes find is what a look at each finds."""

import gzip
import json
import random
from typing import Any

import pytest

from tenantry.classes import resolve
from tenantry.model import parse_tenant
from tenantry.render import ClusterRow, Row, TableRow, as_dict, render_row, render_tenant
from tenantry_generator.body import Body
from tenantry_generator.errors import AssemblyError
from tenantry_generator.generator_selector import read_selector, select
from tenantry_generator.membership import Membership, know_keys, take
from tenantry_generator.membership_codec import decode, encode
from tenantry_generator.merge import merge
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.record.chunks import pack
from tenantry_generator.record.index import Index, unpack
from tenantry_generator.record.index import encode as encode_index
from tenantry_generator.shard import shard_of
from tenantry_generator.snapshot import Snapshot, build_snapshot

COLUMNS = ("status", "plan")
NAMES = [f"t{number:03}" for number in range(600)]


def dice() -> random.Random:
    seed = random.randrange(2**32)  # noqa: S311 - repeatable, no secret
    print(f"seed {seed}")
    return random.Random(seed)  # noqa: S311


def database_row(name: str, chance: random.Random) -> Row:
    return TableRow((name, chance.choice(["active", "trial", "late"]), chance.choice(["", "gold"])), COLUMNS)


def tenant(name: str, chance: random.Random) -> ClusterRow:
    labels = {} if chance.random() < 0.5 else {"tier": chance.choice(["gold", "silver"])}
    plan = chance.choice([True, "gold", ["a", "b"], None])
    body = {"metadata": {"name": name, "labels": labels}, "spec": {"parameters": {"plan": plan, "size": 3}}}
    return render_tenant(resolve(parse_tenant(body), {}), COLUMNS)


def contents(body: Body) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(bytes(body))["output"]["parameters"]
    return found


def test_a_state_built_by_changes_is_served_recorded_and_read_back_like_one_built_at_once() -> None:
    chance = dice()
    database = {name: database_row(name, chance) for name in NAMES}
    cluster = {name: tenant(name, chance) for name in chance.sample(NAMES, k=40)}
    state = take(take(Membership(), "postgres", database, now=0), "cluster", cluster, now=0)
    snapshot: Snapshot | None = None
    packed, chunks = pack(encode(state).tables)
    for step in range(60):
        now = 4000.0 * step
        changing = chance.sample(NAMES, k=chance.choice([1, 1, 3, 50]))
        if chance.random() < 0.5:
            database = {**database, **{name: database_row(name, chance) for name in changing}}
            database.pop(chance.choice(NAMES), None)
            state = take(state, "postgres", database, now=now)
        else:
            cluster = {**cluster, **{name: tenant(name, chance) for name in changing}}
            cluster.pop(changing[0])
            state = take(state, "cluster", cluster, now=now)
        if step == 30:
            state = know_keys(state, ("size",), now=now)
        snapshot = build_snapshot(state.merged.rows, snapshot)
        packed, fresh = pack(encode(state).tables, packed)
        chunks |= fresh
        sources = state.sources
        at_once = merge(sources["cluster"].rows, sources["postgres"].rows, keys=state.merged.keys)
        assert state.merged == at_once
        assert list(state.merged.rows) == sorted(state.merged.rows)
        assert contents(snapshot.body) == [as_dict(row) for row in at_once.rows.values()]
        assert bytes(snapshot.body) == bytes(build_snapshot(at_once.rows, None).body)
    sizes = tuple(zip(packed.names, packed.sizes, strict=True))
    stored = unpack(encode_index(Index("id", "w", 0, encode(state).meta, tuple(packed.tables), sizes)), chunks)
    assert stored is not None
    assert decode(stored[0], COLUMNS) == state


REQUESTS: list[dict[str, Any]] = [
    {},
    {"status": "late"},
    {"status": ["late", "trial"], "plan": ["gold", True]},
    {"plan": "gold", "source": "cluster"},
    {"name": ["t001", "t002", "nobody"]},
    {"selector": {"matchLabels": {"tier": "gold"}}},
    {"selector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["gold"]}]}, "status": "late"},
    {"selector": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}},
    {"selector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}},
    {"shard": {"index": "1", "count": "3"}, "status": ["late", "active"]},
    {"status": "nobody"},
]


def wants(parameters: dict[str, Any], row: Row) -> bool:
    """Whether a request asks for a tenant, told the slow way."""
    for key in ("status", "plan", "source", "name"):
        given = parameters.get(key)
        if given is not None and row[key] not in (given if isinstance(given, list) else [given]):
            return False
    selector = parameters.get("selector", {})
    if any(row["labels"].get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for each in selector.get("matchExpressions", []):
        value = row["labels"].get(each["key"])
        said = {
            "NotIn": value not in each.get("values", []),
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not said[each["operator"]]:
            return False
    shard = parameters.get("shard")
    return shard is None or shard_of(row["name"], int(shard["count"])) == int(shard["index"])


@pytest.mark.parametrize("parameters", REQUESTS)
def test_an_answer_out_of_indexes_is_that_of_a_look_at_every_tenant(parameters: dict[str, Any]) -> None:
    chance = dice()
    database = {name: database_row(name, chance) for name in NAMES}
    cluster = {name: tenant(name, chance) for name in chance.sample(NAMES, k=200)}
    query = parse_query(parameters, accepted_parameters(COLUMNS))
    merged = merge(cluster, database)
    for _ in range(3):
        snapshot = build_snapshot(merged.rows, None)
        expected = [as_dict(row) for row in merged.rows.values() if wants(parameters, row)]
        assert contents(snapshot.answer(query)) == expected
        cluster = {**cluster, **{name: tenant(name, chance) for name in chance.sample(NAMES, k=20)}}
        merged = merge(cluster, database, merged)


@pytest.mark.parametrize(
    "body",
    [
        {"matchLabels": {"labels.tier": "gold"}},
        {"matchExpressions": [{"key": "status", "operator": "NotIn", "values": ["late"]}]},
        {"matchExpressions": [{"key": "plan.1", "operator": "Exists"}]},
        {"matchExpressions": [{"key": "parameters.size", "operator": "In", "values": ["3"]}]},
    ],
)
def test_the_selector_of_a_generator_finds_the_same_out_of_indexes(body: dict[str, Any]) -> None:
    chance = dice()
    rows = merge(
        {name: tenant(name, chance) for name in NAMES[::3]}, {name: database_row(name, chance) for name in NAMES}
    ).rows
    selector = read_selector(body)
    assert selector is not None
    assert select(selector, rows) == {name: row for name, row in rows.items() if selector.matches(row)}


def test_a_database_row_that_is_kept_small_is_the_same_element_as_a_dict() -> None:
    small, whole = (
        TableRow(("Acme & Co", "trial", "gold"), COLUMNS),
        render_row("Acme & Co", {"status": "trial", "plan": "gold"}),
    )
    assert small == whole
    assert whole == small
    assert list(small.items()) == list(whole.items()) == list(small.element().items())
    assert len(small) == len(whole)
    assert all(small[key] == value for key, value in whole.items())
    assert small.get("nobody") is None
    assert small != TableRow(("Acme & Co", "late", "gold"), COLUMNS)
    assert {**small, "size": ""} == small.with_empty(["size"])


async def test_the_gzipped_answer_is_the_answer_and_of_a_change_only_its_part_is_packed_anew() -> None:
    chance = dice()
    rows = {name: database_row(name, chance) for name in NAMES}
    before = build_snapshot(rows, None)
    packed = await before.body.gzipped()
    assert gzip.decompress(bytes(packed)) == bytes(before.body)
    after = build_snapshot(before.rows.updated({"t300": database_row("changed", chance)}), before)
    again = await after.body.gzipped()
    assert gzip.decompress(bytes(again)) == bytes(after.body)
    assert sum(one != other for one, other in zip(packed.parts, again.parts, strict=True)) == 1
    late = after.answer(parse_query({"status": "late"}, accepted_parameters(COLUMNS)))
    assert gzip.decompress(bytes(await late.gzipped())) == bytes(late)


def test_an_element_nested_deeper_than_the_fast_encoder_goes_is_encoded_all_the_same() -> None:
    deep: Any = ""
    for _ in range(600):
        deep = [deep]
    row = {**render_row("deep", {}), "parameters": {"deep": deep}}
    assert contents(build_snapshot({"deep": row}, None).body) == [row]


def test_a_text_that_is_no_unicode_is_served_by_nobody() -> None:
    with pytest.raises((AssemblyError, UnicodeEncodeError)):
        build_snapshot({"odd": {**render_row("odd", {}), "plan": "\ud800"}}, None)
