"""What may stand between Argo CD and the generator: a reverse proxy that sometimes says something of its own.

Only what Argo CD takes for an error: an empty 200 made up by a proxy would delete Applications whatever the generator
does, and docs/ says so.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

__all__ = ["FAULTS", "Front"]

_PAGE = b"<!DOCTYPE html><html><body><h1>We will be back soon</h1></body></html>"
_RESET, _SHORT, _SLOW = "reset", "cut short", "slow"
_PAGES = {
    "a page with 200": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n",
    "a page with 502": b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n",
    "a page with 429": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Type: text/html\r\n",
}
FAULTS = (*_PAGES, _RESET, _SHORT, _SLOW)


class Front:
    """An address that leads to `port`; `fault` is None or one of FAULTS. `asked` counts the requests that came."""

    def __init__(self, port: int) -> None:
        self.fault: str | None = None
        self.asked = 0
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Listen, and yield the URL."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._pass_on(reader, writer):
                pass

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return whether another may follow."""
        request = await _message(reader)
        self.asked += 1
        fault = self.fault
        if fault == _RESET:
            writer.transport.abort()
            return False
        if fault in _PAGES:
            writer.write(_PAGES[fault] + f"Content-Length: {len(_PAGE)}\r\n\r\n".encode() + _PAGE)
            await writer.drain()
            return True
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        with closing(back):
            back.write(request)
            await back.drain()
            answer = await _message(there)
        if fault == _SLOW:
            await asyncio.sleep(1)
        writer.write(answer[: len(answer) // 2] if fault == _SHORT else answer)
        await writer.drain()
        return fault != _SHORT


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Return one request or answer, which has to tell its length."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in head[:-4].split(b"\r\n")[1:])
    return head + await reader.readexactly(int(fields.get(b"content-length", b"0")))
