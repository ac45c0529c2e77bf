"""`make faults`: every family of fault cases on real parts, resumed where an earlier run was ended, and one table."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.family import Family
from tests.faults.journal import Journal, Result, code_version
from tests.faults.registry import FAMILIES
from tests.faults.report import failures, table
from tests.faults.runner import DEFECT, every, run_cases, run_defect, run_lanes
from tests.faults.stage import Stage
from tests.support.binaries import ensure
from tests.support.progress import Progress

_ROOT = Path(__file__).parents[2]
_JOURNALS = _ROOT / ".faults"


def main() -> None:
    """Run what the arguments name; exit with 1 if a case failed or a defect was not caught."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="as C1; without any: all")
    parser.add_argument("--scale", type=float, default=1.0, help="the share of the cases that runs")
    parser.add_argument("--case", help="one case of one family, again")
    parser.add_argument("--afresh", action="store_true", help="run what an earlier run has done already, too")
    options = parser.parse_args()
    known = {family.name: family for family in FAMILIES}
    unknown = sorted(set(options.families) - known.keys())
    if unknown or (options.case and len(options.families) != 1):
        parser.error(f"no such family: {', '.join(unknown)}" if unknown else "--case needs its one family")
    families = [known[name] for name in options.families] or list(FAMILIES)
    journal = Journal(_JOURNALS, f"{code_version(_ROOT)}-{time.time_ns()}" if options.afresh else code_version(_ROOT))
    results = asyncio.run(_run(families, journal, scale=options.scale, only=options.case))
    print(table(families, results))
    failed = failures(results)
    print("\n\n".join(failed), file=sys.stderr)
    sys.exit(1 if failed else 0)


async def _run(families: Sequence[Family], journal: Journal, *, scale: float, only: str | None) -> list[Result]:
    with Progress() as progress:
        binaries = ensure(progress)
    ran: list[Result] = []

    def ended(result: Result) -> None:
        ran.append(result)
        journal.add(result)
        print(f"{time.strftime('%H:%M:%S')} {_line(result)}", flush=True)

    async def run(stage: Stage, family: Family) -> None:
        begun = time.monotonic()
        noted = [] if only is not None else [each for each in journal.results() if each.family == family.name]
        done = {each.case: each for each in noted}
        async with family.open(stage, None) as trials:
            wanted = [only] if only is not None else every(trials.names, max(1, round(len(trials.names) * scale)))
            ran.extend(done[name] for name in (*wanted, DEFECT) if name in done)
            await run_cases(trials, family, [name for name in wanted if name not in done], ended)
        if only is None and DEFECT not in done:
            ended(await run_defect(stage, family))
        print(f"{time.strftime('%H:%M:%S')} {family.name}: {time.monotonic() - begun:.0f} s", flush=True)

    with tempfile.TemporaryDirectory(prefix="tenantry-faults-") as directory:
        await run_lanes(binaries, Path(directory), families, run)
    return ran


def _line(result: Result) -> str:
    return f"{result.family} {result.case}: {result.seconds:.1f} s, {'FAILED' if result.failure else 'passed'}"


if __name__ == "__main__":
    main()
