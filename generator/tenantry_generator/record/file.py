"""Keeps the record in a directory, where there is no cluster: one file for each part, each replaced as a whole.

A lock on the directory itself keeps a second process out, as no compare-and-swap of files could.
"""

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tenantry_generator.errors import RecordConflict, RecordUnavailable
from tenantry_generator.record.chunks import PREFIX
from tenantry_generator.record.index import INDEX
from tenantry_generator.record.store import Held, Store

__all__ = ["file_store"]

T = TypeVar("T")

_UNFINISHED = ".unfinished"


def file_store(directory: Path) -> Store:
    """Return the store in `directory`, which must exist, locked until it is closed.

    RecordConflict: another process has it. RecordUnavailable: it can't be opened.
    """
    with _translated(f"opening the directory {directory}"):
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise RecordConflict(f"another process keeps its record in {directory}; give each its own") from error
        except OSError:
            os.close(handle)
            raise
    return Store(_Files(directory, handle))


class _Files:
    """A part's version is its file's inode, time and length."""

    def __init__(self, directory: Path, handle: int) -> None:
        self._directory = directory
        self._handle = handle
        self._turn = threading.Lock()
        """Held while files are touched: a thread goes on when the task that waits for it is cancelled."""

    async def read(self) -> Mapping[str, Held]:
        return await self._run(self._read)

    async def index(self) -> Held | None:
        return await self._run(lambda: self._held(INDEX))

    async def swap(self, data: bytes, *, over: str | None) -> str | None:
        def work() -> str | None:
            held = self._held(INDEX)
            if (None if held is None else held.version) != over:
                return None
            return self._write(INDEX, data)

        return await self._run(work)

    async def put(self, name: str, data: bytes) -> str:
        return await self._run(lambda: self._write(name, data))

    async def drop(self, name: str, version: str) -> None:
        def work() -> None:
            held = self._held(name)
            if held is not None and held.version == version:
                (self._directory / name).unlink()

        await self._run(work)

    async def close(self) -> None:
        await self._run(lambda: os.close(self._handle))

    async def _run(self, work: Callable[[], T]) -> T:
        def translated() -> T:
            with self._turn, _translated(f"the record in {self._directory}"):
                return work()

        return await asyncio.to_thread(translated)

    def _read(self) -> dict[str, Held]:
        for rest in self._directory.glob(f"{PREFIX}*{_UNFINISHED}"):
            rest.unlink()
        names = [path.name for path in self._directory.glob(f"{PREFIX}*")]
        return {name: held for name in names if (held := self._held(name)) is not None}

    def _held(self, name: str) -> Held | None:
        try:
            with (self._directory / name).open("rb") as file:
                return Held(file.read(), _version(os.fstat(file.fileno())))
        except FileNotFoundError:
            return None

    def _write(self, name: str, data: bytes) -> str:
        """Write the file, whole or not at all, also when the machine loses its power."""
        unfinished = self._directory / f"{name}{_UNFINISHED}"
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            version = _version(os.fstat(file.fileno()))
        unfinished.replace(self._directory / name)
        os.fsync(self._handle)
        return version


def _version(status: os.stat_result) -> str:
    return f"{status.st_ino} {status.st_mtime_ns} {status.st_size}"


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RecordUnavailable(f"{doing}: {error.strerror or error}") from error
