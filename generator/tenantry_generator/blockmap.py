"""A sorted map that never changes: what is made of it by a change shares every block that the change does not touch.

Everything of which there is one for each tenant is such a map, so that one tenant among a hundred thousand costs a
block and not all: whoever compares two of them passes over the blocks that both have (docs/adr/0022).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, ItemsView, Iterable, Iterator, Mapping, ValuesView
from itertools import chain, repeat
from operator import is_
from typing import Any, TypeVar

from tenantry_generator.block import STRIDE, Block, Chosen, Mask

__all__ = ["BlockMap", "changed_keys", "replaced_keys"]

V = TypeVar("V")
T = TypeVar("T")

_MADE, _MOST, _FEW = 256, 512, 64
"""Entries of a block: when a map is made, at most, and so few that it is joined to the one before it."""
_ABSENT: Any = object()


class BlockMap(Mapping[str, V]):
    """A Mapping in the order of its keys. `blocks` are none of them empty."""

    __slots__ = ("_firsts", "_length", "blocks")

    def __init__(self, blocks: Iterable[Block[V]] = ()) -> None:
        self.blocks = tuple(blocks)
        self._firsts = [block.keys[0] for block in self.blocks]
        self._length = sum([len(block.keys) for block in self.blocks])

    @staticmethod
    def of(entries: Mapping[str, T]) -> "BlockMap[T]":
        """Return `entries` as a BlockMap: itself if it is one."""
        if isinstance(entries, BlockMap):
            return entries
        keys = sorted(entries)
        return BlockMap(_cut(keys, [entries[key] for key in keys], _MADE))

    def updated(self, put: Mapping[str, V], drop: Collection[str] = ()) -> "BlockMap[V]":
        """Return the map with these entries put in or replaced, and these keys taken out: itself if it had them so."""
        gone = frozenset(drop)
        if not self.blocks:
            return BlockMap.of({key: value for key, value in put.items() if key not in gone})
        touched: dict[int, dict[str, V]] = {}
        for key in chain(put, gone):
            at = self._block_of(key)
            if at not in touched:
                touched[at] = dict(self.blocks[at].items())
            if key in gone:
                touched[at].pop(key, None)
            else:
                touched[at][key] = put[key]
        blocks: list[Block[V]] = []
        done = 0
        for at, entries in sorted(touched.items()):
            blocks += self.blocks[done:at]
            _append(blocks, entries, self.blocks[at])
            done = at + 1
        blocks += self.blocks[done:]
        same = len(blocks) == len(self.blocks) and all(map(is_, blocks, self.blocks))
        return self if same else BlockMap(blocks)

    def replaced(self, entries: Mapping[str, V]) -> "BlockMap[V]":
        """Return a map with exactly these entries, which shares the blocks whose values are the very same objects."""
        if isinstance(entries, BlockMap):
            return entries
        had = dict(self.items())
        put = {key: value for key, value in entries.items() if had.get(key, _ABSENT) is not value}
        return self.updated(put, had.keys() - entries.keys())

    def where(self, accepted: Callable[[Block[V]], Mask]) -> "BlockMap[V]":
        """Return the entries that `accepted` says of each block: itself if those are all."""
        blocks: list[Block[V]] = []
        chosen = Chosen[V]()
        for number, block in enumerate(self.blocks):
            mask = accepted(block)
            if not mask:
                continue
            if chosen.keys and (mask == block.all or len(chosen.keys) >= _MADE):
                blocks.append(chosen.block())
                chosen = Chosen()
            if mask == block.all:
                blocks.append(block)
            else:
                chosen.add(block, mask, number=number)
        if chosen.keys:
            blocks.append(chosen.block())
        return self if len(blocks) == len(self.blocks) and all(map(is_, blocks, self.blocks)) else BlockMap(blocks)

    def located(self, some: Block[V]) -> Iterator[tuple[V, Block[V] | None, int]]:
        """Yield each of some values, and where this map has that very object: the block and the number in it, if any.

        Quick for what `where` has chosen out of this map, or out of the one before a change.
        """
        for key, value, place in zip(some.keys, some.values, some.places or repeat(0), strict=False):
            number, at = divmod(place, STRIDE)
            block = self.blocks[number] if number < len(self.blocks) else None
            if block is not None and at < len(block.keys) and block.values[at] is value:
                yield value, block, at
                continue
            found = self._search(key)
            if found is not None and found[0].values[found[1]] is value:
                yield value, *found
            else:
                yield value, None, 0

    def block_of(self, key: str) -> Block[V]:
        """Return the block that has the key, or would have it; there must be one."""
        return self.blocks[self._block_of(key)]

    def _block_of(self, key: str) -> int:
        return max(0, bisect_right(self._firsts, key) - 1)

    def _search(self, key: str) -> tuple[Block[V], int] | None:
        """Return the block that has the key, and its number there; None if there is no such key."""
        if not self.blocks:
            return None
        block = self.blocks[self._block_of(key)]
        at = bisect_left(block.keys, key)
        return (block, at) if at < len(block.keys) and block.keys[at] == key else None

    def __getitem__(self, key: str) -> V:
        found = self._search(key)
        if found is None:
            raise KeyError(key)
        block, at = found
        return block.values[at]

    def get(self, key: object, default: Any = None) -> Any:
        """Return the key's value, else `default`."""
        found = self._search(key) if isinstance(key, str) else None
        return default if found is None else found[0].values[found[1]]

    def __contains__(self, key: object) -> bool:
        return self.get(key, _ABSENT) is not _ABSENT

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable([block.keys for block in self.blocks])

    def __len__(self) -> int:
        return self._length

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BlockMap):
            return len(self) == len(other) and not changed_keys(self, other)
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"BlockMap({dict(self.items())!r})"

    def items(self) -> ItemsView[str, V]:
        """Return a view of the entries in order."""
        return _Items(self)

    def values(self) -> ValuesView[V]:
        """Return a view of the values in the order of their keys."""
        return _Values(self)


class _Items(ItemsView[str, V]):
    _mapping: BlockMap[V]

    def __iter__(self) -> Iterator[tuple[str, V]]:
        return chain.from_iterable(block.items() for block in self._mapping.blocks)


class _Values(ValuesView[V]):
    _mapping: BlockMap[V]

    def __iter__(self) -> Iterator[V]:
        return chain.from_iterable([block.values for block in self._mapping.blocks])


def changed_keys(before: Mapping[str, V], after: Mapping[str, V]) -> list[str]:
    """Return in order the keys that came, went, or have another value. Blocks that both have are not looked into."""
    return sorted(key for key, was, now in _differences(before, after) if was != now)


def replaced_keys(before: Mapping[str, V], after: Mapping[str, V]) -> set[str]:
    """Return the keys that came, went, or whose value is another object, be it equal."""
    return {key for key, _, _ in _differences(before, after)}


def _differences(before: Mapping[str, V], after: Mapping[str, V]) -> Iterator[tuple[str, V, V]]:
    one, other = BlockMap.of(before), BlockMap.of(after)
    if one is other:
        return
    shared = set(one.blocks).intersection(other.blocks)
    old, new = (_entries(each, shared) for each in (one, other))
    for key, now in new.items():
        if (was := old.pop(key, _ABSENT)) is not now:
            yield key, was, now
    for key, was in old.items():
        yield key, was, _ABSENT


def _entries(entries: BlockMap[V], passed_over: Collection[Block[V]]) -> dict[str, V]:
    return dict(chain.from_iterable(block.items() for block in entries.blocks if block not in passed_over))


def _append(blocks: list[Block[V]], entries: Mapping[str, V], before: Block[V]) -> None:
    """Append what has become of the block `before`: itself if nothing has."""
    keys = sorted(entries)
    values = [entries[key] for key in keys]
    if len(keys) == len(before.keys) and all(map(is_, keys, before.keys)) and all(map(is_, values, before.values)):
        blocks.append(before)
        return
    if len(keys) < _FEW and blocks:
        joined = blocks.pop()
        keys, values = [*joined.keys, *keys], [*joined.values, *values]
    blocks += _cut(keys, values, _MOST)


def _cut(keys: list[str], values: list[V], most: int) -> Iterator[Block[V]]:
    """Yield the entries in blocks of about the same length."""
    count = -(-len(keys) // most)
    for number in range(count):
        start, end = (len(keys) * each // count for each in (number, number + 1))
        yield Block(tuple(keys[start:end]), tuple(values[start:end]))
