"""Answers that were given and would be given again, so that whoever asks over and over costs a look and no work.

One is good for as long as everything that it was made from is the same. Not for long even then: how long ago somebody
asked is looked at too, and recorded.
"""

from dataclasses import dataclass

from tenantry_generator.contract import Request
from tenantry_generator.received import Reply

__all__ = ["Replies"]

_GOOD_FOR = 10.0
_MOST = 1000
_MOST_BYTES = 64 * 2**20
"""Of all bodies together; the last one is kept however long it is."""


@dataclass(frozen=True, slots=True)
class _Kept:
    reply: Reply
    made_for: object
    until: float


class Replies:
    """The answers out of one state. A state is an object that is another one as soon as anything is different."""

    def __init__(self) -> None:
        self._kept: dict[Request, _Kept] = {}  # the oldest first
        self._bytes = 0
        self._state: object = None

    def find(self, request: Request, *, state: object, asking: object, now: float) -> Reply | None:
        """Return the answer to this very request out of the same `state`, and for an equal `asking`."""
        kept = self._kept.get(request) if state is self._state else None
        if kept is None or now > kept.until or kept.made_for != asking:
            return None
        return kept.reply

    def keep(self, request: Request, reply: Reply, *, state: object, asking: object, now: float) -> None:
        """Keep an answer, instead of an earlier one, and of one state at a time."""
        if state is not self._state:
            self._kept, self._bytes, self._state = {}, 0, state
        self._drop(request)
        self._kept[request] = _Kept(reply, asking, now + _GOOD_FOR)
        self._bytes += reply.body.length
        while len(self._kept) > 1 and (len(self._kept) > _MOST or self._bytes > _MOST_BYTES):
            self._drop(next(iter(self._kept)))

    def _drop(self, request: Request) -> None:
        if (kept := self._kept.pop(request, None)) is not None:
            self._bytes -= kept.reply.body.length
