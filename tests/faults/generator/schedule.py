"""Schedules of disasters, drawn at random: what hits the table, the process and the way there, and how it ends."""

import random
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Disaster", "End", "Episode", "Event", "Kind", "Schedule", "draw_schedule"]

_FEWEST, _MOST = 10, 20
_MOST_EPISODES = 2


class Kind(StrEnum):
    """How the ApplicationSet asks."""

    PLAIN = "plain"
    INPUT = "status as input"
    SELECTOR = "status by its own selector"


class Disaster(StrEnum):
    """What becomes of the table, or of the way to it."""

    NONE = "nothing"
    EMPTIED = "the table is emptied"
    MANY = "many rows are deleted"
    STATUS = "many change their status"
    RENAMED = "the table is renamed"
    REPLACED = "the table is replaced by an empty one"
    REFUSED = "Postgres refuses connections"
    SILENT = "Postgres is silent"


class Event(StrEnum):
    """What becomes of the generator's process."""

    NONE = "nothing"
    RESTART = "restarted"
    KILL = "killed"
    FORGET = "killed, and its record lost"


class End(StrEnum):
    """How an episode ends."""

    HEAL = "healed"
    ACKNOWLEDGE = "acknowledged"


@dataclass(frozen=True, slots=True)
class Episode:
    """One stretch of trouble. `front` is the fault of a proxy on the way. `newcomer`: somebody signs up meanwhile."""

    disaster: Disaster
    event: Event
    front: str | None
    end: End
    newcomer: bool

    def __str__(self) -> str:
        return f"{self.disaster}; the generator: {self.event}; the proxy: {self.front or 'nothing'}; {self.end}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """`size` tenants, and what they live through. `leaves`: whether one signs off before each episode."""

    kind: Kind
    size: int
    episodes: tuple[Episode, ...]
    leaves: tuple[bool, ...]


def draw_schedule(chance: random.Random, fronts: tuple[str, ...]) -> Schedule:
    """Return a schedule."""
    kind = chance.choice(list(Kind))
    episodes = tuple(_episode(chance, kind, fronts) for _ in range(chance.randint(1, _MOST_EPISODES)))
    leaves = tuple(chance.random() < 0.3 for _ in episodes)
    return Schedule(kind, chance.randint(_FEWEST, _MOST), episodes, leaves)


def _episode(chance: random.Random, kind: Kind, fronts: tuple[str, ...]) -> Episode:
    disasters = [each for each in Disaster if each is not Disaster.STATUS or kind is not Kind.PLAIN]
    disaster = chance.choice(disasters)
    event = chance.choice([Event.NONE, Event.NONE, Event.NONE, Event.RESTART, Event.KILL, Event.FORGET])
    front = chance.choice([None, None, None, chance.choice(fronts)])
    if disaster is Disaster.NONE and event is Event.NONE and front is None:
        front = chance.choice(fronts)
    may_end = disaster in (Disaster.MANY, Disaster.STATUS) and event is not Event.FORGET
    end = End.ACKNOWLEDGE if may_end and chance.random() < 0.5 else End.HEAL
    followed = disaster in (Disaster.NONE, Disaster.EMPTIED, Disaster.MANY, Disaster.STATUS)
    newcomer = followed and event is not Event.FORGET and chance.random() < 0.4
    return Episode(disaster, event, front, end, newcomer)
