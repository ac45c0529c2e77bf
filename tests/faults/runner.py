"""Runs a family: its cases, and its deliberate defect."""

import asyncio
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice

from tests.faults.family import Family, Trials
from tests.faults.journal import Result
from tests.faults.stage import Stage

__all__ = ["DEFECT", "SETUP", "every", "run_cases", "run_defect"]

DEFECT = "defect"
"""The name that the journal has for the case that shows the family's defect."""
SETUP = "set-up"
"""The name that it has for what kept a family from being run to its end."""


def every(names: Sequence[str], count: int) -> list[str]:
    """Return `count` names, evenly spread over all and the same each time; all of them if there are no more."""
    count = min(count, len(names))
    return [names[index * len(names) // count] for index in range(count)]


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
