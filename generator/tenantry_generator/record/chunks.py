"""Cuts tables into chunks that don't depend on each other, so that a change of one entry rewrites one chunk of many.

An entry's chunk follows from a hash of its table and key, so nothing moves when a neighbour comes or goes. A chunk is
gzipped and named by the SHA-256 of its bytes: it never changes, and its name is its checksum.
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import compress
from operator import is_not

from tenantry_generator.errors import RecordCorrupt

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
_GZIP = 31
"""zlib's name for gzip with the largest window; it writes no time."""


@dataclass(frozen=True, slots=True)
class Packed:
    """`tables` as chunks. By chunk number: its entries, its name ("" without entries) and its length in bytes."""

    tables: Tables
    members: tuple[Mapping[Entry, bytes], ...]
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
        if not changed:
            return Packed(tables, before.members, before.names, before.sizes), {}
        members = _with(before.members, changed)
        touched = {_place(entry, len(members)) for entry in changed}
        if len(members) == _MOST_CHUNKS or not any(_overfull(members[number]) for number in touched):
            return _named(tables, members, touched, before)
    members = _laid_out(tables)
    return _named(tables, members, range(len(members)), None)


def unpack_chunk(name: str, data: bytes) -> dict[Entry, bytes]:
    """Return the entries of the chunk `name`; RecordCorrupt when `data` is not what was written under this name."""
    if chunk_name(data) != name:
        raise RecordCorrupt(f"{name} is not what was written: its content has another checksum than its name")
    raw = zlib.decompress(data, _GZIP)
    start = raw.index(b"\n") + 1
    entries = {}
    for table, key, length in json.loads(raw[:start]):
        entries[table, key] = raw[start : start + length]
        start += length + 1
    return entries


def _changed(before: Tables, now: Tables) -> dict[Entry, bytes | None]:
    """Return the entries that differ with their present value, None for those that are gone."""
    changed: dict[Entry, bytes | None] = {}
    for table in before.keys() | now.keys():
        old, new = before.get(table, {}), now.get(table, {})
        if old is new:
            continue
        # Nearly all values are the very same objects; those that are not may still be equal.
        other = list(compress(new, map(is_not, new.values(), map(old.get, new))))
        changed |= {(table, key): new[key] for key in other if old.get(key) != new[key]}
        came = sum(key not in old for key in other)
        if len(old) + came != len(new):
            changed |= {(table, key): None for key in old.keys() - new.keys()}
    return changed


def _with(
    members: tuple[Mapping[Entry, bytes], ...], changed: Mapping[Entry, bytes | None]
) -> tuple[Mapping[Entry, bytes], ...]:
    result = list(members)
    copies: dict[int, dict[Entry, bytes]] = {}
    for entry, value in changed.items():
        number = _place(entry, len(members))
        if number not in copies:
            result[number] = copies[number] = dict(members[number])
        if value is None:
            del copies[number][entry]
        else:
            copies[number][entry] = value
    return tuple(result)


def _laid_out(tables: Tables) -> tuple[Mapping[Entry, bytes], ...]:
    entries = {(table, key): value for table, rows in tables.items() for key, value in rows.items()}
    volume = sum(map(len, entries.values()))
    count = 1
    while count < _MOST_CHUNKS and (len(entries) > count * _ENTRIES or volume > count * _BYTES):
        count *= 2
    while True:
        members: list[dict[Entry, bytes]] = [{} for _ in range(count)]
        for entry, value in entries.items():
            members[_place(entry, count)][entry] = value
        if count == _MOST_CHUNKS or not any(map(_overfull, members)):
            return tuple(members)
        count *= 2


def _named(
    tables: Tables, members: tuple[Mapping[Entry, bytes], ...], touched: Iterable[int], before: Packed | None
) -> tuple[Packed, dict[str, bytes]]:
    names = [""] * len(members) if before is None else list(before.names)
    sizes = [0] * len(members) if before is None else list(before.sizes)
    fresh = {}
    for number in touched:
        data = _pack_chunk(members[number]) if members[number] else b""
        names[number], sizes[number] = chunk_name(data) if data else "", len(data)
        if data:
            fresh[names[number]] = data
    return Packed(tables, members, tuple(names), tuple(sizes)), fresh


def _pack_chunk(entries: Mapping[Entry, bytes]) -> bytes:
    """Return a line of JSON that lists the entries with their values' lengths, then each value on a line, gzipped."""
    order = sorted(entries)
    head = json.dumps([[*entry, len(entries[entry])] for entry in order], separators=(",", ":")).encode()
    return zlib.compress(b"\n".join([head, *(entries[entry] for entry in order)]), wbits=_GZIP)


def chunk_name(data: bytes) -> str:
    """Return the name of the chunk that consists of `data`."""
    return PREFIX + hashlib.sha256(data).hexdigest()


def _place(entry: Entry, count: int) -> int:
    table, key = entry
    digest = hashlib.blake2b(f"{len(table)} {table}{key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) & (count - 1)


def _overfull(entries: Mapping[Entry, bytes]) -> bool:
    return len(entries) > _MOST_ENTRIES or (len(entries) > 1 and sum(map(len, entries.values())) > _MOST_BYTES)
