"""Whether this process is the one that works, and what it tells probes, from its first second to its last.

kopf's own probe endpoint exists only while kopf runs, and a standby doesn't run kopf. A standby is alive and ready:
were it not, a roll-out would wait for it for ever. When the Lease is lost the process ends on the spot, because
whatever it still did could meet what the next holder does.
"""

import asyncio
import os

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from tenantry.errors import NotFound
from tenantry.lease import Elector
from tenantry.telemetry import get_logger
from tenantry_operator.metrics import Metrics
from tenantry_operator.worker import Worker

__all__ = ["LEASE", "acquired", "end_at_once", "make_app"]

log = get_logger(__name__)

LEASE = "tenantry-operator"
_WORKER = web.AppKey("worker", Worker)
_METRICS = web.AppKey("metrics", Metrics)


async def acquired(elector: Elector, stop: asyncio.Event) -> bool:
    """Wait for the Lease; return False when `stop` is set first. NotFound: its namespace does not exist."""
    acquiring, stopping = asyncio.create_task(elector.acquire()), asyncio.create_task(stop.wait())
    await asyncio.wait([acquiring, stopping], return_when=asyncio.FIRST_COMPLETED)
    for task in (acquiring, stopping):
        task.cancel()
    await asyncio.wait([acquiring, stopping])
    if acquiring.cancelled():
        return False
    try:
        acquiring.result()
    except NotFound as error:
        raise NotFound(f"{error}; create it, or name another in TENANTRY_LEASE_NAMESPACE") from error
    return True


def end_at_once(why: str) -> None:
    """End the process with code 1, without any clean-up: a clean-up could write, too."""
    log.error("the Lease is lost; this process ends", lease=LEASE, because=why)
    os._exit(1)


def make_app(worker: Worker, metrics: Metrics) -> web.Application:
    """Return the application that answers GET /healthz, /readyz and /metrics."""
    app = web.Application()
    app[_WORKER] = worker
    app[_METRICS] = metrics
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    return app


async def _healthz(request: web.Request) -> web.Response:
    return _answer(request.app[_WORKER].trouble())


async def _readyz(request: web.Request) -> web.Response:
    return _answer(request.app[_WORKER].unready())


async def _metrics(request: web.Request) -> web.Response:
    text = request.app[_METRICS].render()
    return _closing(web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST}))


def _answer(trouble: str) -> web.Response:
    return _closing(web.Response(status=503 if trouble else 200, text=f"{trouble or 'ok'}\n"))


def _closing(response: web.Response) -> web.Response:
    # kopf, when it ends, waits five seconds for every task that began after it: no connection may stay open.
    response.force_close()
    return response
