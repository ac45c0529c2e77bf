"""The map that everything of which there is one for each tenant is kept in, against a plain dict."""

import random
from dataclasses import dataclass

from tenantry_generator.blockmap import BlockMap, changed_keys, replaced_keys


@dataclass(frozen=True)
class LastDigit:
    """A Trait: the last digit of a number, none of one that is a multiple of seven."""

    def of(self, key: str, value: int) -> str | None:
        return str(value % 10) if value % 7 else None


def dice() -> random.Random:
    seed = random.randrange(2**32)  # noqa: S311 - repeatable, no secret
    print(f"seed {seed}")
    return random.Random(seed)  # noqa: S311


def test_whatever_the_sequence_of_changes_it_is_what_a_dict_would_be_and_shares_what_did_not_change() -> None:
    chance = dice()
    for _ in range(8):
        model = {f"k{number}": number for number in chance.sample(range(5000), k=chance.choice([0, 1, 40, 3000]))}
        found = BlockMap.of(model)
        for _ in range(40):
            keys = [f"k{chance.randrange(5000)}" for _ in range(chance.choice([0, 1, 1, 30, 800]))]
            put = {key: chance.randrange(10**6) for key in keys}
            drop = chance.sample(sorted(model), k=min(len(model), chance.choice([0, 0, 1, 20, 1500])))
            before, was = found, model
            model = {key: value for key, value in {**model, **put}.items() if key not in drop}
            found = found.updated(put, drop) if chance.random() < 0.7 else found.replaced(model)
            assert list(found.items()) == sorted(model.items())
            assert (list(found), list(found.values())) == (sorted(model), [model[key] for key in sorted(model)])
            assert (len(found), found == model, bool(found)) == (len(model), True, bool(model))
            assert all(found[key] == model[key] and key in found for key in model)
            assert all(found.get(f"k{number}") == model.get(f"k{number}") for number in range(0, 5000, 97))
            assert found.get("nobody") is None
            assert "nobody" not in found
            differing = {key for key in was.keys() | model.keys() if was.get(key) != model.get(key)}
            assert changed_keys(before, found) == sorted(differing)
            assert replaced_keys(before, found) == differing, "they are numbers, so other objects are other values"
            assert all(0 < len(block.keys) <= 512 for block in found.blocks)
            assert len(set(before.blocks) - set(found.blocks)) <= 2 * len(differing)


def test_what_changes_nothing_is_the_same_map() -> None:
    values = {f"k{number:04}": object() for number in range(2000)}
    found = BlockMap.of(values)
    assert BlockMap.of(found) is found
    assert found.updated({}) is found
    assert found.updated({"k0007": values["k0007"]}, ["nobody"]) is found
    assert found.replaced(dict(reversed(values.items()))) is found
    assert found.where(lambda block: block.all) is found


def test_one_change_among_many_leaves_all_blocks_but_one() -> None:
    found = BlockMap.of({f"k{number:05}": number for number in range(50_000)})
    for changed in (found.updated({"k31234": -1}), found.updated({"k31234x": 1}), found.updated({}, ["k31234"])):
        assert len(set(found.blocks) - set(changed.blocks)) == 1


def test_an_equal_value_that_is_another_object_is_replaced_and_has_not_changed() -> None:
    one, other = BlockMap.of({"a": [1], "b": [2]}), BlockMap.of({"a": [1], "b": [3]})
    assert (replaced_keys(one, other), changed_keys(one, other)) == ({"a", "b"}, ["b"])
    assert one.blocks[0].equals(BlockMap.of({"a": [1], "b": [2]}).blocks[0])
    assert not one.blocks[0].equals(other.blocks[0])


def test_an_index_tells_the_same_as_a_look_at_every_entry() -> None:
    chance = dice()
    model = {f"k{number}": chance.randrange(10**6) for number in range(4000)}
    found = BlockMap.of(model)
    for text in ("0", "3", "9", None):
        wanted = found.where(lambda block, text=text: block.index(LastDigit()).get(text, 0))  # type: ignore[misc]
        assert wanted == {key: value for key, value in model.items() if LastDigit().of(key, value) == text}
    block = found.blocks[0]
    assert block.index(LastDigit()) is block.index(LastDigit())


def test_what_was_chosen_is_found_in_the_map_that_it_came_from_and_after_any_change() -> None:
    chance = dice()
    for _ in range(20):
        model = {f"k{number:04}": [number] for number in chance.sample(range(6000), k=chance.choice([1, 40, 3000]))}
        found = BlockMap.of(model)
        by_hand = BlockMap.of({key: model[key] for key in chance.sample(sorted(model), k=(len(model) + 1) // 2)})
        masks = {block: chance.getrandbits(len(block.keys)) for block in found.blocks}
        chosen = found.where(lambda block, masks=masks: masks[block])  # type: ignore[misc]
        changed = found
        for _ in range(4):
            for block in (*chosen.blocks, *by_hand.blocks):
                for value, where, at in changed.located(block):
                    key = f"k{value[0]:04}"
                    is_there = changed.get(key) is value
                    assert (where is not None) == is_there, key
                    assert where is None or (where in changed.blocks and where.values[at] is value)
            put = {f"k{chance.randrange(6000):04}": [-1] for _ in range(chance.choice([1, 400]))}
            drop = chance.sample(sorted(model), k=min(len(model), chance.choice([0, 1, 900])))
            changed = changed.updated(put, drop)
        assert [value for block in chosen.blocks for value in block.values] == list(chosen.values())
        assert all(where is None for block in chosen.blocks for _, where, _ in BlockMap[list[int]]().located(block))
