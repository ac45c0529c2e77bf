"""The HTTP side. Whatever happens, Argo CD gets a whole answer or one that it can't take for "no tenants".

So: no redirect, no 204, no success on any path but the real ones, JSON with a `message` for everything else, and no
body whose length is not known before it starts.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import typedefs, web
from prometheus_client import CONTENT_TYPE_LATEST

from tenantry.connections import Handler, trust
from tenantry_generator.acknowledging import acknowledge_hold, describe
from tenantry_generator.answers import Answers
from tenantry_generator.auth import Tokens
from tenantry_generator.contacts import HOLDS
from tenantry_generator.contract import BODY_LIMIT, encode_message, parse_acknowledgement
from tenantry_generator.errors import BadToken, NotReady, Refused
from tenantry_generator.events import Announce
from tenantry_generator.getparams import GETPARAMS, Getparams, read_body, require_role
from tenantry_generator.inspecting import add_inspection
from tenantry_generator.metrics import Metrics
from tenantry_generator.openapi import OPENAPI, load_openapi
from tenantry_generator.publisher import Publisher
from tenantry_generator.responses import json_response, refusal
from tenantry_generator.sources.clusters import Clusters

__all__ = ["GETPARAMS", "before_routing", "make_app"]

_DEADLINE = 60.0
"""Seconds for a look or an acknowledgement, which people wait for."""

_PUBLISHER = web.AppKey("publisher", Publisher)
_TOKENS = web.AppKey("tokens", Tokens)
_METRICS = web.AppKey("metrics", Metrics)
_ANSWERS = web.AppKey("answers", Answers)
_GETPARAMS = web.AppKey("getparams", Getparams)
_ADMINS = web.AppKey("admins", Tokens)
_ANNOUNCE = web.AppKey[Announce]("announce")
_WHY_NOT = web.AppKey[Callable[[], str]]("why_not")
_DOCUMENT = web.AppKey("openapi", bytes)
_CLUSTERS = web.AppKey("clusters", Clusters)


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
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_say_what_failed])
    app[_PUBLISHER] = publisher
    app[_CLUSTERS] = clusters
    app[_TOKENS] = tokens
    app[_METRICS] = metrics
    app[_ANSWERS] = answers
    app[_ADMINS] = admins
    app[_ANNOUNCE] = announce
    app[_WHY_NOT] = why_not
    app[_DOCUMENT] = load_openapi()
    app[_GETPARAMS] = Getparams(
        answers.answer,
        given=answers.given,
        tokens=tokens,
        metrics=metrics,
        why_not=why_not,
        made_of=lambda: publisher.made_of,
    )
    app.router.add_post(GETPARAMS, app[_GETPARAMS].__call__)
    app.router.add_get(HOLDS, _holds, allow_head=False)
    app.router.add_post(HOLDS, _acknowledge)
    add_inspection(app, publisher, answers, _check_look)
    app.router.add_get(OPENAPI, _openapi)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    app.cleanup_ctx.append(_follow_sources)
    return app


def before_routing(app: web.Application) -> Callable[[Handler], Handler]:
    """Return what a server puts in front of the application's own handler."""
    return app[_GETPARAMS].before


def _check_look(request: web.Request) -> None:
    _check_either(request)
    require_role(request.app[_WHY_NOT])


async def _holds(request: web.Request) -> web.Response:
    _check_look(request)
    request.app[_PUBLISHER].current()
    found = describe(request.app[_PUBLISHER], request.app[_ANSWERS])
    return json_response(200, json.dumps({"holds": found}, ensure_ascii=False).encode())


async def _acknowledge(request: web.Request) -> web.Response:
    if not request.app[_ADMINS]:
        raise Refused(403, "no token may acknowledge yet: put one into a file of TENANTRY_ADMIN_TOKEN_DIR")
    caller = request.app[_ADMINS].check(request.headers.getall("Authorization", []))
    caller.require_unbound()
    trust(request)
    require_role(request.app[_WHY_NOT])
    given, name = parse_acknowledgement(await read_body(request))
    by = f"{name} (token {caller.name})" if name else f"token {caller.name}"
    done = await acknowledge_hold(request.app[_PUBLISHER], request.app[_ANSWERS], given, by=by)
    await request.app[_ANNOUNCE](f"{by} acknowledged the hold {given} of {done.set}: {len(done.released)} released")
    body: dict[str, Any] = {"hash": given, "set": done.set, "by": by, "released": done.released}
    if done.pending is not None:
        return json_response(202, json.dumps({**body, "message": done.pending}).encode())
    return json_response(200, json.dumps(body).encode())


def _check_either(request: web.Request) -> None:
    headers = request.headers.getall("Authorization", [])
    try:
        caller = request.app[_TOKENS].check(headers)
    except Refused:
        if not request.app[_ADMINS]:
            raise
        caller = request.app[_ADMINS].check(headers)
    caller.require_unbound()
    trust(request)


async def _openapi(request: web.Request) -> web.Response:
    return json_response(200, request.app[_DOCUMENT])


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
    if publisher.feeds.unread:
        notes.append(f"served as recorded, not read since the start: {', '.join(publisher.feeds.unread)}")
    return web.Response(text="\n".join(notes) + "\n")


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(body=request.app[_METRICS].render(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@web.middleware
async def _say_what_failed(request: web.Request, handler: typedefs.Handler) -> web.StreamResponse:
    try:
        async with asyncio.timeout(_DEADLINE):
            return await handler(request)
    except TimeoutError:
        return refusal(NotReady(f"not done within {_DEADLINE:.0f} seconds"), request.path)
    except web.HTTPMethodNotAllowed as error:
        if request.path == GETPARAMS:
            request.app[_METRICS].answers.count_request("", error.status, 0.0)
        message = f"{request.path} is asked with {', '.join(sorted(error.allowed_methods))}"
        return json_response(405, encode_message(message), {"Allow": error.headers["Allow"]})
    except web.HTTPNotFound:
        return json_response(404, encode_message(f"there is nothing here; parameters are at POST {GETPARAMS}"))
    except BadToken as error:
        request.app[_METRICS].auth_failures.labels(error.kind).inc()
        return refusal(error, request.path)
    except Exception as error:  # the outermost handler: a message is of more use than a closed connection
        return refusal(error, request.path)


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
