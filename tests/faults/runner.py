"""Runs families: lanes beside one another, in each family its cases, and its deliberate defect."""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path

from tests.faults.family import Family, Lane, Trials
from tests.faults.journal import Result
from tests.faults.stage import Stage
from tests.support.binaries import Binaries

__all__ = ["DEFECT", "every", "run_cases", "run_defect", "run_lanes"]

DEFECT = "defect"
"""The name that the journal has for the case that shows the family's defect."""


def every(names: Sequence[str], count: int) -> list[str]:
    """Return `count` names, evenly spread over all and the same each time; all of them if there are no more."""
    count = min(count, len(names))
    return [names[index * len(names) // count] for index in range(count)]


async def run_lanes(
    binaries: Binaries, directory: Path, families: Sequence[Family], run: Callable[[Stage, Family], Awaitable[None]]
) -> None:
    """Have `run` run each family, with the stage of its lane, whose logs are in `directory`."""

    async def follow(lane: Lane) -> None:
        logs = directory / lane.value
        logs.mkdir()
        async with Stage(binaries, logs) as stage:
            for family in families:
                if family.lane is lane:
                    await run(stage, family)

    async with asyncio.TaskGroup() as lanes:
        for lane in Lane:
            lanes.create_task(follow(lane))


async def run_cases(trials: Trials, family: Family, names: Collection[str], ended: Callable[[Result], None]) -> None:
    """Run cases, as many at once as the family allows, and tell `ended` how each did."""
    waiting = iter(names)
    async with asyncio.TaskGroup() as group:
        for _ in range(min(trials.at_once, len(names))):
            group.create_task(_run_from(waiting, trials, family, ended))


async def run_defect(stage: Stage, family: Family) -> Result:
    """Run cases on code with the family's defect until one fails; the result is a failure if none does."""
    begun = time.monotonic()
    async with family.open(stage, family.defect) as trials:
        names = list(family.defect.cases) or list(islice(trials.names, family.defect.tries))
        for name in names:
            try:
                await trials.run(name)
            except AssertionError:
                return Result(family.name, DEFECT, round(time.monotonic() - begun, 2))
    text = f"nobody noticed in {len(names)} cases that {family.defect.text}"
    return Result(family.name, DEFECT, round(time.monotonic() - begun, 2), text)


async def _run_from(waiting: Iterator[str], trials: Trials, family: Family, ended: Callable[[Result], None]) -> None:
    for name in waiting:
        begun = time.monotonic()
        failure = None
        try:
            await trials.run(name)
        except AssertionError as error:
            failure = str(error) or repr(error)
        except Exception:  # whatever a case comes to is its result, and the others are still to run
            failure = traceback.format_exc()
        ended(Result(family.name, name, round(time.monotonic() - begun, 2), failure))
