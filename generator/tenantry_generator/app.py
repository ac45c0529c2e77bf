"""The HTTP side. Whatever happens, Argo CD gets a whole answer or one that it can't take for "no tenants".

So: no redirect, no 204, no success on any path but the real ones, JSON with a `message` for everything else, and no
body whose length is not known before it starts.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST

from tenantry.telemetry import get_logger
from tenantry_generator.auth import Tokens
from tenantry_generator.contract import (
    BODY_LIMIT,
    encode_message,
    parse_request,
)
from tenantry_generator.errors import NotReady, Refused
from tenantry_generator.metrics import Metrics
from tenantry_generator.publisher import Publisher
from tenantry_generator.query import accepted_parameters, parse_query

__all__ = ["GETPARAMS", "make_app"]

log = get_logger(__name__)

GETPARAMS = "/api/v1/getparams.execute"

_BODY_DEADLINE = 10.0

_PUBLISHER = web.AppKey("publisher", Publisher)
_TOKENS = web.AppKey("tokens", Tokens)
_METRICS = web.AppKey("metrics", Metrics)
_WHY_NOT = web.AppKey[Callable[[], str]]("why_not")
_ACCEPTED = web.AppKey[Collection[str]]("accepted")
_APPLICATIONSET = web.RequestKey("applicationset", str)


def make_app(
    *, publisher: Publisher, tokens: Tokens, metrics: Metrics, columns: Sequence[str], why_not: Callable[[], str]
) -> web.Application:
    """Return the application; while it runs it follows the publisher's sources.

    `why_not` says why this replica must not answer now, "" when it may.
    """
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_measure, _say_what_failed])
    app[_PUBLISHER] = publisher
    app[_TOKENS] = tokens
    app[_METRICS] = metrics
    app[_WHY_NOT] = why_not
    app[_ACCEPTED] = accepted_parameters(columns)
    app.router.add_post(GETPARAMS, _getparams)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    app.cleanup_ctx.append(_follow_sources)
    return app


async def _getparams(request: web.Request) -> web.Response:
    request.app[_TOKENS].check(request.headers.getall("Authorization", []))
    call = parse_request(await _body(request), request.headers.get("Content-Type"))
    request[_APPLICATIONSET] = call.applicationset
    query = parse_query(call.parameters, request.app[_ACCEPTED])
    why_not = request.app[_WHY_NOT]
    if why := why_not():
        raise NotReady(why)
    return _Answer(request.app[_PUBLISHER].current().answer(query), why_not)


async def _body(request: web.Request) -> bytes:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused(415, "the body must not be compressed")
    try:
        async with asyncio.timeout(_BODY_DEADLINE):
            return await request.read()
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {_BODY_DEADLINE:.0f} seconds") from None
    except (ConnectionError, web.RequestPayloadError):
        raise Refused(400, "the body did not arrive whole") from None
    except web.HTTPRequestEntityTooLarge:
        raise Refused(413, f"the body is longer than {BODY_LIMIT} bytes") from None


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.Response:
    try:
        request.app[_PUBLISHER].current()
    except NotReady as error:
        return web.Response(status=503, text=f"{error}\n")
    return web.Response(text="ok\n")


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(body=request.app[_METRICS].render(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@web.middleware
async def _measure(request: web.Request, handler: Handler) -> web.StreamResponse:
    started = time.perf_counter()
    response = await handler(request)
    if request.path == GETPARAMS:
        label = request.get(_APPLICATIONSET, "")
        request.app[_METRICS].count_request(label, response.status, time.perf_counter() - started)
    return response


@web.middleware
async def _say_what_failed(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as error:
        return _json(error.status, encode_message(str(error)), error.headers)
    except NotReady as error:
        return _json(503, encode_message(str(error)))
    except web.HTTPMethodNotAllowed as error:
        message = f"{request.path} is asked with {', '.join(sorted(error.allowed_methods))}"
        return _json(405, encode_message(message), {"Allow": error.headers["Allow"]})
    except web.HTTPNotFound:
        return _json(404, encode_message(f"there is nothing here; parameters are at POST {GETPARAMS}"))
    except Exception:
        # The outermost handler: an answer with a message is of more use than a closed connection.
        log.exception("answering failed unexpectedly", path=request.path)
        return _json(500, encode_message("internal error; the generator's log has the details"))


class _Answer(web.Response):
    """A 200 that looks once more, right before its first byte, whether this replica may still give it.

    The process may have been stopped since, for longer than its Lease lasts.
    """

    def __init__(self, body: bytes, why_not: Callable[[], str]) -> None:
        super().__init__(status=200, body=body, content_type="application/json")
        self._why_not = why_not

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if why := self._why_not():
            self.set_status(503)
            self.body = encode_message(why)
        return await super().prepare(request)


def _json(status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


async def _follow_sources(app: web.Application) -> AsyncIterator[None]:
    following = asyncio.create_task(app[_PUBLISHER].run(), name="sources")
    yield
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
