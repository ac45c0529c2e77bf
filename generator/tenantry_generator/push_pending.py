"""What one ApplicationSet has not fetched yet, and when to annotate it, or to annotate it once more.

That the annotation was written proves nothing: a reconcile that had asked before the change takes it away at its end,
the controller may be down, or every answer be refused. What counts is that an answer with the change was handed out.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = ["ANY", "Pending"]

ANY = ""
"""Stands for a query of which it is not known beforehand what it asks."""

_COALESCE = 5.0
"""Seconds that a change waits at most for an annotation that is still there; also the first wait for an answer."""
_LONGEST = 60.0
_GRACE = 0.5
"""Seconds from the end of one reconcile to the first question of the one that follows it at once, generously."""
_ROUNDS = 3
_RETRY = 0.25
_FORBIDDEN = 60.0
_FORBIDDEN_LONGEST = 300.0
_MOST_QUERIES = 1000


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which revision has to be fetched; `since` when that or an older one that is wanted, too, was served, if known."""

    revision: int
    since: float | None


class Pending:
    """All times are of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._wanted: dict[str, _Wanted] = {}
        self._fetched: dict[str, int] = {}
        self._known: frozenset[str] = frozenset()
        self._sending = False
        self._sent: float | None = None
        self._covered = True  # by the last annotation: whether nothing else is wanted since
        self._waits = 0
        self._gone: float | None = None
        self._rounds = 0
        self._failures = 0
        self._not_before = 0.0

    @property
    def open(self) -> bool:
        """Whether something has not been fetched yet."""
        return bool(self._wanted)

    def want(
        self,
        queries: Iterable[str],
        *,
        known: Collection[str],
        revision: int,
        since: float | None,
        earliest: float = 0.0,
    ) -> None:
        """Note that answers have changed: those to `queries`, with ANY all of them that are not `known` beforehand.

        `earliest`: when to annotate, if there is no other reason to.
        """
        self._known = frozenset(known)
        queries = set(queries)
        if ANY in queries:
            queries |= self._fetched.keys() - self._known
            if any(self._fetched[key] >= revision for key in self._fetched.keys() - self._known):
                queries.discard(ANY)
        missing = [key for key in queries if self._fetched.get(key, -1) < revision]
        if not missing:
            return
        if not self.open:
            self._not_before = max(self._not_before if self._failures else 0.0, earliest)
        elif not self._failures:
            self._not_before = min(self._not_before, earliest)
        for key in missing:
            before = self._wanted.get(key)
            self._wanted[key] = _Wanted(revision, since if before is None or before.since is None else before.since)
        self._covered, self._rounds = False, 0

    def fetched(self, query: str, *, revision: int, now: float) -> float | None:
        """Note an answer that was handed out; return how long the change had been waiting for it, if one had."""
        self._fetched.pop(query, None)
        self._fetched[query] = revision
        if len(self._fetched) > _MOST_QUERIES:
            del self._fetched[next(iter(self._fetched))]
        waited = None
        for key in (query,) if query in self._known else (query, ANY):
            wanted = self._wanted.get(key)
            if wanted is not None and wanted.revision <= revision:
                del self._wanted[key]
                waited = now - wanted.since if wanted.since is not None else waited
        if not self.open:
            self._waits = self._rounds = 0
        return waited

    def look(self, *, annotated: bool, now: float) -> bool:
        """Note whether the annotation is there; return False if what is wanted has been given up.

        Reconcile after reconcile has ended well and did not ask: its matrix has nothing to ask for, or asks otherwise.
        """
        if annotated or self._sending or self._sent is None:
            return True
        if self._gone is None:
            self._gone = now
            self._rounds += self._covered
        if self._covered and self.open and self._rounds >= _ROUNDS and now >= self._gone + self._grace:
            for key in self._wanted:
                self._fetched.pop(key, None)
            self._wanted.clear()
            self._waits = self._rounds = 0
            return False
        return True

    def due(self, *, annotated: bool) -> float | None:
        """Return when to annotate; None: not now, or not at all."""
        if not self.open or self._sending:
            return None
        if self._sent is None:
            due = 0.0
        elif annotated:
            due = self._sent + (min(_LONGEST, _COALESCE * 2.0**self._waits) if self._covered else _COALESCE)
        elif self._covered and self._gone is not None:
            due = self._gone + self._grace
        else:
            due = 0.0
        return max(due, self._not_before)

    def sending(self) -> None:
        """Note that it is being annotated."""
        self._waits = min(self._waits + 1, 32) if self._covered and self._sent is not None and self._gone is None else 0
        self._sending, self._covered = True, True

    def sent(self, *, now: float) -> None:
        """Note that it has been."""
        self._sending, self._sent, self._gone = False, now, None
        self._failures, self._not_before = 0, 0.0

    def failed(self, *, now: float, forbidden: bool = False) -> None:
        """Note that it could not be: try again later, if it is `forbidden` much later."""
        self._sending = self._covered = False
        first, longest = (_FORBIDDEN, _FORBIDDEN_LONGEST) if forbidden else (_RETRY, _LONGEST)
        self._not_before = now + min(longest, first * 2.0 ** min(self._failures, 32))
        self._failures += 1

    def allow(self) -> None:
        """Try again at once what has failed: another one has succeeded."""
        if self._failures and not self._sending:
            self._failures, self._not_before = 0, 0.0

    @property
    def _grace(self) -> float:
        return _GRACE * 2.0 ** max(0, self._rounds - 1)
