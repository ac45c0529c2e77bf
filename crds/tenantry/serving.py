"""Serving HTTP on the address of TENANTRY_BIND, the same way for each service."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from ssl import SSLContext

from aiohttp import web

from tenantry.connections import Connections, Ended, Handler, Limits, watched
from tenantry.errors import SettingsError

__all__ = ["serving"]

_ACCEPTED_AT_ONCE = 100
_BACKLOG = 4096
"""Connections that the kernel keeps for us. Beyond it drops the newcomer, who only tries again a second later."""


@asynccontextmanager
async def serving(
    runner: web.AppRunner,
    address: tuple[str, int],
    *,
    tls: SSLContext | None = None,
    first: Callable[[Handler], Handler] = lambda handler: handler,
    limits: Limits | None = None,
    on_ended: Callable[[Ended], None] = lambda why: None,
) -> AsyncIterator[None]:
    """Serve during the block, and end in order afterwards. SettingsError: the address, (host, port), can't be had.

    `first` is given the application's handler and returns the one that is asked. `on_ended` is told of each connection
    that a limit has ended.
    """
    _raise_file_limit()
    await runner.setup()
    server = runner.server
    if server is None:
        raise RuntimeError("the runner has no server after its setup")
    server.request_handler = watched(first(server.request_handler))
    connections = Connections(server, limits or Limits(), on_ended=on_ended)
    try:
        listening = await _listen(connections, *address, tls=tls)
        sweeping = asyncio.create_task(connections.sweep(), name="connections")
        try:
            yield
        finally:
            listening.close()
            sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await sweeping
    finally:
        await runner.cleanup()


async def _listen(connections: Connections, host: str, port: int, *, tls: SSLContext | None) -> asyncio.Server:
    handshake = None if tls is None else connections.limits.header
    try:
        listening = await asyncio.get_running_loop().create_server(
            connections, host, port, ssl=tls, ssl_handshake_timeout=handshake, backlog=_ACCEPTED_AT_ONCE
        )
    except OSError as error:
        accepts = f"an address that is free on this machine ({error.strerror or error})"
        raise SettingsError("TENANTRY_BIND", f"{host}:{port}", accepts) from error
    # asyncio accepts as many in one go as it has the kernel keep, and nothing else goes on meanwhile.
    for each in listening.sockets:
        with socket.fromfd(each.fileno(), each.family, each.type) as same:
            same.listen(_BACKLOG)
    return listening


def _raise_file_limit() -> None:
    """Let this process have as many sockets as it may: the soft limit is for programs of the time of select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems have a hard limit that can't be had
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
