"""Runs a family's cases in processes of their own: virtual time takes the whole event loop, and there are two cores.

A process is started when a case finds none idle, and so is one whose code has the family's deliberate defect.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from tests.faults.family import Broken, Defect, Trials
from tests.faults.stage import Stage

__all__ = ["in_processes"]

_ROOT = Path(__file__).parents[3]
_LONGEST = 8 * 1024 * 1024
"""Bytes of a failure's text."""


def in_processes(
    module: str, names: Sequence[str], *, at_once: int
) -> Callable[[Stage, Defect | None], AbstractAsyncContextManager[Trials]]:
    """Return a family's `open`, for the cases that the module's `run(name)` runs."""

    @asynccontextmanager
    async def opened(stage: Stage, defect: Defect | None) -> AsyncIterator[Trials]:
        cases = _Cases(module, names, at_once, None if defect is None else defect.place)
        try:
            yield cases
        finally:
            await cases.close()

    return opened


class _Cases:
    def __init__(self, module: str, names: Sequence[str], at_once: int, place: str | None) -> None:
        self.names = names
        self.at_once = at_once
        self._command = ["-m", "tests.faults.virtual.worker", module, *([] if place is None else [place])]
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: list[asyncio.subprocess.Process] = []

    async def run(self, name: str) -> None:
        process = self._idle.pop() if self._idle else await self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(name).encode() + b"\n")
        line = await process.stdout.readline()
        if not line:
            raise Broken(f"the process that ran it ended with {await process.wait()}")
        self._idle.append(process)
        if (failure := json.loads(line)) is not None:
            raise Broken(failure)

    async def close(self) -> None:
        """End the processes."""
        for process in self._all:
            if process.stdin is not None:
                process.stdin.close()
            await process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._command,
            cwd=_ROOT,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST,
        )
        self._all.append(process)
        return process
