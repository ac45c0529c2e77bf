"""What a family of fault cases is: a kind of fault, its cases, and a deliberate defect that one of them must catch.

After Sieve, Acto and Anvil: the faults are enumerated or drawn from seeds, each case is replayed by its name, and every
state on the way is judged, not only the last.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from tests.faults.stage import Stage

__all__ = ["Broken", "Defect", "Family", "Lane", "Trials"]


class Broken(AssertionError):
    """A promise was broken; the text says which, in which state, and what led there."""


class Lane(Enum):
    """What runs beside one another, each lane on parts of its own: most of what a case does is wait.

    The operator's families are two lanes: what becomes of its writes, and what it is told or shown.
    """

    OPERATOR = "operator"
    INPUTS = "inputs"
    GENERATOR = "generator"
    VIRTUAL = "virtual"


class Trials(Protocol):
    """The cases of one family, on parts that have been started for them."""

    @property
    def names(self) -> Sequence[str]:
        """Every case there is, in an order that is the same each time; a name is all that replays a case."""

    @property
    def at_once(self) -> int:
        """How many cases may run at the same time."""

    async def run(self, name: str) -> None:
        """Run one case, whatever ran before it; Broken or another AssertionError if it fails."""


@dataclass(frozen=True, slots=True)
class Defect:
    """A mistake that is put into our code to see that the family's cases find it.

    `place` is `module:function` of a function without arguments that patches the code, in this process or in that of a
    service (mutant.py). `cases` are names that show it; without any, the first `tries` cases are tried.
    """

    text: str
    place: str
    cases: Sequence[str] = ()
    tries: int = 20


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of fault.

    `open(stage, defect)` starts what the cases need and stops it again; with a defect, our code has that mistake.
    `sample` cases, evenly spread over all, run in `make test`. `drawn`: the cases are random, so that their number
    bounds how likely a failure is; enumerated ones are all that there are.
    Families of one lane run one after the other, on the same parts.
    """

    name: str
    title: str
    open: "Callable[[Stage, Defect | None], AbstractAsyncContextManager[Trials]]"
    sample: int
    defect: Defect
    drawn: bool = False
    lane: Lane = Lane.OPERATOR
