"""What goes out: an answer with one prepared header and its exact length, or JSON with a `message`.

Answers are most of what this process does. So header and body go out together where they are short, and where they are
long without a copy of them for each client, as fast as it reads and no faster.
"""

import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from tenantry.telemetry import get_logger
from tenantry_generator.body import Body
from tenantry_generator.contract import encode_message
from tenantry_generator.errors import NotReady, Refused

__all__ = ["Answer", "json_response", "refusal"]

log = get_logger(__name__)

_SHORT = 512 * 1024
"""Bytes up to which header and body go out as one: to copy them is cheaper than a second call of the kernel."""
_CHUNK = 4 * 1024 * 1024
"""Bytes of a longer body that are handed over at once: the transport copies what the kernel does not take."""


class Answer(web.StreamResponse):
    """A 200 that looks once more, right before its first byte, whether this replica may still give it.

    The process may have been stopped since, for longer than its Lease lasts. `sent` is called once all of it has been
    handed to the network, `done` whatever becomes of it.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        body: Body,
        *,
        gzipped: bool,
        why_not: Callable[[], str],
        sent: Callable[[], None],
        done: Callable[[], None],
    ) -> None:
        super().__init__(status=200)
        self._request = request
        self._whole = body
        self._gzipped = gzipped
        self._why_not = why_not
        self._sent = sent
        self._done = done
        self._leave = False

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays for the next request."""
        return self._request.keep_alive and not self._leave

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if why := self._why_not():
            self.set_status(503)
            self._whole, self._gzipped = Body([encode_message(why)]), False
            self._leave = True  # the next request is to find the replica that answers
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        request, body = self._request, self._whole
        writer = request.writer
        header = _header(
            self.status, self._gzipped, body.length, self.keep_alive, request.version >= (1, 1), int(time.time())
        )
        try:
            if body.length <= _SHORT:
                await writer.write(b"".join((header, *body.parts)))
            else:
                whole = memoryview(body.whole())
                # The header does not go alone, or the client would wake up for it.
                await writer.write(b"".join((header, whole[:_SHORT])))
                for start in range(_SHORT, body.length, _CHUNK):
                    await writer.write(whole[start : start + _CHUNK])
            await writer.drain()
        finally:
            self._done()
        if request.transport is None:
            raise ConnectionResetError("the client went, or a limit ended the connection, before it had everything")
        if self.status == 200:
            self._sent()


@lru_cache(maxsize=64)
def _header(status: int, gzipped: bool, length: int, keep_alive: bool, modern: bool, second: int) -> bytes:
    connection = ("" if modern else "Connection: keep-alive\r\n") if keep_alive else "Connection: close\r\n"
    encoding = "Content-Encoding: gzip\r\n" if gzipped else ""
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        "Content-Type: application/json\r\n"
        f"{encoding}"
        "Vary: Accept-Encoding\r\n"
        f"Content-Length: {length}\r\n"
        f"Date: {formatdate(second, usegmt=True)}\r\n"
        f"{connection}\r\n"
    ).encode()


def json_response(status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    """Return a short answer."""
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def refusal(error: Exception, path: str) -> web.Response:
    """Return what the request for `path` that raised `error` is answered with. Called where it was caught."""
    match error:
        case Refused():
            return json_response(error.status, encode_message(str(error)), error.headers)
        case NotReady():
            return json_response(503, encode_message(str(error)))
        case _:
            log.exception("answering failed unexpectedly", path=path)
            return json_response(500, encode_message("internal error; the generator's log has the details"))
