"""Time that jumps to the next timer, for processes that share it: a day of outage takes a moment.

Each simulated process has an event loop of its own, so that one can be stopped, as by SIGSTOP, while the others go on;
continued, it finds all its timers late. Everything runs in one thread, in an order that is the same each time.
"""

import asyncio
import math
import selectors
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["Clock", "VirtualLoop"]

T = TypeVar("T")


class Clock:
    """Seconds since an arbitrary moment, and the loops that live by them."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._loops: list[VirtualLoop] = []

    def loop(self) -> "VirtualLoop":
        """Return a new event loop, to be given back with `drop`."""
        loop = VirtualLoop(self)
        self._loops.append(loop)
        return loop

    def drop(self, loop: "VirtualLoop") -> None:
        """Close a loop."""
        self._loops.remove(loop)
        loop.close()

    def advance(self, seconds: float) -> None:
        """Let time go on, and with it every process that is not stopped."""
        until = self.now + seconds
        while True:
            self.settle()
            due = min((loop.idle_until for loop in self._loops if not loop.stopped), default=math.inf)
            if due > until:
                self.now = max(self.now, until)
                return
            self.now = max(self.now, due)

    def leap(self, seconds: float) -> None:
        """Stop every process for that long."""
        self.now += seconds
        self.settle()

    def settle(self) -> None:
        """Run everything that can run now."""
        busy = True
        while busy:
            busy = False
            for loop in list(self._loops):
                if not loop.stopped and (loop.has_work or loop.idle_until <= self.now):
                    loop.run_until_idle()
                    busy = True


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that stops whenever it has nothing to do before `idle_until`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.has_work = True
        self.stopped = False
        self.idle_until = 0.0
        super().__init__(_NothingComes(self._idle))
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        return self._clock.now

    def call_soon(self, callback: Callable[..., object], *args: Any, **kwargs: Any) -> asyncio.Handle:  # type: ignore[override]
        self.has_work = True
        return super().call_soon(callback, *args, **kwargs)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Run it here and now: what a thread would make of it does not depend on the time that it takes."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # handed to whoever awaits it, as an executor does
            future.set_exception(error)
        return future

    def run_until_idle(self) -> None:
        """Run what is ready and due."""
        self.run_forever()
        self.has_work = False

    def within(self, look: Callable[[], T]) -> T:
        """Return what `look` returns when it is called by this loop."""
        found: list[T] = []
        self.call_soon(lambda: found.append(look()))
        self.run_until_idle()
        return found[0]

    def _idle(self, timeout: float | None) -> None:
        self.idle_until = math.inf if timeout is None else self._clock.now + timeout
        self.stop()


class _NothingComes(selectors.SelectSelector):
    """No socket ever becomes ready; to be asked to wait is to be idle."""

    def __init__(self, idle: Callable[[float | None], None]) -> None:
        super().__init__()
        self._idle = idle

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            self._idle(timeout)
        return []
