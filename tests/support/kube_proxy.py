"""A proxy in front of a real API server that sees every request, and puts in what can go wrong on the way.

It runs in the test's process, so that a case decides in Python about each request and each event of a watch. It is
transparent otherwise: paths, headers and bodies go through as they are, watches line by line. Inwards it speaks plain
HTTP, which our clients take and which spares the service under test the TLS.
"""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from tests.support.kube_fates import Fate, Hang, LoseAck, Pass, Reject, Reset
from tests.support.kube_request import Exchange, target_of
from tests.support.kube_views import Event, View
from tests.support.processes import free_port

__all__ = ["Hook", "KubeProxy"]

_HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_SHUTDOWN = 1.0


class Hook:
    """What a case does with the requests that pass; override what is needed."""

    def on_write(self, exchange: Exchange) -> Fate:
        """Decide about a write before anybody else has seen it."""
        return Pass()

    async def committed(self, exchange: Exchange) -> None:
        """The API server has answered a write, and the client knows nothing yet."""

    async def delivered(self, exchange: Exchange) -> None:
        """The answer to a write has been sent to the client."""


class KubeProxy:
    """A proxy to `server`, whose certificate, if it speaks TLS, is checked against the file `authority`.

    `exchanges` has every request so far; `view` is what lists and watches show, from their next event on. What goes
    wrong in a hook is raised when `listening` ends.
    """

    def __init__(self, server: str, authority: Path | None = None) -> None:
        self.exchanges: list[Exchange] = []
        self.view = View()
        self.url = f"http://127.0.0.1:{free_port()}"
        self._server = server
        self._authority = authority
        self._hooks: list[Hook] = []
        self._watches: dict[int, tuple[Exchange, web.Request]] = {}
        self._under_way: set[asyncio.Task[web.Response]] = set()
        self._errors: list[Exception] = []
        self._session: aiohttp.ClientSession

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen at `url` meanwhile."""
        context = ssl.create_default_context(cafile=self._authority)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        application = web.Application(client_max_size=0)
        application.router.add_route("*", "/{path:.*}", self._serve)
        # Cancelled with the connection, so that an upstream watch ends with its client, and a hang too.
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=10),
            skip_auto_headers=_AUTOMATIC,
        ) as self._session:
            await runner.setup()
            address = URL(self.url)
            await web.TCPSite(runner, address.host, address.port).start()
            try:
                yield
            finally:
                self.hang_up()
                await runner.cleanup()
                await asyncio.gather(*self._under_way, return_exceptions=True)
        if self._errors:
            raise self._errors[0]

    def kubeconfig(self, source: Path, directory: Path) -> Path:
        """Return a copy of a kubeconfig that leads to the proxy, with the same credentials."""
        config = json.loads(source.read_text())
        for each in config["clusters"]:
            each["cluster"] = {"server": self.url}
        path = directory / f"proxied-{source.name}"
        path.touch(0o600)
        path.write_text(json.dumps(config))
        return path

    @contextlib.contextmanager
    def hooked(self, hook: Hook) -> Iterator[None]:
        """Let `hook` have its way meanwhile; of several, the first that wants something of a write decides."""
        self._hooks.append(hook)
        try:
            yield
        finally:
            self._hooks.remove(hook)

    def watches(self) -> list[Exchange]:
        """Return the watches that are open."""
        return [exchange for exchange, _ in self._watches.values()]

    def hang_up(self) -> None:
        """End every open watch as a network does, with a reset."""
        for _, request in list(self._watches.values()):
            _reset(request)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        exchange = self._note(request, data)
        if exchange.verb == "watch":
            return await self._watch(request, exchange)
        exchange.fate = self._decide(exchange)
        match exchange.fate:
            case Reject():
                return await self._deliver(request, exchange, _rejection(exchange.fate, exchange))
            case Hang():
                return await asyncio.Future()
            case Reset():
                return _reset(request)
        # Not cancelled with the client: what has been sent is carried out, whoever may still want to know.
        passing = asyncio.create_task(self._pass_on(request, exchange, data))
        self._under_way.add(passing)
        passing.add_done_callback(self._under_way.discard)
        try:
            answer = await asyncio.shield(passing)
        except aiohttp.ClientError:
            return _reset(request)
        if isinstance(exchange.fate, LoseAck):
            return _reset(request)
        return await self._deliver(request, exchange, answer)

    def _note(self, request: web.Request, data: bytes) -> Exchange:
        body = json.loads(data) if data else None
        content_type = request.headers.get("Content-Type", "")
        target = target_of(
            request.method, request.rel_url.raw_path, query=request.query, content_type=content_type, body=body
        )
        exchange = Exchange(
            number=len(self.exchanges) + 1,
            target=target,
            query=dict(request.query),
            body=body,
            agent=request.headers.get("User-Agent", ""),
            at=time.monotonic(),
        )
        self.exchanges.append(exchange)
        return exchange

    def _decide(self, exchange: Exchange) -> Fate:
        if not exchange.is_write:
            return Pass()
        wanted = [hook.on_write(exchange) for hook in self._hooks]
        return next((fate for fate in wanted if not isinstance(fate, Pass)), Pass())

    async def _pass_on(self, request: web.Request, exchange: Exchange, data: bytes) -> web.Response:
        async with self._session.request(
            request.method, self._address(request, exchange), headers=_passed(request.headers), data=data or None
        ) as upstream:
            raw = await upstream.read()
            exchange.status = upstream.status
            if exchange.verb != "list":  # those would be most of the memory
                exchange.raw = raw
            answer = web.Response(status=upstream.status, headers=_passed(upstream.headers), body=raw)
        if exchange.is_write:
            await self._tell([hook.committed(exchange) for hook in self._hooks])
        return answer

    async def _deliver(self, request: web.Request, exchange: Exchange, answer: web.Response) -> web.Response:
        exchange.status = answer.status
        with contextlib.suppress(ConnectionError):
            await answer.prepare(request)
            await answer.write_eof()
            exchange.delivered = request.transport is not None and not request.transport.is_closing()
        if exchange.delivered and exchange.is_write:
            await self._tell([hook.delivered(exchange) for hook in self._hooks])
        return answer

    async def _tell(self, calls: list[Any]) -> None:
        for call in calls:
            try:
                await call
            except Exception as error:  # a mistake of the test, which must not pass for an API server's
                self._errors.append(error)

    def _address(self, request: web.Request, exchange: Exchange) -> URL:
        address = URL(self._server + request.raw_path, encoded=True)
        version = self.view.version(exchange) if exchange.verb == "list" else None
        if version is None or "continue" in exchange.query:
            return address
        return address.update_query(resourceVersion=str(version), resourceVersionMatch="Exact")

    async def _watch(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "application/json"})
        self._watches[exchange.number] = (exchange, request)
        headers = {key: value for key, value in _passed(request.headers).items() if key.lower() != "accept-encoding"}
        try:
            if (gate := self.view.gate(exchange)) is not None:
                await stream.prepare(request)
                await gate.wait()
            async with self._session.get(self._address(request, exchange), headers=headers) as upstream:
                exchange.status = upstream.status
                if not stream.prepared:
                    if upstream.status != 200:
                        return web.Response(
                            status=upstream.status, headers=_passed(upstream.headers), body=await upstream.read()
                        )
                    await stream.prepare(request)
                async for line in _lines(upstream):
                    event = json.loads(line)
                    if await self.view.passes(Event(exchange, event["type"], event["object"])):
                        await stream.write(line)
            await stream.write_eof()
        except (aiohttp.ClientError, ConnectionError):
            _reset(request)
        finally:
            del self._watches[exchange.number]
        return stream


async def _lines(upstream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield a watch's events; of one that is refused an ERROR event, for its client has been told 200 already."""
    if upstream.status != 200:
        status = json.loads(await upstream.read())
        yield json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
        return
    rest = b""
    async for chunk in upstream.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    left = _HOP_BY_HOP | {"host", "content-length"}
    return {key: value for key, value in headers.items() if key.lower() not in left}


def _rejection(fate: Reject, exchange: Exchange) -> web.Response:
    headers = {} if fate.retry_after is None else {"Retry-After": str(fate.retry_after)}
    return web.json_response(fate.answer(str(exchange.target)), status=fate.status, headers=headers)


def _reset(request: web.Request) -> web.Response:
    if isinstance(transport := request.transport, asyncio.Transport):
        transport.abort()
    return web.Response(status=502)
