"""The one object that says which chunks are the record. To replace it is to replace the record, so a save is atomic.

It starts with its own checksum. Before the first save it is there without chunks: so chunks without an index are a
record that somebody has damaged, not the beginnings of one, and never count as no record.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenantry_generator.errors import RecordCorrupt
from tenantry_generator.record import Stored
from tenantry_generator.record.chunks import PREFIX, Packed, unpack_chunk
from tenantry_generator.record.tables import Loaded

__all__ = ["INDEX", "Index", "decode", "encode", "unpack"]

INDEX = f"{PREFIX}index"

_FORMAT = 1
_REMEDY = "restore it, or delete every part of the record to begin anew"


@dataclass(frozen=True, slots=True)
class Index:
    """`id` is made with the record; `writer` is the process that wrote this. `tables`: names, also of empty ones.

    `chunks`: name ("" without entries) and length by chunk number; none at all when nothing has been kept yet.
    """

    id: str
    writer: str
    revision: int
    meta: bytes
    tables: tuple[str, ...]
    chunks: tuple[tuple[str, int], ...]


def encode(index: Index) -> bytes:
    """Return the SHA-256 of the next line, and one line of JSON."""
    body = {
        "format": _FORMAT,
        "id": index.id,
        "writer": index.writer,
        "revision": index.revision,
        "meta": index.meta.decode(),
        "tables": index.tables,
        "chunks": index.chunks,
    }
    text = json.dumps(body, separators=(",", ":")).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def decode(data: bytes) -> Index:
    """Return what `encode` was given; RecordCorrupt when `data` is not what it made."""
    checksum, _, text = data.partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != checksum:
        raise RecordCorrupt(f"{INDEX} is not what was written: its checksum does not fit; {_REMEDY}")
    body: dict[str, Any] = json.loads(text)
    if body["format"] != _FORMAT:
        raise RecordCorrupt(f"{INDEX} has the format {body['format']}, this version knows {_FORMAT}; {_REMEDY}")
    return Index(
        id=body["id"],
        writer=body["writer"],
        revision=body["revision"],
        meta=body["meta"].encode(),
        tables=tuple(body["tables"]),
        chunks=tuple((name, size) for name, size in body["chunks"]),
    )


def unpack(data: bytes | None, chunks: Mapping[str, bytes]) -> tuple[Stored, Packed] | None:
    """Return the record out of the index's bytes and those of every chunk there is; None when there has been none.

    RecordCorrupt, naming the part, when it is not whole. Chunks that the index does not name are of no interest.
    """
    if data is None:
        if chunks:
            raise RecordCorrupt(f"{INDEX} is missing, and {len(chunks)} chunks are there without it; {_REMEDY}")
        return None
    index = decode(data)
    if not index.chunks:
        return None
    members = []
    tables = {table: Loaded() for table in index.tables}
    for name, size in index.chunks:
        entries = _members(name, size, chunks)
        members.append(tuple(sorted(entries)))
        for (table, key), value in entries.items():
            tables[table].add(key, value)
    names, sizes = zip(*index.chunks, strict=True)
    packed = Packed(tables, tuple(members), names, sizes)
    return Stored(index.revision, index.meta, tables), packed


def _members(name: str, size: int, chunks: Mapping[str, bytes]) -> Mapping[tuple[str, str], bytes]:
    if not name:
        return {}
    if name not in chunks:
        raise RecordCorrupt(f"{name} is missing; {_REMEDY}")
    if len(chunks[name]) != size:
        raise RecordCorrupt(f"{name} is not what was written: {len(chunks[name])} bytes, not {size}; {_REMEDY}")
    return unpack_chunk(name, chunks[name])
