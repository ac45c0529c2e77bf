"""Argo CD's side of the wire: asks as its client does, reads as Go does, and judges every answer on the way."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from tests.faults.family import Broken
from tests.faults.generator.http import Connection, NoAnswer, check_answer
from tests.faults.godecode import Parameters, Unread, read
from tests.support.eventually import eventually

__all__ = ["Client", "Trace", "Watch", "judged", "request"]

_PATIENCE = 30.0
"""Seconds; those of Argo CD's client."""
_TRACED = 40


def request(token: str, parameters: Mapping[str, Any] | None, applicationset: str) -> bytes:
    """Return what Argo CD sends."""
    inputs = {"parameters": parameters} if parameters else {}
    body = json.dumps({"applicationSetName": applicationset, "input": inputs}).encode() + b"\n"
    return (
        b"POST /api/v1/getparams.execute HTTP/1.1\r\nHost: generator\r\nUser-Agent: Go-http-client/1.1\r\n"
        b"Accept-Encoding: gzip\r\nContent-Type: application/json\r\n"
        + f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


class Client:
    """One connection over which the same is asked again and again."""

    def __init__(
        self, url: str, token: str, parameters: Mapping[str, Any] | None = None, applicationset: str = "test"
    ) -> None:
        self._connection = Connection(url)
        self._request = request(token, parameters, applicationset)

    async def ask(self) -> Parameters:
        """Return the parameters. Unread: what Argo CD would take for an error. Broken: what it must never be sent."""
        reused = self._connection.is_open
        try:
            async with asyncio.timeout(_PATIENCE):
                try:
                    await self._connection.send(self._request)
                    answer = await self._connection.receive()
                except NoAnswer:
                    if not reused:
                        raise
                    await self._connection.send(self._request)  # it ended while nobody used it
                    answer = await self._connection.receive()
        except NoAnswer as error:
            raise Unread(f"no answer: {error}") from None
        except TimeoutError:
            self.close()
            raise Unread(f"no answer within {_PATIENCE:.0f} seconds") from None
        check_answer(answer)
        if not 200 <= answer.status < 300:
            raise Unread(f"{answer.status} {answer.body.decode(errors='replace')}")
        return read(answer.status, answer.headers, answer.body)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


class Trace:
    """What was done and seen last, with the seconds since the start of the case."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._events: deque[str] = deque(maxlen=_TRACED)
        self._last: dict[str, str] = {}

    def note(self, event: str, *, who: str = "") -> None:
        """Add an event; what somebody has just been told already is not told again."""
        if who and self._last.get(who) == event:
            return
        self._last[who] = event
        self._events.append(f"{time.monotonic() - self._began:.2f} s: {who}{' ' if who else ''}{event}")

    def __str__(self) -> str:
        return "\n  ".join(self._events)


class Watch:
    """Asks for ever, and holds every answer against who must be in it.

    `owed` are the tenants that nobody has let go; `known` all that there ever were. Take one out of `owed` before it
    may leave, put one in once it has been seen. `on_answer` is told when each success was asked for and had.
    """

    def __init__(self, client: Client, trace: Trace, *, owed: Iterable[str], name: str, pause: float = 0.02) -> None:
        self.owed = set(owed)
        self.known = set(self.owed)
        self.seen: frozenset[str] | None = None
        self.rows: dict[str, dict[str, Any]] = {}
        self.refusal = ""
        self.answers = 0
        self.on_answer: Callable[[float, float], None] = lambda sent, received: None
        self._client = client
        self._trace = trace
        self._name = name
        self._pause = pause

    async def run(self) -> None:
        """Ask and judge until cancelled."""
        try:
            while True:
                await self.once()
                await asyncio.sleep(self._pause)
        finally:
            self._client.close()

    async def once(self) -> None:
        """Ask once. Broken: an answer lacks somebody, or has somebody that there never was."""
        before, sent = frozenset(self.owed), time.monotonic()
        try:
            parameters = await self._client.ask()
        except Unread as error:
            self.seen, self.refusal = None, str(error)
            self._trace.note(f"got no answer: {error}", who=self._name)
            return
        self.on_answer(sent, time.monotonic())
        names = [str(each.get("tenant")) for each in parameters]
        # Whoever was let go while this answer was on its way may still be in it, or not.
        missing = (before & self.owed) - set(names)
        strange = set(names) - self.known
        self._trace.note(f"got {len(names)} elements", who=self._name)
        if missing or strange or len(set(names)) != len(names):
            raise Broken(
                f"an answer to {self._name} lacks {sorted(missing)[:10]} ({len(missing)} that nobody has let go), "
                f"has {sorted(strange)[:10]} that there never were, {len(names) - len(set(names))} of it twice; "
                f"what led there:\n  {self._trace}"
            )
        self.answers += 1
        self.rows = {str(each["tenant"]): each for each in parameters}
        self.seen, self.refusal = frozenset(names), ""

    async def sees(self, *tenants: str, within: float) -> None:
        """Wait until an answer has these."""
        self.known.update(tenants)

        def there() -> bool:
            return self.seen is not None and set(tenants) <= self.seen

        await eventually(there, within=within, what=f"{self._name} is answered with {tenants}; {self._trace}")
        self.owed.update(tenants)

    async def misses(self, *tenants: str, within: float) -> None:
        """Wait until an answer has none of these, which have been taken out of `owed` before."""

        def gone() -> bool:
            return self.seen is not None and not set(tenants) & self.seen

        await eventually(gone, within=within, what=f"{self._name} is answered without {tenants}; {self._trace}")

    async def goes_on(self, answers: int = 10, *, within: float = 10.0) -> None:
        """Wait for so many more answers."""
        wanted = self.answers + answers
        await eventually(lambda: self.answers >= wanted, within=within, what=f"{self._name} is answered on")


async def judged(work: Coroutine[Any, Any, None], *judges: Coroutine[Any, Any, None]) -> None:
    """Do `work` while the judges look on, who go on for ever; the first Broken of theirs ends it."""
    tasks = [asyncio.create_task(each) for each in (work, *judges)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    failures = [each for each in ended if isinstance(each, Exception)]
    for failure in sorted(failures, key=lambda each: not isinstance(each, Broken)):
        raise failure
