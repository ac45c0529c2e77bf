"""The HTTP side. Whatever happens, Argo CD gets a whole answer or one that it can't take for "no tenants".

So: no redirect, no 204, no success on any path but the real ones, JSON with a `message` for everything else, and no
body whose length is not known before it starts.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST

from tenantry.telemetry import get_logger
from tenantry_generator.acknowledging import acknowledge_hold, describe
from tenantry_generator.answers import HOLDS, Answers
from tenantry_generator.auth import Tokens
from tenantry_generator.contract import (
    BODY_LIMIT,
    encode_message,
    parse_acknowledgement,
    parse_request,
)
from tenantry_generator.errors import BadToken, NotReady, Refused
from tenantry_generator.events import Announce
from tenantry_generator.inspecting import add_inspection
from tenantry_generator.metrics import Metrics, Outcome
from tenantry_generator.openapi import OPENAPI, load_openapi
from tenantry_generator.publisher import Publisher
from tenantry_generator.received import Reply
from tenantry_generator.sources.clusters import Clusters

__all__ = ["GETPARAMS", "make_app"]

log = get_logger(__name__)

GETPARAMS = "/api/v1/getparams.execute"

_BODY_DEADLINE = 10.0

_PUBLISHER = web.AppKey("publisher", Publisher)
_TOKENS = web.AppKey("tokens", Tokens)
_METRICS = web.AppKey("metrics", Metrics)
_ANSWERS = web.AppKey("answers", Answers)
_ADMINS = web.AppKey("admins", Tokens)
_ANNOUNCE = web.AppKey[Announce]("announce")
_WHY_NOT = web.AppKey[Callable[[], str]]("why_not")
_DOCUMENT = web.AppKey("openapi", bytes)
_CLUSTERS = web.AppKey("clusters", Clusters)
_APPLICATIONSET = web.RequestKey("applicationset", str)


def make_app(
    *,
    publisher: Publisher,
    clusters: Clusters,
    answers: Answers,
    tokens: Tokens,
    admins: Tokens,
    announce: Announce,
    metrics: Metrics,
    why_not: Callable[[], str],
) -> web.Application:
    """Return the application; while it runs it follows the publisher's sources, and the clusters' namespaces.

    `admins` may acknowledge holds. `why_not` says why this replica must not answer now, "" when it may.
    """
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_measure, _say_what_failed])
    app[_PUBLISHER] = publisher
    app[_CLUSTERS] = clusters
    app[_TOKENS] = tokens
    app[_METRICS] = metrics
    app[_ANSWERS] = answers
    app[_ADMINS] = admins
    app[_ANNOUNCE] = announce
    app[_WHY_NOT] = why_not
    app[_DOCUMENT] = load_openapi()
    app.router.add_post(GETPARAMS, _getparams)
    app.router.add_get(HOLDS, _holds, allow_head=False)
    app.router.add_post(HOLDS, _acknowledge)
    add_inspection(app, publisher, answers, _check_look)
    app.router.add_get(OPENAPI, _openapi)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    app.cleanup_ctx.append(_follow_sources)
    return app


async def _getparams(request: web.Request) -> web.Response:
    request.app[_TOKENS].check(request.headers.getall("Authorization", []))
    call = parse_request(await _body(request), request.headers.get("Content-Type"))
    request[_APPLICATIONSET] = call.applicationset
    why_not = request.app[_WHY_NOT]
    _require_role(request)
    return _Answer(await request.app[_ANSWERS].answer(call), why_not)


def _check_look(request: web.Request) -> None:
    _check_either(request)
    _require_role(request)


def _require_role(request: web.Request) -> None:
    if why := request.app[_WHY_NOT]():
        raise NotReady(why)


async def _holds(request: web.Request) -> web.Response:
    _check_look(request)
    request.app[_PUBLISHER].current()
    found = describe(request.app[_PUBLISHER], request.app[_ANSWERS])
    return _json(200, json.dumps({"holds": found}, ensure_ascii=False).encode())


async def _acknowledge(request: web.Request) -> web.Response:
    if not request.app[_ADMINS]:
        raise Refused(403, "no token may acknowledge yet: put one into a file of TENANTRY_ADMIN_TOKEN_DIR")
    token = request.app[_ADMINS].check(request.headers.getall("Authorization", []))
    _require_role(request)
    given, name = parse_acknowledgement(await _body(request))
    by = f"{name} (token {token})" if name else f"token {token}"
    done = await acknowledge_hold(request.app[_PUBLISHER], request.app[_ANSWERS], given, by=by)
    await request.app[_ANNOUNCE](f"{by} acknowledged the hold {given} of {done.set}: {len(done.released)} released")
    body: dict[str, Any] = {"hash": given, "set": done.set, "by": by, "released": done.released}
    if done.pending is not None:
        return _json(202, json.dumps({**body, "message": done.pending}).encode())
    return _json(200, json.dumps(body).encode())


def _check_either(request: web.Request) -> None:
    headers = request.headers.getall("Authorization", [])
    try:
        request.app[_TOKENS].check(headers)
    except Refused:
        if not request.app[_ADMINS]:
            raise
        request.app[_ADMINS].check(headers)


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


async def _openapi(request: web.Request) -> web.Response:
    return _json(200, request.app[_DOCUMENT])


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.Response:
    try:
        request.app[_PUBLISHER].require_ready()
    except NotReady as error:
        return web.Response(status=503, text=f"{error}\n")
    publisher = request.app[_PUBLISHER]
    notes = ["ok"]
    if publisher.problem is not None:
        notes.append(publisher.problem)
    if publisher.unread:
        notes.append(f"served as recorded, not read since the start: {', '.join(publisher.unread)}")
    return web.Response(text="\n".join(notes) + "\n")


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(body=request.app[_METRICS].render(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@web.middleware
async def _measure(request: web.Request, handler: Handler) -> web.StreamResponse:
    started = time.perf_counter()
    response = await handler(request)
    if request.path == GETPARAMS:
        label = request.get(_APPLICATIONSET, "")
        request.app[_METRICS].count_request(label, response.status, time.perf_counter() - started)
        size = response.content_length if response.status == 200 else None
        request.app[_METRICS].count_answer(_outcome(response.status, request.app[_PUBLISHER]), size)
    return response


def _outcome(status: int, publisher: Publisher) -> Outcome:
    if status != 200:
        return "refused"
    if publisher.unread:
        return "recorded"
    return "fresh" if publisher.all_sure and publisher.problem is None else "last_good"


@web.middleware
async def _say_what_failed(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as error:
        if isinstance(error, BadToken):
            request.app[_METRICS].auth_failures.labels(error.kind).inc()
        return _json(error.status, encode_message(str(error)), error.headers)
    except NotReady as error:
        response = _json(503, encode_message(str(error)))
        if request.app[_WHY_NOT]():
            response.force_close()  # or the next request came over this connection, past the Service, here again
        return response
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

    def __init__(self, reply: Reply, why_not: Callable[[], str]) -> None:
        super().__init__(status=200, body=bytes(reply.body), content_type="application/json")
        self._why_not = why_not
        self._sent = reply.sent

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if why := self._why_not():
            self.set_status(503)
            self.body = encode_message(why)
            self.force_close()
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        await super().write_eof(data)
        if self.status == 200:
            self._sent()


def _json(status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


async def _follow_sources(app: web.Application) -> AsyncIterator[None]:
    following = [
        asyncio.create_task(app[_PUBLISHER].run(), name="sources"),
        asyncio.create_task(app[_CLUSTERS].run(), name="namespaces"),
    ]
    yield
    for task in following:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
