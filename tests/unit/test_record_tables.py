"""Tables that are encoded when they are asked: what they read as, and what they say has changed."""

import random

import pytest

from tenantry_generator.blockmap import BlockMap
from tenantry_generator.record.tables import Encoded, Joined, changed_entries

Values = dict[str, dict[str, int]]


def encode(value: int) -> bytes:
    return str(value).encode()


def joined(values: Values) -> Joined:
    return Joined({name: Encoded(BlockMap.of(table), encode) for name, table in values.items()})


def plain(values: Values) -> dict[str, bytes]:
    return {f"{name}/{key}": encode(value) for name, table in values.items() for key, value in table.items()}


def test_joined_tables_read_as_one_in_which_keys_stand_behind_their_table() -> None:
    values = {"a": {"x": 1, "y/z": 2}, "b": {"x": 3}, "empty": {}}
    table = joined(values)
    assert dict(table.items()) == plain(values)
    assert len(table) == 3
    assert "b/x" in table
    assert "b/y" not in table
    assert "c/x" not in table
    with pytest.raises(KeyError):
        table["a/b"]


@pytest.mark.parametrize("seed", range(20))
def test_they_tell_what_has_changed_as_a_comparison_of_every_entry_does(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed that is known
    before: Values = {name: {f"k{each}": chance.randrange(3) for each in range(600)} for name in "abc"}
    after = {name: dict(table) for name, table in before.items() if chance.random() < 0.8}
    for table in after.values():
        for key in chance.sample(sorted(table), 5):
            table[key] = chance.randrange(3)
        for key in chance.sample(sorted(table), 3):
            del table[key]
    after["d"] = {"new": 1}
    old, new = plain(before), plain(after)
    differing = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    assert set(changed_entries(joined(before), joined(after))) == differing
    assert set(changed_entries(old, joined(after))) == differing, "against what was read of the record"


def test_what_is_the_same_object_is_not_encoded_again() -> None:
    encoded = 0

    def counting(value: int) -> bytes:
        nonlocal encoded
        encoded += 1
        return encode(value)

    held = BlockMap.of({f"k{each}": each for each in range(5000)})
    before = Joined({"view": Encoded(held, counting)})
    after = Joined({"view": Encoded(held, counting), "other": Encoded(BlockMap.of({"one": 1}), counting)})
    assert changed_entries(before, after) == ["other/one"]
    assert encoded <= 1
