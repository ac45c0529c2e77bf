"""Requests on the wire: a body that somebody drew, in every wrapping that HTTP has, and in many that it has not.

Each shot says what may come back. What HTTP leaves no doubt about may be answered with a success; everything else, by
whichever of its bytes it is wrong, must not.
"""

import gzip
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["May", "Shooter", "Shot"]

_PATH = "/api/v1/getparams.execute"
_METHODS = ("GET", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "post", "POSTS", "PRI")
_LOOKS = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/v1/openapi.json",
    "/api/v1/holds",
    "/api/v1/explain/acme_corp",
    "/api/v1/explain/nobody",
    "/api/v1/preview?applicationSet=nobody",
    "/api/v1/preview",
)
_NO_PATHS = (
    "/",
    f"{_PATH}/",
    f"/{_PATH}",
    "/api/v1/getparams",
    "/api/v1/getparams.execute.json",
    "/api//v1/getparams.execute",
    "/api/v1/../v1/getparams.execute/.",
    "/API/v1/getparams.execute",
    "/api/v1/getparams.execute%2f",
    "/healthz/../api",
    "*",
    "",
)
_SIZE_LIMIT = 64 * 1024


class May(Enum):
    """What a request may be answered with."""

    ANSWER = auto()
    """The parameters that its body asks for, or a refusal."""
    REFUSE = auto()
    """A refusal, or nothing."""
    LOOK = auto()
    """Anything but parameters: it asks for something else."""


@dataclass(frozen=True, slots=True)
class Shot:
    """What is sent over a connection, and what each of its requests, by its body, may be answered with.

    `ends`: no more bytes will come. `kind` is for a message.
    """

    kind: str
    pieces: tuple[bytes, ...]
    bodies: tuple[bytes, ...]
    may: May = May.ANSWER
    ends: bool = False
    to_head: bool = False


class Shooter:
    """Makes shots out of the bodies of requests, by a random generator that decides everything."""

    def __init__(self, draw: random.Random, token: str, sets: Sequence[str]) -> None:
        self._draw = draw
        self._token = token
        self._sets = sets
        self._kinds: list[Callable[[bytes], Shot]] = [
            *[self._plain] * 8,
            *[self._named] * 2,
            *[self._chunked, self._in_pieces] * 2,
            *[self._pipelined] * 2,
            self._packed,
            self._cut_short,
            self._method,
            self._path,
            self._look,
            self._token_missing,
            self._content_type,
            self._ambiguous,
            self._odd_header,
            self._garbage,
            self._body_of_bytes,
            self._too_long,
            self._old,
        ]

    def shot(self, body: bytes) -> Shot:
        """Return one shot with a body, if its kind has one."""
        return self._draw.choice(self._kinds)(body)

    def _plain(self, body: bytes) -> Shot:
        accepts = self._draw.choice(["gzip", "gzip, deflate", "identity", "gzip;q=0", "*", "br;q=1, gzip;q=0.2", None])
        path = f"{_PATH}?x=1" if self._draw.random() < 0.1 else _PATH
        return Shot("plain", (self._request(body, path=path, accept=accepts),), (body,))

    def _named(self, body: bytes) -> Shot:
        """As Argo CD asks for an ApplicationSet: with one of few bodies, since each is remembered."""
        status = self._draw.choice(["active", "trial", ["active", "trial"], None])
        inputs = {} if status is None else {"parameters": {"status": status}}
        named = json.dumps({"applicationSetName": self._draw.choice(self._sets), "input": inputs}).encode()
        return Shot("of an ApplicationSet", (self._request(named, accept="gzip"),), (named,))

    def _chunked(self, body: bytes) -> Shot:
        chunks, rest = b"", body
        while rest:
            size = self._draw.randint(1, len(rest))
            extension = self._draw.choice([b"", b";a=b"])
            chunks += f"{size:x}".encode() + extension + b"\r\n" + rest[:size] + b"\r\n"
            rest = rest[size:]
        end = self._draw.choice([b"0\r\n\r\n", b"0\r\nX-Trailer: 1\r\n\r\n"])
        head = self._head(["Content-Type: application/json", "Transfer-Encoding: chunked"])
        return Shot("chunked", (head + chunks + end,), (body,))

    def _in_pieces(self, body: bytes) -> Shot:
        whole = self._request(body)
        cuts = sorted(self._draw.sample(range(1, len(whole)), min(4, len(whole) - 1)))
        pieces = tuple(whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True))
        return Shot("in pieces", pieces, (body,))

    def _pipelined(self, body: bytes) -> Shot:
        bodies = (body, b"", b'{"input":{"parameters":{"status":"active"}}}', body)[: self._draw.randint(2, 4)]
        return Shot("pipelined", (b"".join(self._request(each) for each in bodies),), bodies)

    def _packed(self, body: bytes) -> Shot:
        packed, coding = gzip.compress(body), self._draw.choice(["gzip", "deflate", "br", "x-gzip"])
        return Shot("compressed", (self._request(packed, more=[f"Content-Encoding: {coding}"]),), (body,), May.REFUSE)

    def _cut_short(self, body: bytes) -> Shot:
        whole = self._request(body or b"{}")
        return Shot("cut short", (whole[: self._draw.randint(1, len(whole) - 1)],), (body,), May.REFUSE, ends=True)

    def _method(self, body: bytes) -> Shot:
        method = self._draw.choice(_METHODS)
        to_head = method == "HEAD"
        return Shot(method, (self._request(body, method=method),), (body,), May.REFUSE, to_head=to_head)

    def _path(self, body: bytes) -> Shot:
        path = self._draw.choice(_NO_PATHS)
        return Shot(f"to {path!r}", (self._request(body, path=path),), (body,), May.REFUSE)

    def _look(self, body: bytes) -> Shot:
        path = self._draw.choice(_LOOKS)
        return Shot(f"GET {path}", (self._request(b"", method="GET", path=path),), (b"",), May.LOOK)

    def _token_missing(self, body: bytes) -> Shot:
        authorization = self._draw.choice(
            ["", "Bearer", "Bearer ", "Bearer $tenantry:token", f"Basic {self._token}", f"Bearer {self._token}x"]
        )
        return Shot("no token", (self._request(body, authorization=authorization),), (body,), May.REFUSE)

    def _content_type(self, body: bytes) -> Shot:
        kind = self._draw.choice(["text/plain", "application/x-www-form-urlencoded", "", "application/json5", "json"])
        may = May.REFUSE if kind else May.ANSWER  # one that does not say what it is, is what is expected
        return Shot(f"as {kind!r}", (self._request(body, kind=kind),), (body,), may)

    def _ambiguous(self, body: bytes) -> Shot:
        """Where a request ends is told in two ways: what one reader takes for a body is a request to another."""
        more = self._draw.choice(
            [
                ["Transfer-Encoding: chunked"],
                [f"Content-Length: {len(body) + 1}"],
                ["Content-Length: -1"],
                ["Content-Length: +1"],
                ["Transfer-Encoding: gzip, chunked, identity"],
                ["Transfer-Encoding : chunked"],
            ]
        )
        return Shot(f"with {more[0]}", (self._request(body, more=more),), (body,), May.REFUSE, ends=True)

    def _odd_header(self, body: bytes) -> Shot:
        more, may = self._draw.choice(
            [
                (["Expect: 100-continue"], May.ANSWER),
                (["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQ"], May.ANSWER),
                (["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"], May.ANSWER),
                (
                    ["Range: bytes=0-10", "If-None-Match: *", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"],
                    May.ANSWER,
                ),
                (["Connection: close"], May.ANSWER),
                (["X: " + "a" * 20000], May.REFUSE),
                (["X: a\0b"], May.REFUSE),
                (["X: a\rb"], May.REFUSE),
                ([" folded"], May.REFUSE),
                (["no colon"], May.REFUSE),
                ([f"Authorization: Bearer {self._token}"], May.REFUSE),
            ]
        )
        return Shot(f"with {more[0][:40]!r}", (self._request(body, more=more),), (body,), may, ends=may is May.REFUSE)

    def _garbage(self, body: bytes) -> Shot:
        return Shot("garbage", (self._draw.randbytes(self._draw.randint(1, 200)),), (body,), May.REFUSE, ends=True)

    def _body_of_bytes(self, body: bytes) -> Shot:
        odd = self._draw.choice(
            [
                b"\xef\xbb\xbf{}",
                b'{"input":{"parameters":{"status":"\xff"}}}',
                b'{"input":{"parameters":{"status":NaN}}}',
                b'{"input":' * 3000,
                b"[" * 60000,
                b"{}{}",
                b"{" + body,
                body[: max(1, len(body) // 2)] + b"\0",
            ]
        )
        return Shot("bytes", (self._request(odd),), (odd,), May.REFUSE)

    def _too_long(self, body: bytes) -> Shot:
        long = b'{"input":{}, "more": "' + b"a" * (_SIZE_LIMIT + self._draw.randint(0, 5000)) + b'"}'
        return Shot("too long", (self._request(long),), (long,), May.REFUSE)

    def _old(self, body: bytes) -> Shot:
        more = self._draw.choice([[], ["Connection: keep-alive"]])
        return Shot("HTTP/1.0", (self._request(body, version="1.0", more=more),), (body,))

    def _request(
        self,
        body: bytes,
        *,
        method: str = "POST",
        path: str = _PATH,
        kind: str = "application/json",
        authorization: str | None = None,
        accept: str | None = None,
        version: str = "1.1",
        more: Sequence[str] = (),
    ) -> bytes:
        lines = [
            *([f"Accept-Encoding: {accept}"] if accept else []),
            *([f"Content-Type: {kind}"] if kind else []),
            *more,
        ]
        if body or self._draw.random() < 0.5:
            lines.append(f"Content-Length: {len(body)}")
        return self._head(lines, method=method, path=path, authorization=authorization, version=version) + body

    def _head(
        self,
        lines: Sequence[str],
        *,
        method: str = "POST",
        path: str = _PATH,
        authorization: str | None = None,
        version: str = "1.1",
    ) -> bytes:
        given = f"Bearer {self._token}" if authorization is None else authorization
        first = [f"{method} {path} HTTP/{version}", "Host: generator", *([f"Authorization: {given}"] if given else [])]
        return "\r\n".join([*first, *lines, "", ""]).encode()
