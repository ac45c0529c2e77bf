"""`make faults`: every family of fault cases on real parts, resumed where an earlier run was ended, and one table."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.journal import Journal, Result, code_version
from tests.faults.lanes import run_lanes
from tests.faults.registry import FAMILIES
from tests.faults.report import failures, table
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
    anew = options.afresh or options.case is not None
    journal = Journal(_JOURNALS, f"{code_version(_ROOT)}-{time.time_ns()}" if anew else code_version(_ROOT))
    arguments = ["--scale", str(options.scale), *(["--case", options.case] if options.case else [])]
    with Progress() as progress:
        ensure(progress)
    with tempfile.TemporaryDirectory(prefix="tenantry-faults-") as directory:
        asyncio.run(run_lanes(families, journal, arguments, Path(directory), _tell))
    results = [each for each in journal.results() if each.family in {family.name for family in families}]
    print(table(families, results))
    failed = failures(results)
    print("\n\n".join(failed), file=sys.stderr)
    sys.exit(1 if failed else 0)


def _tell(result: Result) -> None:
    how = "FAILED" if result.failure else "passed"
    print(f"{time.strftime('%H:%M:%S')} {result.family} {result.case}: {result.seconds:.1f} s, {how}", flush=True)


if __name__ == "__main__":
    main()
