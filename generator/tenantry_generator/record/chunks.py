"""Cuts tables into chunks that don't depend on each other, so that a change of one entry rewrites one chunk of many.

An entry's chunk follows from a hash of its table and key, so nothing moves when a neighbour comes or goes. A chunk is
gzipped and named by the SHA-256 of its bytes: it never changes, and its name is its checksum.
"""

import hashlib
import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from tenantry_generator.errors import RecordCorrupt
from tenantry_generator.record.tables import changed_entries

__all__ = ["PREFIX", "Packed", "Tables", "chunk_name", "pack", "unpack_chunk"]

PREFIX = "tenantry-record-"

Tables = Mapping[str, Mapping[str, bytes]]
Entry = tuple[str, str]
"""(table, key)"""

_ENTRIES, _BYTES = 200, 128 * 1024
"""What a chunk holds on average at most when chunks are laid out; bytes are counted before gzip."""
_MOST_ENTRIES, _MOST_BYTES = 400, 512 * 1024
"""Beyond that there are more chunks. A ConfigMap holds 1 MiB, so one value alone may be as long as that, gzipped."""
_MOST_CHUNKS = 4096
_SAMPLE = 1000
"""Entries of a table that are looked at to estimate its length."""
_GZIP = 31
"""zlib's name for gzip with the largest window; it writes no time."""


@dataclass(frozen=True, slots=True)
class Packed:
    """`tables` as chunks. By chunk number: its entries in order, its name ("" without any) and its length in bytes."""

    tables: Tables
    members: tuple[tuple[Entry, ...], ...]
    names: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def present(self) -> frozenset[str]:
        """The names of the chunks that there must be."""
        return frozenset(filter(None, self.names))


def pack(tables: Tables, before: Packed | None = None) -> tuple[Packed, dict[str, bytes]]:
    """Return `tables` in chunks, and the bytes by name of those chunks that `before` didn't have."""
    if before is not None:
        changed = _changed(before.tables, tables)
        members = _with(before.members, tables, changed)
        packed = _named(tables, members, {_place(entry, len(members)) for entry in changed}, before)
        if packed is not None:
            return packed
    count = _chunks_for(tables)
    while True:
        laid_out: list[list[Entry]] = [[] for _ in range(count)]
        for entry in _entries(tables):
            laid_out[_place(entry, count)].append(entry)
        members = tuple(tuple(sorted(each)) for each in laid_out)
        packed = _named(tables, members, range(count), None)
        if packed is not None:
            return packed
        count *= 2


def unpack_chunk(name: str, data: bytes) -> dict[Entry, bytes]:
    """Return the entries of the chunk `name`; RecordCorrupt when `data` is not what was written under this name."""
    if chunk_name(data) != name:
        raise RecordCorrupt(f"{name} is not what was written: its content has another checksum than its name")
    raw = zlib.decompress(data, _GZIP)
    start = raw.index(b"\n") + 1
    entries = {}
    for table, key, length in json.loads(raw[:start]):
        entries[sys.intern(table), key] = raw[start : start + length]
        start += length + 1
    return entries


def _changed(before: Tables, now: Tables) -> list[Entry]:
    return [
        (table, key)
        for table in before.keys() | now.keys()
        for key in changed_entries(before.get(table, {}), now.get(table, {}))
    ]


def _with(
    members: tuple[tuple[Entry, ...], ...], tables: Tables, changed: Iterable[Entry]
) -> tuple[tuple[Entry, ...], ...]:
    """Return the members of each chunk with those of `changed` that `tables` have, and without the others."""
    touched: dict[int, set[Entry]] = {}
    for entry in changed:
        table, key = entry
        number = _place(entry, len(members))
        if number not in touched:
            touched[number] = set(members[number])
        if key in tables.get(table, {}):
            touched[number].add(entry)
        else:
            touched[number].discard(entry)
    return tuple(tuple(sorted(touched[at])) if at in touched else held for at, held in enumerate(members))


def _entries(tables: Tables) -> Iterator[Entry]:
    return ((table, key) for table, rows in tables.items() for key in rows)


def _chunks_for(tables: Tables) -> int:
    entries = sum(map(len, tables.values()))
    volume = sum(map(_volume, tables.values()))
    count = 1
    while count < _MOST_CHUNKS and (entries > count * _ENTRIES or volume > count * _BYTES):
        count *= 2
    return count


def _volume(rows: Mapping[str, bytes]) -> int:
    """Return about how many bytes the values have. If it is too little, a chunk is overfull and there will be more."""
    step = max(1, len(rows) // _SAMPLE)
    return step * sum(len(rows[key]) for key in islice(rows, 0, None, step))


def _named(
    tables: Tables, members: tuple[tuple[Entry, ...], ...], touched: Iterable[int], before: Packed | None
) -> tuple[Packed, dict[str, bytes]] | None:
    """Return what `pack` returns, with the chunks that are not `touched` as before; None when one holds too much."""
    names = [""] * len(members) if before is None else list(before.names)
    sizes = [0] * len(members) if before is None else list(before.sizes)
    fresh = {}
    for number in touched:
        entries = {(table, key): tables[table][key] for table, key in members[number]}
        if len(members) < _MOST_CHUNKS and _overfull(entries):
            return None
        data = _pack_chunk(entries) if entries else b""
        names[number], sizes[number] = chunk_name(data) if data else "", len(data)
        if data:
            fresh[names[number]] = data
    return (Packed(tables, members, tuple(names), tuple(sizes)), fresh)


def _pack_chunk(entries: Mapping[Entry, bytes]) -> bytes:
    """Return a line of JSON that lists the entries, in order, with their values' lengths, then each value on a line,
    gzipped.
    """
    head = json.dumps([[*entry, len(value)] for entry, value in entries.items()], separators=(",", ":")).encode()
    return zlib.compress(b"\n".join([head, *entries.values()]), wbits=_GZIP)


def chunk_name(data: bytes) -> str:
    """Return the name of the chunk that consists of `data`."""
    return PREFIX + hashlib.sha256(data).hexdigest()


def _place(entry: Entry, count: int) -> int:
    table, key = entry
    digest = hashlib.blake2b(f"{len(table)} {table}{key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) & (count - 1)


def _overfull(entries: Mapping[Entry, bytes]) -> bool:
    return len(entries) > _MOST_ENTRIES or (len(entries) > 1 and sum(map(len, entries.values())) > _MOST_BYTES)
