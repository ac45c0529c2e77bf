"""Stories played to their end on one operator, and every revision on the way: where a time traveller may be put."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.faults.operator.canonical import State, canonical, differences
from tests.faults.operator.hand import Hand
from tests.faults.operator.stories import Script, Story
from tests.faults.operator.world import World
from tests.support.eventually import eventually

__all__ = ["Trace", "played"]

_QUIET = 1.5
_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Trace:
    """Stories that have been played, each by its name; `begun` on the monotonic clock.

    `revisions` are those at which something of the story's changed, `ends` how it ended.
    """

    begun: float
    hands: Mapping[str, Hand]
    revisions: Mapping[str, Sequence[int]]
    ends: Mapping[str, State]

    def off(self) -> tuple[Hand, list[str]] | None:
        """Return the hand of a story that is not as it ended, and the differences; None if all are."""
        for name, hand in self.hands.items():
            if lines := differences(self.ends[name], canonical(hand.objects, hand.token)):
                return hand, lines
        return None


async def played(world: World, stories: Sequence[Story]) -> Trace:
    """Play all the stories at once, on an operator that sees the present."""
    begun = time.monotonic()
    hands = {story.name: world.hand() for story in stories}
    await _play({hands[story.name]: story.awake for story in stories})
    if asleep := {hands[story.name]: story.asleep for story in stories if story.asleep is not None}:
        await world.kill()
        await _play(asleep)
        await world.operator.start()
        await _play({hands[story.name]: story.after for story in stories if story.after is not None})
    await _quiet(world, hands)
    return Trace(
        begun=begun,
        hands=hands,
        revisions={name: _revisions(world, hand) for name, hand in hands.items()},
        ends={name: canonical(hand.objects, hand.token) for name, hand in hands.items()},
    )


async def _play(scripts: Mapping[Hand, Script]) -> None:
    await asyncio.gather(*(script(hand) for hand, script in scripts.items()))


async def _quiet(world: World, hands: Mapping[str, Hand]) -> None:
    seen = -1, time.monotonic()

    def quiet() -> bool:
        nonlocal seen
        count = sum(len(world.observer.history[hand.token]) for hand in hands.values())
        if count != seen[0]:
            seen = count, time.monotonic()
        return time.monotonic() - seen[1] > _QUIET

    await eventually(quiet, within=_WITHIN, what="nothing more happens in any story")


def _revisions(world: World, hand: Hand) -> Sequence[int]:
    return sorted({int(each.body["metadata"]["resourceVersion"]) for each in world.observer.history[hand.token]})
