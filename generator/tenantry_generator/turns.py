"""So many at once, and so many that wait: what comes beyond that is refused while it still costs nothing."""

import asyncio
from collections import deque

from tenantry_generator.errors import NotReady

__all__ = ["Turns"]


class Turns:
    """`at_once` have a turn; up to `waiting` more wait for one in the order in which they came."""

    def __init__(self, at_once: int, *, waiting: int) -> None:
        self._free = at_once
        self._most = waiting
        self._queue: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Take a turn if there is one."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def wait(self) -> None:
        """Return with a turn. NotReady: too many wait for one."""
        if len(self._queue) >= self._most:
            raise NotReady(f"{self._most} requests wait for an answer already")
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._queue:
                self._queue.remove(turn)
            elif not turn.cancelled():
                self.give_back()  # it had come just now
            raise

    def give_back(self) -> None:
        """Give a turn to whoever has waited longest, or back."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
