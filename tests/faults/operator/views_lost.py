"""U1 and U2: events that never come. What they would have told is found by the next list, and not later.

Each event of a workload is lost once, each object's events but the last, and each word of an object's end for good;
what is the same in several namespaces of a tenant is lost in all of them. The operator lists everything every two
seconds instead of every ten or fifteen minutes.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial

from tests.faults.family import Broken, Defect, Family, Lane, Trials
from tests.faults.operator.canonical import renamed
from tests.faults.operator.observer import token_in
from tests.faults.operator.pace import RESTLESS
from tests.faults.operator.reference import Reference
from tests.faults.operator.travel import following
from tests.faults.operator.workloads import WORKLOADS
from tests.faults.operator.world import World, opened
from tests.faults.stage import Stage
from tests.support.kube_views import Event, Lossy

__all__ = ["U1", "U2"]

_WITHIN = 20.0
"""Seconds for a whole workload on an operator that many others use as well: some six undisturbed, and two lists."""
_ANY = "*"
"""A namespace of the tenant's, whichever: what is lost of one is lost of all, which are alike."""

Lost = Callable[[str, Event], bool]
"""Whether an event that would be called so is lost."""


class Ears:
    """What the operator hears of each case. An event that two watches bring is one, and so is one that comes again."""

    def __init__(self) -> None:
        self._lost: dict[str, Lost] = {}
        self._names: defaultdict[str, dict[tuple[str, int], str]] = defaultdict(dict)
        self.missed: defaultdict[str, list[str]] = defaultdict(list)

    def lose(self, token: str, lost: Lost) -> None:
        """Begin to count the token's events, and lose some."""
        self._lost[token] = lost

    def forget(self, token: str) -> None:
        """Let everything be heard again."""
        for each in (self._lost, self._names, self.missed):
            each.pop(token, None)

    def is_lost(self, event: Event) -> bool:
        """Whether the event is lost."""
        token = token_in(*event.key)
        if token is None or token not in self._lost:
            return False
        name = renamed(":".join((event.object["kind"], *event.key)), token)
        names = self._names[token]
        seen = [each for each in names if each[0] == name]
        called = names.setdefault((name, event.version), f"{name}:{len(seen) + 1:02d}")
        if not self._lost[token](called, event):
            return False
        self.missed[token].append(f"{called} ({event.type}, revision {event.version})")
        return True


class LostEvents:
    """The cases: WORKLOAD/WHAT is lost."""

    at_once = 6

    def __init__(self, world: World, losses: Mapping[str, Lost], *, within: float) -> None:
        self._world = world
        self._within = within
        self._losses = losses
        self._ears = Ears()
        self.names = list(losses)
        world.proxy.view = Lossy(self._ears.is_lost)

    async def run(self, name: str) -> None:
        """Run the workload on an operator that doesn't hear what the name says, and see it end all the same."""
        world, workload = self._world, WORKLOADS[name.partition("/")[0]]
        hand = await world.prepared(workload)
        world.turn(hand)
        self._ears.lose(hand.token, self._losses[name])
        judge, begun = world.judge(hand, workload), time.monotonic()
        try:
            async with asyncio.timeout(self._within):
                await workload.then(hand)
            await judge.ended(within=max(1.0, self._within - (time.monotonic() - begun)))
        except TimeoutError:
            raise self._deaf(judge.broken, hand.token, f"the workload is not done after {self._within:g} s") from None
        except Broken as error:
            raise self._deaf(Broken, hand.token, str(error)) from None
        finally:
            self._ears.forget(hand.token)
            world.clear(hand)

    def _deaf(self, broken: Callable[..., Broken], token: str, promise: str) -> Broken:
        return broken(promise + "\nwhat the operator did not hear: " + ", ".join(self._ears.missed[token]))


def _alike(called: str) -> str:
    """Return the event, or with its number cut off the object, as one of all those that are alike."""
    kind, namespace, *rest = called.split(":")
    return ":".join([kind, _ANY if namespace.startswith("TENANT") else namespace, *rest])


def _object(called: str) -> str:
    return called.rpartition(":")[0]


def _is_heard(called: str) -> bool:
    return not _object(called).endswith(":theirs")


def _this(wanted: str, called: str, _: Event) -> bool:
    return _alike(called) == wanted


def _but_last(wanted: str, last: Mapping[str, str], called: str, _: Event) -> bool:
    return _alike(_object(called)) == wanted and called < last.get(_object(called), "")


def _end(wanted: str, called: str, event: Event) -> bool:
    return event.type == "DELETED" and _alike(_object(called)) == wanted


def _ends(_: str, event: Event) -> bool:
    return event.type == "DELETED"


def _once(references: Mapping[str, Reference]) -> dict[str, Lost]:
    losses: dict[str, Lost] = {}
    for workload, reference in references.items():
        last: dict[str, str] = {}
        for event in filter(_is_heard, reference.events):
            losses[f"{workload}/{_alike(event)}"] = partial(_this, _alike(event))
            last[_object(event)] = event
        for wanted in {_alike(each): None for each, event in last.items() if not event.endswith(":01")}:
            losses[f"{workload}/{wanted}:all-but-last"] = partial(_but_last, wanted, last)
    return losses


def _for_good(references: Mapping[str, Reference]) -> dict[str, Lost]:
    losses: dict[str, Lost] = {}
    for workload, reference in references.items():
        heard = [event for event, is_gone in reference.events.items() if is_gone and _is_heard(event)]
        gone = {_alike(_object(event)): None for event in heard}
        losses |= {f"{workload}/{wanted}": partial(_end, wanted) for wanted in gone}
        if gone:
            losses[f"{workload}/all"] = _ends
    return losses


@contextlib.asynccontextmanager
async def _open(
    losses: Callable[[Mapping[str, Reference]], dict[str, Lost]], alone: float, stage: Stage, defect: Defect | None
) -> AsyncIterator[Trials]:
    """Open a family; with its defect, a case has an operator to itself and `alone` seconds."""
    async with opened(stage, defect, pace=RESTLESS) as world:
        await following(world)
        yield LostEvents(world, losses(world.references), within=_WITHIN if defect is None else alone)


U1 = Family(
    name="U1",
    title="an event never comes, or of several only the last",
    open=partial(_open, _once, 5.0),
    sample=6,
    defect=Defect(
        text="nothing is listed a second time",
        place="tests.faults.operator.defects_views:lists_once",
        cases=["small/Tenant::TENANT:01"],
    ),
    lane=Lane.INPUTS,
)

U2 = Family(
    name="U2",
    title="the word that an object is gone never comes",
    open=partial(_open, _for_good, 9.0),
    sample=4,
    defect=Defect(
        text="what a list lacks is kept",
        place="tests.faults.operator.defects_views:keeps_what_lists_lack",
        cases=["delete/all"],
    ),
    lane=Lane.INPUTS,
)
