"""The table of a run: what was tried, what failed, how long the worst took, and what the number of trials says."""

from collections.abc import Iterable, Sequence

from tests.faults.family import Family
from tests.faults.journal import Result
from tests.faults.runner import DEFECT

__all__ = ["failures", "table"]

_HEAD = ("family", "faults", "cases", "passed", "worst", "95 % bound", "deliberate defect")


def table(families: Sequence[Family], results: Iterable[Result]) -> str:
    """Return a Markdown table, one line a family.

    The bound is that of N random cases without a failure: one fails with a probability under 3/N (the rule of three).
    """
    results = list(results)
    rows = [_row(family, [each for each in results if each.family == family.name]) for family in families]
    lines = [" | ".join(row) for row in (_HEAD, ("---",) * len(_HEAD), *rows)]
    return "\n".join(f"| {line} |" for line in lines)


def failures(results: Iterable[Result]) -> list[str]:
    """Return a paragraph for each case that failed, with how to run it again."""
    return [
        f"{each.family} {each.case} failed after {each.seconds} s; again: "
        f"make faults ARGS='{each.family} --case {each.case}'\n"
        f"{each.failure}"
        for each in results
        if each.failure is not None
    ]


def _row(family: Family, results: Sequence[Result]) -> tuple[str, ...]:
    cases = [each for each in results if each.case != DEFECT]
    passed = sum(each.failure is None for each in cases)
    worst = max((each.seconds for each in cases), default=0.0)
    bound = "" if not family.drawn else f"{3 / passed:.2g}" if passed and passed == len(cases) else "none"
    shown = {each.failure is None for each in results if each.case == DEFECT}
    defect = "not tried" if not shown else "caught" if shown == {True} else "NOT CAUGHT"
    columns = (f"{len(cases):,}", f"{passed:,}", f"{worst:.1f} s", bound, f"{defect}: {family.defect.text}")
    return (family.name, family.title, *columns)
