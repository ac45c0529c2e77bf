"""Keeps a source from taking many tenants away at once, whatever the reason.

Argo CD deletes the Applications of every tenant that an answer no longer has. A TRUNCATE, a restored backup, a changed
view or a wrong database all look like many tenants leaving together; tenants that really leave do so one by one. So
departures beyond a limit are held: those tenants keep being served as they were last seen, while additions and changes
flow on. A hold does not wear off; only the tenant's return ends it.

Pure: time comes in as an argument, and a state is never changed but replaced.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["ALWAYS_ALLOWED", "SHARE", "WINDOW", "State", "admit"]

T = TypeVar("T")

WINDOW = 30 * 60.0
"""Seconds over which departures add up."""
ALWAYS_ALLOWED = 2
SHARE = 10
"""One tenant in so many may leave within the window, and in any case ALWAYS_ALLOWED."""

_STEP = 10.0


@dataclass(frozen=True, slots=True)
class State(Generic[T]):
    """What one source's tenants are served as, and what the next read is judged by.

    `rows`: what to serve, held tenants among it. `departed`: when tenants were let go, and how many, in the window.
    `served`: the history of how many were served: (since, the fewest within a step after that), oldest first.
    """

    rows: Mapping[str, T] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    departed: tuple[tuple[float, int], ...] = ()
    served: tuple[tuple[float, int], ...] = ()


def admit(state: State[T], read: Mapping[str, T], *, now: float, doubted: Collection[str] = frozenset()) -> State[T]:
    """Return the state after a complete `read` at `now`, in seconds of a clock that never goes back.

    Either all departures of a read are let go or all are held. They are held when the read is empty, while a hold
    stands, when one of them is `doubted`, and when with those let go in the window before they exceed the limit.
    """
    missing = state.rows.keys() - read.keys()
    departed = tuple(entry for entry in state.departed if entry[0] > now - WINDOW)
    total = sum(count for _, count in departed) + len(missing)
    still_held = state.held & missing
    doubtful = not missing.isdisjoint(doubted)
    hold = bool(missing) and (not read or bool(still_held) or doubtful or total > _limit(state, now))
    rows = dict(read)
    if hold:
        rows.update((name, state.rows[name]) for name in missing)
    elif missing:
        departed = (*departed, (now, len(missing)))
    return State(
        rows=rows,
        held=frozenset(missing) if hold else frozenset(),
        departed=departed,
        served=_remember(state.served, len(rows), now),
    )


def _limit(state: State[T], now: float) -> int:
    """Return how many may leave within the window, by how many were served at its start."""
    if not state.served:
        return ALWAYS_ALLOWED
    at_start = state.served[0][1]
    for since, count in state.served:
        if since <= now - WINDOW:
            at_start = count
    return max(ALWAYS_ALLOWED, at_start // SHARE)


def _remember(served: tuple[tuple[float, int], ...], count: int, now: float) -> tuple[tuple[float, int], ...]:
    """Add a count to the history. Of a step only the fewest is kept: the history stays short, the limit errs low."""
    older = [entry for entry in served if entry[0] <= now - WINDOW]
    recent = [entry for entry in served if entry[0] > now - WINDOW]
    kept = [*older[-1:], *recent]
    if kept and now - kept[-1][0] < _STEP:
        kept[-1] = (kept[-1][0], min(kept[-1][1], count))
    elif not kept or kept[-1][1] != count:
        kept.append((now, count))
    return tuple(kept)
