"""When a change of what a tenant uses may be written into its status.

Usage changes with every Pod, and each write of a status is an event for everybody who watches Tenants. So what has
changed by usage alone waits until the last write is some seconds old, and then all of it goes at once.
"""

from collections.abc import Callable
from typing import Protocol

__all__ = ["UsagePace"]


class Timer(Protocol):
    """What `call_later` gives."""

    def cancel(self) -> None:
        """Let it not go off."""


class Clock(Protocol):
    """The part of an event loop that is used here."""

    def time(self) -> float:
        """Return monotonic seconds."""

    def call_later(self, delay: float, callback: Callable[[str], None], /, argument: str) -> Timer:
        """Call `callback(argument)` after `delay` seconds."""


class UsagePace:
    """`look(tenant)` is called once a tenant's usage has changed and may be written, every so many seconds."""

    def __init__(self, look: Callable[[str], None], *, clock: Clock, every: float = 10.0) -> None:
        self._look = look
        self._clock = clock
        self._every = every
        self._written: dict[str, float] = {}
        self._timers: dict[str, Timer] = {}

    def changed(self, tenant: str) -> None:
        """Have the tenant looked at as soon as its usage may be written."""
        if tenant not in self._timers:
            self._timers[tenant] = self._clock.call_later(self._wait(tenant), self._due, tenant)

    def may_write(self, tenant: str) -> bool:
        """Whether a status that differs by usage alone may be written now; if not, `look` will come back to it."""
        if self._wait(tenant) == 0:
            return True
        self.changed(tenant)
        return False

    def wrote(self, tenant: str) -> None:
        """Take in that the tenant's status, with what it uses, was written just now."""
        self._written[tenant] = self._clock.time()

    def forget(self, tenant: str) -> None:
        """Drop what is known of a tenant that is gone."""
        self._written.pop(tenant, None)
        timer = self._timers.pop(tenant, None)
        if timer is not None:
            timer.cancel()

    def _wait(self, tenant: str) -> float:
        written = self._written.get(tenant)
        return 0.0 if written is None else max(0.0, written + self._every - self._clock.time())

    def _due(self, tenant: str) -> None:
        del self._timers[tenant]
        self._look(tenant)
