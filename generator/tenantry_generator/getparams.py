"""The one request that counts: from its header to an answer, with every check each time.

It is what Argo CD asks and what load comes from, so it goes past the router and everything else that other paths need.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from tenantry.connections import Handler, trust
from tenantry_generator.answer_metrics import Outcome
from tenantry_generator.auth import Tokens
from tenantry_generator.body import Body
from tenantry_generator.by_then import by_then
from tenantry_generator.contract import BODY_LIMIT, Request, accepts_gzip, parse_request
from tenantry_generator.errors import BadToken, NotReady, Refused
from tenantry_generator.metrics import Metrics
from tenantry_generator.received import Reply
from tenantry_generator.responses import Answer, refusal
from tenantry_generator.scope import within
from tenantry_generator.selector import EVERYTHING
from tenantry_generator.turns import Turns

__all__ = ["GETPARAMS", "Getparams", "read_body", "require_role"]

GETPARAMS = "/api/v1/getparams.execute"

_BODY_DEADLINE = 5.0
_ANSWER_DEADLINE = 25.0
"""Seconds; Argo CD waits 30, and a 503 tells more than a connection that it gave up."""
_AT_ONCE, _WAITING = 16, 100
_WORTH_GZIP = 1400
"""Bytes; what fits into one packet gets no faster."""


class Getparams:
    """The handler. So many answers are made or sent at once, and so many requests wait for their turn.

    `answer` gives the reply to a request, `given` one that was given before and would be again; `why_not` says why this
    replica must not answer now, "" when it may; `made_of` what an answer of now is made of.
    """

    def __init__(
        self,
        answer: Callable[[Request], Awaitable[Reply]],
        *,
        given: Callable[[Request], Reply | None],
        tokens: Tokens,
        metrics: Metrics,
        why_not: Callable[[], str],
        made_of: Callable[[], Outcome],
    ) -> None:
        self._answer = answer
        self._given = given
        self._tokens = tokens
        self._metrics = metrics
        self._counts = metrics.answers
        self._why_not = why_not
        self._made_of = made_of
        self._turns = Turns(_AT_ONCE, waiting=_WAITING)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; whatever happens, with a whole answer or with one that is no success."""
        started, applicationset = time.perf_counter(), ""
        response: web.StreamResponse
        try:
            headers = request.headers
            caller = self._tokens.check(headers.getall(hdrs.AUTHORIZATION, []))
            trust(request)
            if request.content.is_eof() and hdrs.CONTENT_ENCODING not in headers:
                body = request.content.read_nowait()
            else:
                body = await read_body(request)
            asked = parse_request(body, headers.get(hdrs.CONTENT_TYPE))
            applicationset = asked.applicationset
            if caller.scope is not EVERYTHING:
                asked = within(asked, caller.scope)
            require_role(self._why_not)
            response = await self._in_turn(request, asked)
        except Exception as error:  # the outermost handler: a message is of more use than a closed connection
            response = self._refusal(error)
        self._counts.count_request(applicationset, response.status, time.perf_counter() - started)
        return response

    def _refusal(self, error: Exception) -> web.Response:
        self._counts.count_answer("refused", None)
        response = refusal(error, GETPARAMS)
        if isinstance(error, BadToken):
            self._metrics.auth_failures.labels(error.kind).inc()
        elif isinstance(error, NotReady) and self._why_not():
            response.force_close()  # or the next request came over this connection, past the Service, here again
        return response

    def before(self, handler: Handler) -> Handler:
        """Return a handler that gives the plain request to this one, and whatever is special about it to `handler`."""

        def handle(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
            if request.raw_path == GETPARAMS and request.method == "POST" and request.content.is_eof():
                return self(request)
            return handler(request)

        return handle

    async def _in_turn(self, request: web.BaseRequest, asked: Request) -> Answer:
        gzip = accepts_gzip(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, ())))
        given = self._given(asked)
        made = None if given is None else _made(given.body, gzip=gzip)
        if given is not None and made is not None and self._turns.take():
            reply, body = given, made  # the short way: nothing to wait for, so nothing that could take too long
        else:
            try:
                reply, body = await by_then(self._reply(asked, gzip=gzip), seconds=_ANSWER_DEADLINE)
            except TimeoutError:
                raise NotReady(f"the answer was not ready within {_ANSWER_DEADLINE:.0f} seconds") from None
        self._counts.count_answer(self._made_of(), body.length)
        return Answer(
            request,
            body,
            gzipped=body is not reply.body,
            why_not=self._why_not,
            sent=reply.sent,
            done=self._turns.give_back,
        )

    async def _reply(self, asked: Request, *, gzip: bool) -> tuple[Reply, Body]:
        """Return the reply and its body as the client takes it, with a turn that is to be given back."""
        if not self._turns.take():
            await self._turns.wait()
        try:
            reply = await self._answer(asked)
            body = _made(reply.body, gzip=gzip)
            return reply, await reply.body.gzipped() if body is None else body
        except BaseException:
            self._turns.give_back()
            raise


def require_role(why_not: Callable[[], str]) -> None:
    """Raise NotReady if this replica must not answer."""
    if why := why_not():
        raise NotReady(why)


async def read_body(request: web.BaseRequest) -> bytes:
    """Return the body. Refused: it is compressed, too long, too late, or not whole."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
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


def _made(body: Body, *, gzip: bool) -> Body | None:
    """Return the body as it goes out, gzipped if the client takes that and it is worth it; None: still to be made."""
    return body.packed if gzip and body.length >= _WORTH_GZIP else body
