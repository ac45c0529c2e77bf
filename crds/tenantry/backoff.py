"""How long to wait before trying again: exponential, capped, and never in step with others."""

import random

__all__ = ["Backoff"]


class Backoff:
    """Delays that double from `first` to `cap` seconds, each spread over its upper half.

    The spread keeps a fleet that lost the same server from coming back at the same moment.
    """

    def __init__(self, *, first: float, cap: float) -> None:
        self._first = first
        self._cap = cap
        self._failures = 0

    def next(self) -> float:
        """Return the next delay in seconds."""
        delay = min(self._cap, self._first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards no secret

    def reset(self) -> None:
        """Start over: the last try succeeded."""
        self._failures = 0
