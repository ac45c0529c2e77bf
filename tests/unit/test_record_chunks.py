"""Tables become chunks and come back; a change touches one chunk, and one wrong byte anywhere is found."""

import hashlib
import json
import random
from itertools import pairwise

import pytest

from tenantry_generator.errors import RecordCorrupt
from tenantry_generator.record import Stored
from tenantry_generator.record.chunks import Packed, Tables, pack
from tenantry_generator.record.index import INDEX, Index, decode, encode, unpack


def rows(count: int, *, length: int = 240, seed: int = 1) -> dict[str, bytes]:
    made = random.Random(seed)  # noqa: S311
    return {f"t{number}": json.dumps({"v": made.randbytes(length // 2).hex()}).encode() for number in range(count)}


def index_of(packed: Packed, *, revision: int = 7, meta: bytes = b'{"holds":[]}') -> bytes:
    chunks = tuple(zip(packed.names, packed.sizes, strict=True))
    return encode(Index("id", "writer", revision, meta, tuple(packed.tables), chunks))


def read_back(packed: Packed, chunks: dict[str, bytes]) -> Tables:
    found = unpack(index_of(packed), chunks)
    assert found is not None
    assert found[0] == Stored(7, b'{"holds":[]}', found[0].tables)
    return found[0].tables


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"rows": {}},
        {"rows": {"a": b""}},
        {"a": {"b": b"1", "": b"2"}, "ab": {"": b"3"}, "": {"ab": b"4"}},
        {"rows": {"ключ\n\x00": b'{\n "pretty": "\xc3\xa9"\n}\n', '"': b"null"}},
        {"rows": rows(5000), "holds": rows(3)},
    ],
)
def test_what_was_packed_comes_back_to_the_byte(tables: Tables) -> None:
    packed, chunks = pack(tables)
    assert read_back(packed, chunks) == tables


def test_whatever_the_sequence_of_changes_only_what_differs_is_written_and_all_comes_back() -> None:
    seed = random.randrange(1_000_000)  # noqa: S311
    print(f"seed {seed}")
    dice = random.Random(seed)  # noqa: S311
    tables: dict[str, dict[str, bytes]] = {"rows": rows(300), "holds": {}}
    packed, chunks = pack(tables)
    for _ in range(150):
        tables = {table: dict(values) for table, values in tables.items()}
        table = dice.choice(["rows", "rows", "holds", "left"])
        chosen = tables.setdefault(table, {})
        for _ in range(dice.choice([0, 1, 1, 5, 200])):
            chosen[f"t{dice.randrange(2000)}"] = dice.randbytes(dice.randrange(300))
        for key in dice.sample(sorted(chosen), k=min(len(chosen), dice.choice([0, 0, 1, 3]))):
            del chosen[key]
        if dice.random() < 0.05:
            del tables[table]
        before = packed
        packed, fresh = pack(tables, before)
        assert not fresh.keys() & before.present or len(before.names) != len(packed.names)
        chunks |= fresh
        assert read_back(packed, chunks) == tables


def test_one_change_among_many_writes_one_chunk_and_an_equal_value_none() -> None:
    tables = {"rows": rows(20_000)}
    packed, _ = pack(tables)
    changed = {"rows": {**tables["rows"], "t7": b"{}"}}
    after, fresh = pack(changed, packed)
    assert len(fresh) == 1
    assert len(after.present - packed.present) == 1
    equal = {"rows": {key: bytes(bytearray(value)) for key, value in changed["rows"].items()}}
    assert pack(equal, after)[1] == {}
    assert pack({"rows": tables["rows"]}, after)[0].names == packed.names


def test_the_same_tables_make_the_same_chunks_whatever_their_order() -> None:
    table = rows(2000)
    assert pack({"rows": table})[1] == pack({"rows": dict(reversed(table.items()))})[1]


@pytest.mark.parametrize(("count", "length"), [(0, 0), (100, 240), (20_000, 240), (2000, 8000), (20, 400_000)])
def test_a_chunk_stays_far_below_what_a_config_map_holds(count: int, length: int) -> None:
    packed, chunks = pack({"rows": rows(count, length=length)})
    assert max(map(len, packed.members)) <= 400
    assert max(map(len, chunks.values()), default=0) < 700_000
    assert len(packed.names) & (len(packed.names) - 1) == 0
    assert len(index_of(packed)) < 100_000


def test_a_table_that_grows_one_by_one_is_laid_out_anew_rarely() -> None:
    tables = {"rows": rows(150)}
    packed, _ = pack(tables)
    counts = [len(packed.names)]
    for number in range(3000):
        tables = {"rows": {**tables["rows"], f"n{number}": b"{}"}}
        packed, _ = pack(tables, packed)
        counts.append(len(packed.names))
    assert max(map(len, packed.members)) <= 400
    assert sum(one != next_one for one, next_one in pairwise(counts)) <= 5


def test_any_one_byte_that_differs_is_found_and_its_part_is_named() -> None:
    packed, chunks = pack({"rows": rows(5)})
    index = index_of(packed)
    (name, data), *_ = chunks.items()
    for at in range(len(index)):
        damaged = index[:at] + bytes([index[at] ^ 1]) + index[at + 1 :]
        with pytest.raises(RecordCorrupt, match=INDEX):
            unpack(damaged, chunks)
    for at in range(len(data)):
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(RecordCorrupt, match=name):
            unpack(index, {name: damaged})


@pytest.mark.parametrize("cut", [0, 1, -1])
def test_a_part_that_was_cut_short_or_is_missing_is_named(cut: int) -> None:
    packed, chunks = pack({"rows": rows(5)})
    (name, data), *_ = chunks.items()
    with pytest.raises(RecordCorrupt, match=name):
        unpack(index_of(packed), {name: data[:cut]})
    with pytest.raises(RecordCorrupt, match=f"{name} is missing"):
        unpack(index_of(packed), {})
    with pytest.raises(RecordCorrupt, match=INDEX):
        unpack(index_of(packed)[:cut], chunks)


def test_chunks_without_an_index_are_a_damaged_record_and_an_index_without_chunks_is_none_yet() -> None:
    _, chunks = pack({"rows": rows(5)})
    with pytest.raises(RecordCorrupt, match=f"{INDEX} is missing"):
        unpack(None, chunks)
    assert unpack(None, {}) is None
    assert unpack(encode(Index("id", "writer", 0, b"", (), ())), chunks) is None


def test_an_index_of_another_format_is_not_guessed_at() -> None:
    index = Index("id", "writer", 1, b"{}", ("rows",), (("", 0),))
    assert decode(encode(index)) == index
    text = encode(index).partition(b"\n")[2].replace(b'"format":1', b'"format":2')
    with pytest.raises(RecordCorrupt, match="format 2"):
        decode(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
