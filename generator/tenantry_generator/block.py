"""Some entries of a BlockMap that follow each other, indexed by what requests look for, and picked out of them."""

from array import array
from collections.abc import Iterator, Mapping
from itertools import compress
from typing import Generic, Protocol, TypeVar

__all__ = ["STRIDE", "Block", "Chosen", "Mask", "Trait"]

V = TypeVar("V")
V_contra = TypeVar("V_contra", contravariant=True)

Mask = int
"""A set of a block's entries: a bit for each, that of the first entry lowest."""
_INDEXES = 16
"""Of so many traits at most a block is indexed: they come with requests, and each may take as much room as the rows."""
_SPARSE = 16
"""Entries up to which it is quicker to pick each than to go through the block."""
_BITS = bytes.maketrans(b"01", b"\0\1")
STRIDE = 1024
"""More entries than a block may have."""


class Trait(Protocol[V_contra]):
    """Something that entries are looked for by. Equal traits give equal texts."""

    def __hash__(self) -> int: ...

    def of(self, key: str, value: V_contra) -> str | None:
        """Return the text that an entry has, None if it has none."""
        ...


class Block(Generic[V]):
    """Some entries that follow each other. Equal to itself alone, so that what follows from it can be kept by it.

    `places`: of entries that were chosen out of a map, where each was in it: its block's number times STRIDE, and its
    own number in that.
    """

    __slots__ = ("_indexes", "all", "keys", "places", "values")

    def __init__(self, keys: tuple[str, ...], values: tuple[V, ...], places: "array[int] | None" = None) -> None:
        self.keys = keys
        self.values = values
        self.places = places
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


class Chosen(Generic[V]):
    """Collects entries of several blocks, which become one."""

    __slots__ = ("keys", "places", "values")

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.values: list[V] = []
        self.places: list[int] = []

    def add(self, block: Block[V], mask: Mask, *, number: int) -> None:
        """Add these entries of the block of that number in its map."""
        keys, values, first = block.keys, block.values, number * STRIDE
        entries = _entries(mask)
        self.keys += [keys[at] for at in entries]
        self.values += [values[at] for at in entries]
        self.places += [first + at for at in entries]

    def block(self) -> Block[V]:
        """Return what was added, at least one entry, as a block."""
        return Block(tuple(self.keys), tuple(self.values), array("I", self.places))


def _entries(mask: Mask) -> list[int]:
    """Return the numbers of a mask's entries in order."""
    if mask.bit_count() > _SPARSE:
        bits = bin(mask)[:1:-1].encode().translate(_BITS)
        return list(compress(range(len(bits)), bits))
    found = []
    while mask:
        lowest = mask & -mask
        found.append(lowest.bit_length() - 1)
        mask ^= lowest
    return found
