"""What a connection may cost: aiohttp waits for ever for a request's header and for whoever doesn't read an answer.

So each connection knows what it waits for, and a sweep twice a second ends those that wait too long. Beyond a number of
connections a newcomer takes the place of an idle one, first of one that has never shown a valid token: whoever opens
thousands of them shuts out nobody but himself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain

from aiohttp import StreamReader, web

__all__ = ["Connections", "Ended", "Handler", "Limits", "trust", "watched"]

_SWEEP = 0.5
"""Seconds between two looks at every connection; a deadline may be late by as much."""

_BUFFERED = 1024 * 1024
"""Bytes that may wait for a client that has shown a valid token; with asyncio's 64 KiB a long answer goes by jerks."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Limits:
    """`connections` is their number, the rest are seconds.

    `idle` is longer than the 90 after which Argo CD drops an idle connection, so that it never meets one that we close:
    Go does not send a POST again. `linger` is for the rest of a body that nobody wants.
    """

    connections: int = 1024
    header: float = 5.0
    write: float = 30.0
    idle: float = 120.0
    linger: float = 2.0


class Ended(Enum):
    """Why a connection was ended before its client wanted that."""

    HEADER = "header"
    WRITE = "write"
    EVICTED = "evicted"
    REFUSED = "refused"


class _Waits(Enum):
    HEADER = auto()
    HANDLER = auto()
    READER = auto()
    NEXT = auto()


class _Connection(web.RequestHandler):
    """One connection, and since when it waits for what. `trusted` once a request has shown a valid token."""

    __slots__ = ("_connections", "_content", "_paused_reading", "_since", "_socket", "_state", "trusted")

    def __init__(self, connections: "Connections", server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=connections.limits.idle,
            lingering_time=connections.limits.linger,
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # what turns it off
        )
        self._connections = connections
        self._socket: asyncio.BaseTransport | None = None
        self._content: StreamReader | None = None
        self._paused_reading = False
        self.trusted = False
        self._wait_for(_Waits.HEADER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = transport
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # What still comes of a body that nobody wanted is no header.
        if self._state is _Waits.NEXT and (self._content is None or self._content.is_eof()):
            self._wait_for(_Waits.HEADER)
        super().data_received(data)

    def pause_reading(self) -> None:
        self._paused_reading = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        # Called for each body that is read, and costs as much as parsing a header does.
        if self._paused_reading:
            self._paused_reading = False
            super().resume_reading(resume_parser)

    def handling(self) -> None:
        """The header is there, and a handler has begun."""
        self._wait_for(_Waits.HANDLER)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        self._wait_for(_Waits.READER)
        self._content = request.content
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._wait_for(_Waits.NEXT)

    def trust(self) -> None:
        """Keep it rather than those that have shown no valid token."""
        if not self.trusted:
            self.trusted = True
            self._connections.promote(self)
            if isinstance(self._socket, asyncio.Transport):
                self._socket.set_write_buffer_limits(high=_BUFFERED, low=_BUFFERED // 4)

    @property
    def dispensable(self) -> bool:
        """Whether a newcomer may have its place: it is idle, or nobody knows whose it is and it reads no answer."""
        return self._state is not _Waits.HANDLER and (self._state is not _Waits.READER or not self.trusted)

    def overdue(self, now: float, limits: Limits) -> Ended | None:
        """Return why it is to be ended, by the clock of the event loop."""
        waited = now - self._since
        if self._state is _Waits.HEADER and waited > limits.header:
            return Ended.HEADER
        # A connection that is closed still sends what it has buffered, for as long as the client takes.
        closing = isinstance(self._socket, asyncio.Transport) and self._socket.is_closing()
        if (self._state is _Waits.READER or closing) and waited > limits.write:
            return Ended.WRITE
        return None

    def abort(self) -> None:
        """End it at once, whatever is still to be sent."""
        if isinstance(self._socket, asyncio.Transport):
            self._socket.abort()

    def _wait_for(self, state: _Waits) -> None:
        self._state, self._since = state, self._connections.now


class Connections:
    """The connections of one server; called, it makes the protocol of a new one. `on_ended` is told of those we end."""

    def __init__(self, server: web.Server, limits: Limits, *, on_ended: Callable[[Ended], None]) -> None:
        self.limits = limits
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._on_ended = on_ended
        self.now = self._loop.time()  # as of the last sweep: exact enough, and four looks at a clock less a request
        # The oldest first.
        self._strangers: dict[_Connection, None] = {}
        self._trusted: dict[_Connection, None] = {}

    def __call__(self) -> _Connection:
        return _Connection(self, self._server, self._loop)

    def add(self, connection: _Connection) -> None:
        """Take a new one, in the place of another where there is no room."""
        full = len(self._strangers) + len(self._trusted) >= self.limits.connections
        self._strangers[connection] = None
        if not full:
            return
        others = (each for each in chain(self._strangers, self._trusted) if each is not connection)
        found = next((each for each in others if each.dispensable), None)
        self._end(*((connection, Ended.REFUSED) if found is None else (found, Ended.EVICTED)))

    def remove(self, connection: _Connection) -> None:
        """Forget one that is closed."""
        self._strangers.pop(connection, None)
        self._trusted.pop(connection, None)

    def promote(self, connection: _Connection) -> None:
        """Count one among those that have shown a valid token."""
        if connection in self._strangers:
            del self._strangers[connection]
            self._trusted[connection] = None

    async def sweep(self) -> None:
        """End, for ever, those that have waited too long."""
        while True:
            await asyncio.sleep(_SWEEP)
            self.now = self._loop.time()
            for connection in (*self._strangers, *self._trusted):
                if why := connection.overdue(self.now, self.limits):
                    self._end(connection, why)

    def _end(self, connection: _Connection, why: Ended) -> None:
        self.remove(connection)
        connection.abort()
        self._on_ended(why)


def watched(handler: Handler) -> Handler:
    """Return the handler, telling its connection when it begins."""

    def handle(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        if isinstance(request.protocol, _Connection):
            request.protocol.handling()
        return handler(request)

    return handle


def trust(request: web.BaseRequest) -> None:
    """Note that the request has shown a valid token."""
    if isinstance(request.protocol, _Connection):
        request.protocol.trust()
