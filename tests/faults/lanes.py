"""Runs families in lanes beside one another, each lane in a process of its own."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.faults.family import Family, Lane
from tests.faults.journal import Journal, Result
from tests.support.processes import Ended, Process

__all__ = ["run_lanes"]

_ROOT = Path(__file__).parents[2]
_PAUSE = 0.2
_RARE_COLLECTIONS = {"GOGC": "400"}
"""For the Go programs that a lane starts: there is memory enough, and no processor too many."""


async def run_lanes(
    families: Sequence[Family],
    journal: Journal,
    arguments: Sequence[str],
    directory: Path,
    ended: Callable[[Result], None],
) -> None:
    """Run families with the arguments of lane.py, and tell `ended` each result as it comes to be in the journal.

    Logs are in `directory`. Ended: a lane has failed as a whole; the others are ended then, too.
    """
    with ExitStack() as stack:
        processes = [
            stack.enter_context(_start(lane, names, journal, arguments, directory))
            for lane in Lane
            if (names := [family.name for family in families if family.lane is lane])
        ]
        while True:
            codes = [process.exit_code for process in processes]
            for result in journal.news():
                ended(result)
            for process, code in zip(processes, codes, strict=True):
                if code:
                    raise Ended(f"the lane {process.name} ended with {code}; its log ends with\n{process.log_tail()}")
            if None not in codes:
                return
            await asyncio.sleep(_PAUSE)


def _start(lane: Lane, names: Sequence[str], journal: Journal, arguments: Sequence[str], directory: Path) -> Process:
    logs = directory / lane.value
    logs.mkdir()
    where: list[str | Path] = ["--journal", journal.directory, "--version", journal.version, "--directory", logs]
    command = [sys.executable, "-m", "tests.faults.lane", lane.value, *names, *where, *arguments]
    env = {**os.environ, **_RARE_COLLECTIONS}
    return Process(lane.value, command, log=directory / f"{lane.value}.log", env=env, cwd=_ROOT)
