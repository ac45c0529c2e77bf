"""How a record is written, whatever it is kept in: new chunks first, then the index, then what no index needs.

Killed anywhere in between, it is the old one or the new one. The index is replaced by compare-and-swap, so of two
writers one learns of the other; the chunks of the last two indexes stay, and are deleted only as they were last seen.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol, Self

from tenantry.telemetry import get_logger
from tenantry_generator.errors import RecordConflict, RecordCorrupt, RecordUnavailable
from tenantry_generator.record import Stored
from tenantry_generator.record.chunks import Packed, Tables, chunk_name, pack
from tenantry_generator.record.index import INDEX, Index, decode, encode, unpack
from tenantry_generator.record.tables import changed_entries

__all__ = ["Held", "Objects", "Store"]

log = get_logger(__name__)

_AT_ONCE = 8
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Held:
    """One object: its bytes, and a version that changes with each write."""

    data: bytes
    version: str


class Objects(Protocol):
    """Where the index and the chunks are kept. Every method may raise RecordUnavailable."""

    async def read(self) -> Mapping[str, Held]:
        """Return the index and every chunk there is, by name, all as of one moment."""
        ...

    async def index(self) -> Held | None:
        """Return the index, None when there is none."""
        ...

    async def swap(self, data: bytes, *, over: str | None) -> str | None:
        """Replace the index of the version `over`, or create it (None); return the new version, None if it isn't so."""
        ...

    async def put(self, name: str, data: bytes) -> str:
        """See to it that the chunk is there, with a version that nobody has seen before; return that version."""
        ...

    async def drop(self, name: str, version: str) -> None:
        """Delete the chunk unless it has another version by now."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


class Store:
    """A RecordStore on `objects`. Close it, or use it as a context manager."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._writer = secrets.token_hex(8)
        self._lock = asyncio.Lock()
        self._sweeping: asyncio.Task[None] | None = None
        self._index: Index | None = None
        self._version: str | None = None
        self._ours: set[bytes] = set()
        """Checksums of the index as last seen, and as tried since without a word whether it was written."""
        self._seen: bytes | None = None
        """Checksum of the index as last loaded or written."""
        self._packed: Packed | None = None
        self._known: dict[str, str] = {}
        self._garbage: dict[str, str] = {}
        """Versions by name: the chunks that are surely there, and those to delete."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop deleting what is no longer needed, which the next process then does, and let go of the objects."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeping
        await self._objects.close()

    async def load(self) -> Stored | None:
        """Return what is kept; None: there has never been any. RecordUnavailable, RecordCorrupt."""
        async with self._lock:
            held = dict(await self._objects.read())
            index = held.pop(INDEX, None)
            chunks = {name: chunk.data for name, chunk in held.items()}
            found = await asyncio.to_thread(unpack, None if index is None else index.data, chunks)
            self._known = {name: chunk.version for name, chunk in held.items()}
            self._garbage = {}
            self._index, self._version, self._ours, self._seen = None, None, set(), None
            if index is not None:
                self._see(decode(index.data), index)
            stored, self._packed = found or (None, None)
            return stored

    async def is_current(self) -> bool:
        """Whether what this process last loaded or saved is what is kept now. RecordUnavailable."""
        async with self._lock:
            there = await self._objects.index()
            return there is not None and _checksum(there.data) == self._seen

    def adopt(self, tables: Tables) -> None:
        """Compare the next save with `tables`, if they hold what was loaded."""
        packed = self._packed
        if packed is None or packed.tables.keys() != tables.keys():
            return
        if not any(changed_entries(held, tables[table]) for table, held in packed.tables.items()):
            self._packed = replace(packed, tables=tables)

    async def save(self, stored: Stored) -> None:
        """Keep `stored`, all of it or nothing. RecordUnavailable, RecordConflict."""
        async with self._lock:
            if self._index is not None and stored.revision < self._index.revision:
                kept = self._index.revision
                raise RecordConflict(f"revision {stored.revision} is lower than {kept}, which is kept already")
            for _ in range(_TRIES):
                if await self._save(stored):
                    return
                await self._start_over()
            raise RecordUnavailable(f"{INDEX} is gone each time that it was written; see who deletes it")

    async def _save(self, stored: Stored) -> bool:
        """Return False when everything has to be written anew."""
        before = self._packed
        packed, fresh = await asyncio.to_thread(pack, stored.tables, before)
        record = self._index
        if record is None:
            record = Index(secrets.token_hex(8), self._writer, 0, b"", (), ())
            if not await self._swap(record):
                return False
        await self._put({name: data for name, data in fresh.items() if name not in self._known})
        chunks = tuple(zip(packed.names, packed.sizes, strict=True))
        index = Index(record.id, self._writer, stored.revision, stored.meta, tuple(stored.tables), chunks)
        if not await self._swap(index):
            return False
        self._packed = packed
        self._sweep(packed.present | (before.present if before is not None else frozenset()))
        return True

    async def _swap(self, index: Index) -> bool:
        """Replace the index. False: what is there is not what this process last wrote, but nobody else wrote since."""
        data = encode(index)
        for _ in range(_TRIES):
            self._ours.add(_checksum(data))
            version = await self._objects.swap(data, over=self._version)
            if version is not None:
                self._see(index, Held(data, version))
                return True
            there = await self._objects.index()
            if there is None or _checksum(there.data) not in self._ours:
                self._refuse_other_writers(there)
                self._version = None if there is None else there.version
                return False
            # Only its labels were changed, or a try of ours has arrived whose answer was lost.
            self._version = there.version
        raise RecordUnavailable(f"{INDEX} changes each time before it can be written; see who changes it")

    def _see(self, index: Index, held: Held) -> None:
        self._index, self._version, self._seen = index, held.version, _checksum(held.data)
        self._ours = {self._seen}

    def _refuse_other_writers(self, there: Held | None) -> None:
        """Let pass that our own index is gone, or is an older one of ours out of a backup."""
        if there is None:
            if self._index is not None and self._index.writer == self._writer:
                return
            raise RecordConflict(f"{INDEX} was deleted since it was read; restart to look anew at what there is")
        try:
            writer = decode(there.data).writer
        except RecordCorrupt as error:
            raise RecordConflict(f"{INDEX} was changed by somebody: {error}") from error
        if writer != self._writer:
            raise RecordConflict(f"{INDEX} was written by another process")

    async def _start_over(self) -> None:
        log.warning("the record's index was deleted or replaced; writing the whole record anew", index=INDEX)
        held = await self._objects.read()
        self._packed, self._garbage = None, {}
        self._known = {name: chunk.version for name, chunk in held.items() if chunk_name(chunk.data) == name}

    async def _put(self, chunks: Mapping[str, bytes]) -> None:
        names = list(chunks)
        for start in range(0, len(names), _AT_ONCE):
            batch = names[start : start + _AT_ONCE]
            done = await asyncio.gather(*(self._put_one(name, chunks[name]) for name in batch), return_exceptions=True)
            for error in done:
                if error is not None:
                    raise error

    async def _put_one(self, name: str, data: bytes) -> None:
        self._garbage.pop(name, None)
        self._known[name] = await self._objects.put(name, data)

    def _sweep(self, needed: Collection[str]) -> None:
        """Have what is not needed deleted, behind the caller's back: nobody waits for it, and it may fail."""
        for name in self._known.keys() - needed:
            self._garbage[name] = self._known.pop(name)
        if self._garbage and (self._sweeping is None or self._sweeping.done()):
            self._sweeping = asyncio.create_task(self._drop_garbage(), name="record: deleting old chunks")

    async def _drop_garbage(self) -> None:
        for name in list(self._garbage):
            async with self._lock:
                if name not in self._garbage:
                    continue  # needed again
                try:
                    await self._objects.drop(name, self._garbage[name])
                except RecordUnavailable as error:
                    log.info("deleting an old chunk of the record failed; trying again later", error=str(error))
                    return
                del self._garbage[name]


def _checksum(index: bytes) -> bytes:
    return hashlib.sha256(index).digest()
