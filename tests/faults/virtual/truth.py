"""What is really so: which tenants each source has, since when, and whether what it lacks has been removed from it.

A tenant that a source lacks because somebody deleted it has been removed. One that it lacks because it was restored
from a backup, or is another one, or looked short for less than the second that two reads are apart, has been lost.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.faults.virtual.clock import Clock

__all__ = ["CLUSTER", "NAMESPACES", "POSTGRES", "Truth"]

CLUSTER, POSTGRES, NAMESPACES = "cluster", "postgres", "namespaces"
_AGAIN = {CLUSTER: 0.0, POSTGRES: 1.0, NAMESPACES: 0.0}
"""Seconds after the first read of a process until another one confirms it; a list of an API server needs none."""


@dataclass(frozen=True, slots=True)
class _Change:
    """From `at` on it is there with `value`, or not there (None); `lost`: not there, though nobody removed it."""

    at: float
    value: str | None
    lost: bool = False


class Truth:
    """The history of every name in every source. A value is a tenant's status, or the tenant of a namespace."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._history: dict[tuple[str, str], list[_Change]] = {}
        self.first_reads: dict[str, list[float]] = {CLUSTER: [], POSTGRES: [], NAMESPACES: []}
        """When a process read a source for the first time since its start, or since it took over (judge.py)."""
        self.reads: dict[str, list[float]] = {CLUSTER: [], POSTGRES: [], NAMESPACES: []}
        """When any process has heard anything of a source, in order."""
        self._shown: dict[str, dict[str, str]] = {}
        self._stale: list[tuple[str, float, float, Mapping[str, str]]] = []

    def align(self, source: str, shown: Mapping[str, str], *, removed: bool) -> None:
        """Note what the source shows from now on; what it lacks was `removed`, or else is lost."""
        before, now = self._shown.get(source, {}), self._clock.now
        for name, value in shown.items():
            if before.get(name) != value:
                self._note(source, name, _Change(now, value))
        for name in before.keys() - shown.keys():
            self._note(source, name, _Change(now, None if removed else before[name], lost=not removed))
        self._shown[source] = dict(shown)

    def stale(self, source: str, shown: Mapping[str, str]) -> None:
        """Note that whoever lists a source from now on may be shown an older state of it."""
        self._stale.append((source, self._clock.now, math.inf, shown))

    def fresh(self, source: str) -> None:
        """Note that nobody is any more."""
        self._stale = [
            (each, since, min(until, self._clock.now) if each == source else until, shown)
            for each, since, until, shown in self._stale
        ]

    def values(self, source: str, name: str, *, since: float, agreed: bool) -> set[str | None]:
        """Return what the source may rightly have been seen to have under a name since then: None, nothing.

        `agreed`: somebody has agreed that the source lacks it.
        """
        history = self._history.get((source, name))
        if not history:
            return {None}
        found: set[str | None] = set()
        ends = [*(change.at for change in history[1:]), self._clock.now + 1.0]
        if history[0].at >= since:
            found.add(None)
        came: float | None = None
        for change, end in zip(history, ends, strict=True):
            came = None if change.value is None else came or change.at
            if end < since:
                continue
            found.add(change.value)
            if change.lost and came is not None:
                accepted = any(change.at <= read < end - _AGAIN[source] for read in self.first_reads[source])
                if agreed or accepted or not self.was_read(source, came, change.at):
                    found.add(None)
        for each, begin, end, shown in self._stale:
            if each == source and end >= since:
                if name in shown:
                    found.add(shown[name])
                elif agreed or any(begin <= read < end - _AGAIN[source] for read in self.first_reads[source]):
                    found.add(None)
        return found

    def has(self, source: str, name: str) -> bool:
        """Whether the source has it now, or has only lost it."""
        history = self._history.get((source, name))
        return history is not None and history[-1].value is not None

    def came_after(self, name: str, at: float, sources: Iterable[str] = (CLUSTER, POSTGRES)) -> bool:
        """Whether anything of that name has come or changed in a source since then, and was seen there."""
        return any(self._was_seen(source, name, at) for source in sources)

    def _was_seen(self, source: str, name: str, at: float) -> bool:
        history = self._history.get((source, name), [])
        ends = [*(change.at for change in history[1:]), math.inf][: len(history)]
        return any(
            change.at > at and change.value is not None and not change.lost and self.was_read(source, change.at, end)
            for change, end in zip(history, ends, strict=True)
        )

    def give_up(self, source: str) -> None:
        """Note that nobody can tell any more that what the source has lost was not removed from it."""
        for (each, name), history in list(self._history.items()):
            if each == source and history[-1].lost:
                self._note(source, name, _Change(self._clock.now, None))

    def is_news(self, name: str, since: float, at: float, sources: Iterable[str] = (CLUSTER, POSTGRES)) -> bool:
        """Whether a source had something of that name at a time, of which nobody had heard by then, and since then."""
        for source in sources:
            before = [change for change in self._history.get((source, name), []) if change.at <= at]
            if before and before[-1].value is not None and not self.was_read(source, max(since, before[-1].at), at):
                return True
        return False

    def was_read(self, source: str, since: float, until: float) -> bool:
        """Whether any process has heard anything of a source in this time."""
        reads = self.reads[source]
        first = bisect_left(reads, since)
        return first < len(reads) and reads[first] < until

    def story(self, name: str) -> str:
        """Return what happened to a name, for a message."""
        told = [
            f"{change.at:.1f} {source} {'lost' if change.lost else change.value or 'removed'}"
            for (source, each), history in self._history.items()
            if each == name
            for change in history
        ]
        return "; ".join(told) or "it was never anywhere"

    def _note(self, source: str, name: str, change: _Change) -> None:
        history = self._history.setdefault((source, name), [])
        if not history or (history[-1].value, history[-1].lost) != (change.value, change.lost):
            history.append(change)
