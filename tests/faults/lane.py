"""Runs the families of one lane one after the other, and notes every result in the journal.

    python -m tests.faults.lane LANE --journal DIRECTORY --version VERSION --directory DIRECTORY FAMILY…

A process of its own, since what follows every write and judges every state takes most of a processor.
"""

import argparse
import asyncio
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tenantry.interpreter import prepare_interpreter
from tests.faults.family import Family
from tests.faults.journal import Journal, Result
from tests.faults.registry import FAMILIES
from tests.faults.runner import DEFECT, SETUP, every, run_cases, run_defect
from tests.faults.stage import Stage
from tests.support.binaries import ensure
from tests.support.progress import Progress

__all__ = ["SAMPLE"]

SAMPLE = 0.0
"""The scale at which each family runs its sample."""


def main() -> None:
    """Run what the arguments name; how it went is in the journal alone."""
    parser = argparse.ArgumentParser(prog="tests.faults.lane")
    parser.add_argument("lane")
    parser.add_argument("families", nargs="+")
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--case")
    options = parser.parse_args()
    families = [family for family in FAMILIES if family.name in options.families]
    prepare_interpreter()
    journal = Journal(options.journal, options.version, options.lane)
    asyncio.run(_run(families, journal, options.directory, scale=options.scale, only=options.case))


async def _run(
    families: Sequence[Family], journal: Journal, directory: Path, *, scale: float, only: str | None
) -> None:
    with Progress() as progress:
        binaries = ensure(progress)
    async with Stage(binaries, directory) as stage:
        for family in families:
            begun = time.monotonic()
            try:
                await _family(stage, family, journal, scale=scale, only=only)
            except Exception:  # whatever it is, it is a failure of this family, and the others are still to run
                journal.add(Result(family.name, SETUP, round(time.monotonic() - begun, 2), traceback.format_exc()))
            print(f"{family.name}: {time.monotonic() - begun:.0f} s", flush=True)


async def _family(stage: Stage, family: Family, journal: Journal, *, scale: float, only: str | None) -> None:
    done = {each.case for each in journal.results() if each.family == family.name}
    async with family.open(stage, None) as trials:
        count = family.sample if scale == SAMPLE else max(1, round(len(trials.names) * scale))
        wanted = every(trials.names, count) if only is None else [only]
        await run_cases(trials, family, [name for name in wanted if name not in done], journal.add)
    if only is None and DEFECT not in done:
        journal.add(await run_defect(stage, family))


if __name__ == "__main__":
    main()
