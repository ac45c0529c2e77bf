"""Answers byte by byte as they come over a socket, and what no answer of ours may ever be, whatever was asked.

A library would hide what matters here: whether the length is told and kept, what follows an answer, and whether a
connection that ends was an answer without an end.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.faults.family import Broken

__all__ = ["Answer", "Connection", "NoAnswer", "check_answer"]

_LONGEST_HEADER = 64 * 1024
_CONTINUE = 100


class NoAnswer(Exception):
    """The connection ended without a byte of an answer. Argo CD takes that for an error."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the connection ends behind it."""
        return self.headers.get("connection", "").lower() == "close"


class Connection:
    """One connection to a service; it is opened when it is needed and has ended."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, *pieces: bytes, then_end: bool = False) -> None:
        """Send bytes, piece by piece; `then_end`: and say that no more will come. NoAnswer: it can't be had."""
        try:
            if self._streams is None:
                address = self._address
                self._streams = await asyncio.open_connection(address.hostname, address.port, limit=_LONGEST_HEADER)
            for piece in pieces:
                self._streams[1].write(piece)
                await self._streams[1].drain()
            if then_end:
                self._streams[1].write_eof()
        except OSError as error:
            self.close()
            raise NoAnswer(str(error)) from None

    async def receive(self, *, to_head: bool = False) -> Answer:
        """Return the next answer; `to_head`: which has no body whatever it says. NoAnswer, or Broken by what it is."""
        if self._streams is None:
            raise NoAnswer("there is no connection")
        try:
            answer = await _read(self._streams[0], to_head=to_head)
        except BaseException:
            self.close()
            raise
        if answer.closes:
            self.close()
        return answer

    @property
    def is_open(self) -> bool:
        """Whether another answer may come."""
        return self._streams is not None

    def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            with suppress(OSError):
                self._streams[1].close()
        self._streams = None


def check_answer(answer: Answer, *, to_head: bool = False) -> None:
    """Raise Broken for what Argo CD, or something on the way to it, could take for an answer that it isn't."""
    status, said = answer.status, f"{answer.status} {dict(answer.headers)} {answer.body[:300]!r}"
    if status in (204, 205) or 300 <= status < 400:
        raise Broken(f"an answer has a status that deletes or leads elsewhere: {said}")
    if not to_head and not answer.body.strip():
        raise Broken(f"an answer has no body: {said}")
    if status >= 400 and answer.headers.get("content-type", "").startswith("application/json") and not to_head:
        document = json.loads(answer.body)
        if document.keys() != {"message"} or not document["message"]:
            raise Broken(f"a refusal says something other than its message: {said}")


async def _read(reader: asyncio.StreamReader, *, to_head: bool) -> Answer:
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if not error.partial.strip():
                raise NoAnswer("the connection ended") from None
            raise Broken(f"a connection ended within a header: {error.partial!r}") from None
        except OSError as error:
            raise NoAnswer(str(error)) from None
        status, headers = _parse_head(head)
        if status != _CONTINUE:
            break
    length = headers.get("content-length", "")
    if "transfer-encoding" in headers or not length.isdecimal():
        raise Broken(f"an answer does not tell its length: {head!r}")
    try:
        body = b"" if to_head else await reader.readexactly(int(length))
    except (asyncio.IncompleteReadError, OSError) as error:
        raise Broken(f"an answer ended before its length: {head!r} {error}") from None
    return Answer(status, headers, body)


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0") or not rest[:3].isdecimal():
        raise Broken(f"what came is no answer, or more of the one before than its length: {head!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() in headers and name.lower() == "content-length":
            raise Broken(f"an answer tells its length twice: {head!r}")
        headers[name.lower()] = value.strip()
    return int(rest[:3]), headers
