"""A sorted map that never changes: what is made of it by a change shares every block that the change does not touch.

Everything of which there is one for each tenant is such a map, so that one tenant among a hundred thousand costs a
block and not all: whoever compares two of them passes over the blocks that both have (docs/adr/0022).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, ItemsView, Iterable, Iterator, Mapping, ValuesView
from itertools import chain, compress
from operator import is_
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Block", "BlockMap", "Mask", "Trait", "changed_keys", "replaced_keys"]

V = TypeVar("V")
V_contra = TypeVar("V_contra", contravariant=True)
T = TypeVar("T")

_MADE, _MOST, _FEW = 256, 512, 64
"""Entries of a block: when a map is made, at most, and so few that it is joined to the one before it."""

Mask = int
"""A set of a block's entries: a bit for each, that of the first entry lowest."""
_INDEXES = 16
"""Of so many traits at most a block is indexed: they come with requests, and each may take as much room as the rows."""
_SPARSE = 16
"""Entries up to which it is quicker to pick each than to go through the block."""
_BITS = bytes.maketrans(b"01", b"\0\1")
_ABSENT: Any = object()


class Trait(Protocol[V_contra]):
    """Something that entries are looked for by. Equal traits give equal texts."""

    def __hash__(self) -> int: ...

    def of(self, key: str, value: V_contra) -> str | None:
        """Return the text that an entry has, None if it has none."""
        ...


class Block(Generic[V]):
    """Some entries that follow each other. Equal to itself alone, so that what follows from it can be kept by it."""

    __slots__ = ("_indexes", "all", "keys", "values")

    def __init__(self, keys: tuple[str, ...], values: tuple[V, ...]) -> None:
        self.keys = keys
        self.values = values
        self.all: Mask = (1 << len(keys)) - 1
        self._indexes: dict[Trait[V], Mapping[str | None, Mask]] = {}

    def items(self) -> Iterator[tuple[str, V]]:
        """Return the entries in order."""
        return zip(self.keys, self.values, strict=True)

    def equals(self, other: "Block[V]") -> bool:
        """Whether the entries are equal."""
        return self.keys == other.keys and self.values == other.values

    def index(self, trait: Trait[V]) -> Mapping[str | None, Mask]:
        """Return by its text which entries have it. It is made when it is first asked for."""
        if (found := self._indexes.get(trait)) is not None:
            return found
        made: dict[str | None, Mask] = {}
        bit = 1
        for key, value in self.items():
            text = trait.of(key, value)
            made[text] = made.get(text, 0) | bit
            bit <<= 1
        if len(self._indexes) >= _INDEXES:
            del self._indexes[next(iter(self._indexes))]
        self._indexes[trait] = made
        return made

    def index_like(self, before: "Block[V]") -> None:
        """Make the indexes that were asked of another block, before anybody waits for them."""
        for trait in list(before._indexes):
            self.index(trait)

    def only(self, mask: Mask) -> Iterator[tuple[str, V]]:
        """Return these entries in order."""
        if mask.bit_count() <= _SPARSE:
            return ((self.keys[at], self.values[at]) for at in _places(mask))
        bits = bin(mask)[:1:-1].encode().translate(_BITS)
        return compress(self.items(), bits)


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
        some: list[tuple[str, V]] = []
        for block in self.blocks:
            mask = accepted(block)
            if some and (mask == block.all or len(some) >= _MADE):
                blocks.append(_joined(some))
                some = []
            if mask == block.all:
                blocks.append(block)
            elif mask:
                some += block.only(mask)
        if some:
            blocks.append(_joined(some))
        return self if len(blocks) == len(self.blocks) and all(map(is_, blocks, self.blocks)) else BlockMap(blocks)

    def block_of(self, key: str) -> Block[V]:
        """Return the block that has the key, or would have it; there must be one."""
        return self.blocks[self._block_of(key)]

    def _block_of(self, key: str) -> int:
        return max(0, bisect_right(self._firsts, key) - 1)

    def __getitem__(self, key: str) -> V:
        found: V = self.get(key, _ABSENT)
        if found is _ABSENT:
            raise KeyError(key)
        return found

    def get(self, key: object, default: Any = None) -> Any:
        """Return the key's value, else `default`."""
        if not self.blocks or not isinstance(key, str):
            return default
        block = self.blocks[self._block_of(key)]
        at = bisect_left(block.keys, key)
        return block.values[at] if at < len(block.keys) and block.keys[at] == key else default

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


def _places(mask: Mask) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


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


def _joined(entries: Iterable[tuple[str, V]]) -> Block[V]:
    keys, values = zip(*entries, strict=True)
    return Block(keys, values)


def _cut(keys: list[str], values: list[V], most: int) -> Iterator[Block[V]]:
    """Yield the entries in blocks of about the same length."""
    count = -(-len(keys) // most)
    for number in range(count):
        start, end = (len(keys) * each // count for each in (number, number + 1))
        yield Block(tuple(keys[start:end]), tuple(values[start:end]))
