"""A table of the record that is encoded when its bytes are asked for, and whose changes are told without them.

To keep the bytes of everything that is served beside what they are made of would double what a tenant takes. What was
read is let go soon, and lies in one piece: memory of many small ones would stay with the process.
"""

from array import array
from collections.abc import Callable, ItemsView, Iterator, Mapping
from typing import Any

from tenantry_generator.blockmap import BlockMap, changed_keys

__all__ = ["Encoded", "Joined", "Loaded", "changed_entries"]


class Encoded(Mapping[str, bytes]):
    """`values`, each through `encode`, which gives equal bytes for equal values."""

    __slots__ = ("_encode", "_values")

    def __init__(self, values: BlockMap[Any], encode: Callable[[Any], bytes]) -> None:
        self._values = values
        self._encode = encode

    def __getitem__(self, key: str) -> bytes:
        return self._encode(self._values[key])

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def items(self) -> ItemsView[str, bytes]:
        """Return a view of the entries in order, each encoded when it is its turn."""
        return _Items(self)

    def changed(self, before: "Encoded") -> list[str] | None:
        """Return the keys whose values may be others than before; None if that can't be told without the bytes."""
        return changed_keys(before._values, self._values) if self._encode is before._encode else None


class _Items(ItemsView[str, bytes]):
    _mapping: Encoded

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        encode = self._mapping._encode
        return ((key, encode(value)) for key, value in self._mapping._values.items())


class Joined(Mapping[str, bytes]):
    """Several tables as one, in which a key stands behind the name of its table and a slash; no name has a slash."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Mapping[str, Encoded]) -> None:
        self._tables = tables

    def __getitem__(self, key: str) -> bytes:
        name, _, own = key.partition("/")
        return self._tables[name][own]

    def __contains__(self, key: object) -> bool:
        name, _, own = str(key).partition("/")
        return name in self._tables and own in self._tables[name]

    def __iter__(self) -> Iterator[str]:
        return (f"{name}/{key}" for name, table in self._tables.items() for key in table)

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    def changed(self, before: "Joined") -> list[str]:
        """Return the keys whose values may be others than before."""
        nothing: Mapping[str, bytes] = {}
        return [
            f"{name}/{key}"
            for name in before._tables.keys() | self._tables.keys()
            for key in changed_entries(before._tables.get(name, nothing), self._tables.get(name, nothing))
        ]


class Loaded(Mapping[str, bytes]):
    """A table as it was read, entry by entry."""

    __slots__ = ("_ends", "_numbers", "_values")

    def __init__(self) -> None:
        self._values = bytearray()
        self._ends = array("Q", [0])
        self._numbers: dict[str, int] = {}

    def __getitem__(self, key: str) -> bytes:
        number = self._numbers[key]
        return bytes(self._values[self._ends[number] : self._ends[number + 1]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, key: str, value: bytes) -> None:
        """Add an entry, in the place of one of the same key."""
        self._numbers[key] = len(self._ends) - 1
        self._values += value
        self._ends.append(len(self._values))


def changed_entries(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> list[str]:
    """Return the keys that came, went, or have other bytes."""
    if isinstance(before, Encoded) and isinstance(now, Encoded) and (found := now.changed(before)) is not None:
        return found
    if isinstance(before, Joined) and isinstance(now, Joined):
        return now.changed(before)
    changed = [key for key, value in now.items() if before.get(key) != value]
    return [*changed, *(key for key in before if key not in now)]
