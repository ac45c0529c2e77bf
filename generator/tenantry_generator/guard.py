"""Keeps many from leaving a set at once, whatever the reason. A set is a source's tenants or what one view shows.

Argo CD deletes the Applications of whatever an answer no longer has. A TRUNCATE, a restored backup, a mass change of
status or a wrong database all look like many leaving together; those that really leave do so one by one. So departures
beyond a limit are held, those of one read together, until they return or somebody acknowledges exactly that hold.

Pure, and its state outlives the process: times are Unix seconds, given as arguments. A clock that was set back makes
departures count for longer, never for less.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

__all__ = ["ALWAYS_ALLOWED", "SHARE", "SHARE_OF_ALL", "WINDOW", "Hold", "Ledger", "Room", "Verdict", "held_by", "judge"]

WINDOW = 30 * 60.0
"""Seconds over which departures add up."""
ALWAYS_ALLOWED = 2
SHARE = 10
"""One element in so many may leave a set within the window, and in any case ALWAYS_ALLOWED."""
SHARE_OF_ALL = 5
"""The same of all tenants, over every source together."""

_STEP = 60.0
_HASH = 16


@dataclass(frozen=True, slots=True)
class Hold:
    """Departures of one read that are kept back. `hash` names them as they were when it began; `names` still miss."""

    hash: str
    set: str
    since: float
    why: str
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was let go of a set and how many it had, over the window.

    `departed`: (end of the minute, how many). `served`: (since, the fewest within a minute after that), oldest first.
    """

    departed: tuple[tuple[float, int], ...] = ()
    served: tuple[tuple[float, int], ...] = ()

    def room(self, *, share: int, now: float) -> int:
        """Return how many may leave now: one in `share` of those served at the window's start, less those let go."""
        at_start = self.served[0][1] if self.served else 0
        for since, count in self.served:
            if since <= now - WINDOW:
                at_start = count
        gone = sum(count for when, count in self.departed if when > now - WINDOW)
        return max(ALWAYS_ALLOWED, at_start // share) - gone

    def note(self, *, left: int, served: int, now: float) -> "Ledger":
        """Return the ledger after `left` were let go and `served` remain."""
        minute = (now // _STEP + 1) * _STEP
        departed = {min(when, minute): 0 for when, _ in self.departed if when > now - WINDOW}
        for when, count in self.departed:
            if when > now - WINDOW:
                departed[min(when, minute)] += count
        if left:
            departed[minute] = departed.get(minute, 0) + left
        return Ledger(tuple(sorted(departed.items())), _remember(self.served, served, now))


@dataclass(frozen=True, slots=True)
class Room:
    """How many more may leave the set, and of those that leave everything (`leaving`) how many may."""

    here: int
    everywhere: int = 2**31
    leaving: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The holds that stand now, a new one last, and what is let go."""

    holds: tuple[Hold, ...]
    left: frozenset[str]

    @property
    def held(self) -> frozenset[str]:
        """Everything that is held."""
        return held_by(self.holds)


def held_by(holds: Iterable[Hold]) -> frozenset[str]:
    """Return everything that any of `holds` keeps back."""
    return frozenset[str]().union(*(hold.names for hold in holds))


def judge(
    name: str,
    holds: Collection[Hold],
    *,
    missing: Collection[str],
    remaining: int,
    room: Room,
    now: float,
    doubted: Mapping[str, str] | None = None,
) -> Verdict:
    """Decide on `missing`, all that the set `name` served and a complete read lacks; `remaining` are in the read.

    What is missing anew is let go or held as a whole; what has returned leaves its hold. `doubted`: why some of it may
    not have left, by name.
    """
    gone = frozenset(missing)
    standing = tuple(
        hold if hold.names <= gone else replace(hold, names=hold.names & gone) for hold in holds if hold.names & gone
    )
    new = gone - held_by(standing)
    doubts = sorted({why for name, why in (doubted or {}).items() if name in new})
    why = _reason(new, standing, remaining=remaining, room=room, doubts=doubts) if new else None
    if why is None:
        return Verdict(standing, new)
    hold = Hold(_hash(name, new, now), name, now, why, new)
    return Verdict((*standing, hold), frozenset())


def _reason(
    new: frozenset[str], standing: Collection[Hold], *, remaining: int, room: Room, doubts: Sequence[str]
) -> str | None:
    if standing:
        return "an earlier hold stands"
    if doubts:
        return "; ".join(doubts)
    if remaining == 0 and len(new) > 1:
        return "nothing would remain"
    if len(new) > room.here:
        return f"more than {ALWAYS_ALLOWED} and more than {100 // SHARE} % within {WINDOW / 60:.0f} minutes"
    if len(new & room.leaving) > room.everywhere:
        share = 100 // SHARE_OF_ALL
        return f"more than {ALWAYS_ALLOWED} and more than {share} % of all tenants within {WINDOW / 60:.0f} minutes"
    return None


def _hash(name: str, names: frozenset[str], now: float) -> str:
    text = json.dumps([name, sorted(names), now])
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH]


def _remember(served: tuple[tuple[float, int], ...], count: int, now: float) -> tuple[tuple[float, int], ...]:
    """Add a count to the history. Of a step only the fewest is kept: the history stays short, the limit errs low."""
    past = [(min(since, now), fewest) for since, fewest in served]
    older = [entry for entry in past if entry[0] <= now - WINDOW]
    kept = [*older[-1:], *(entry for entry in past if entry[0] > now - WINDOW)]
    if kept and now - kept[-1][0] < _STEP:
        kept[-1] = (kept[-1][0], min(kept[-1][1], count))
    elif not kept or kept[-1][1] != count:
        kept.append((now, count))
    return tuple(kept)
