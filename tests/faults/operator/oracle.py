"""Whether a disturbed run ended as an undisturbed one, and was safe in every state and at every write on the way."""

import asyncio
import time

from tenantry.resources import NAMESPACES
from tests.faults.family import Broken
from tests.faults.operator.canonical import canonical
from tests.faults.operator.hand import Hand
from tests.faults.operator.ledger import Ledger
from tests.faults.operator.observer import Observer
from tests.faults.operator.reference import Reference, outcome, uneven
from tests.faults.operator.safety import unsafe_states, unsafe_writes

__all__ = ["Judge"]

CONVERGE = 30.0
"""Seconds from the last fault until the end state must be there, but for those in which a namespace is being deleted:
Kubernetes does that, and takes its time when many are."""
_KUBERNETES = 60.0
"""Seconds of the latter at most."""
QUIET = 1.0
"""Seconds without a write until a run counts as over."""
_PAUSE = 0.05
_MOMENT = 0.2
_ORDERLY = 0.5
"""Seconds after which what came over one watch has surely been overtaken by nothing on another."""


class Judge:
    """Judges one case's run against the reference."""

    def __init__(self, hand: Hand, observer: Observer, ledger: Ledger, reference: Reference) -> None:
        self._token = hand.token
        self._observer = observer
        self._ledger = ledger
        self._reference = reference
        self._count = -1
        self._seen = -1
        self._checked = -1
        self._changed = time.monotonic()
        self._differences: list[str] = []

    def rests(self, seconds: float) -> bool:
        """Whether the end state has been there for so long."""
        return not self._missing() and time.monotonic() - self._changed > seconds

    async def ended(self, *, within: float = CONVERGE) -> None:
        """Wait for the reference's end, and for silence after it; Broken if that doesn't come, or came another way."""
        ours, theirs, before = within, _KUBERNETES, time.monotonic()
        while self._missing():
            self._check_way()
            if min(ours, theirs) < 0:
                what = f"the end state is not that of an undisturbed run, with {ours:.0f} s of {within:g} s left"
                raise self.broken(what, *self._missing())
            await asyncio.sleep(_PAUSE)
            now = time.monotonic()
            if self._deletes_namespaces():
                theirs -= now - before
            else:
                ours -= now - before
            before = now
        await self._silence(time.monotonic() + ours)
        self.check()

    def check(self) -> None:
        """Raise Broken unless state, summary and every state and write on the way are as they should be."""
        found = outcome(self._observer, self._ledger, self._token)
        if lines := self._reference.differences(found.state):
            raise self.broken("the end state was reached, and then left", *lines)
        self._check_safety()
        if found.summary != self._reference.summary:
            lines = uneven(found.summary, self._reference.summary)
            raise self.broken("objects were made or deleted more or less often than in an undisturbed run", *lines)

    def broken(self, promise: str, *lines: str) -> Broken:
        """Return the failure with what led to it."""
        trace = self._ledger.pages[self._token].trace()
        return Broken("\n".join([promise, *lines, f"what the operator wrote for {self._token}:", trace]))

    def _missing(self) -> list[str]:
        """Return what is not as it should be at the end, worked out anew a moment after something has changed."""
        count = len(self._observer.history[self._token])
        if count != self._count:
            self._count, self._changed = count, time.monotonic()
        if count != self._seen and time.monotonic() - self._changed > _MOMENT:
            self._seen = count
            state = canonical(self._observer.objects[self._token], self._token)
            self._differences = self._reference.differences(state)
        return self._differences if count == self._seen else ["it changes all the time"]

    def _deletes_namespaces(self) -> bool:
        bodies = [body for key, body in self._observer.objects[self._token].items() if key[0] == NAMESPACES.kind]
        return any("deletionTimestamp" in body["metadata"] for body in bodies)

    def _check_way(self) -> None:
        """Raise Broken at once for what was not safe, when nothing has changed for a moment."""
        if self._checked != self._seen and time.monotonic() - self._changed > _ORDERLY:
            self._checked = self._seen
            self._check_safety()

    def _check_safety(self) -> None:
        history, writes = self._observer.history[self._token], self._ledger.pages[self._token].writes
        problems = [
            *unsafe_writes(writes, self._token, self._reference.end),
            *unsafe_states(history, self._token, self._reference.end),
        ]
        if problems:
            raise self.broken(*problems)

    async def _silence(self, deadline: float) -> None:
        writes, since = -1, time.monotonic()
        while time.monotonic() < since + QUIET:
            if len(self._ledger.pages[self._token].writes) != writes:
                writes, since = len(self._ledger.pages[self._token].writes), time.monotonic()
            if time.monotonic() > deadline + QUIET:
                raise self.broken("the end state was reached, and the operator goes on writing")
            await asyncio.sleep(_PAUSE)
