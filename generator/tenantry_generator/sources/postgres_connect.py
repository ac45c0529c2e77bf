"""Opens a connection to the primary, wherever it is at present.

With several hosts each is tried in turn, with a deadline of its own: the driver's is for all of them together, so that
one host that swallows packets would keep it from ever trying the next; and it takes the first that answers, which after
a fail-over is the old primary, come back as a standby. The next connection begins with the host that was the primary.
"""

import socket
from dataclasses import replace

import asyncpg

from tenantry_generator.errors import SourceError
from tenantry_generator.settings import Database, Table
from tenantry_generator.sources.postgres_errors import FAILURES, explain

__all__ = ["Connector", "disconnect"]

# (option, seconds, probes or milliseconds): a server whose host has vanished is noticed within 20 s.
_KEEPALIVE = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 15_000),
)


class Connector:
    """Connects to one database. `timeout` and `command_timeout` in seconds: to connect to one host, and for a query."""

    def __init__(self, database: Database, table: Table, *, timeout: float, command_timeout: float) -> None:
        self._database = database
        self._table = table
        self._timeout = timeout
        self._command_timeout = command_timeout
        self._first = 0

    async def connect(self) -> asyncpg.Connection:
        """Return a new connection; what fails is one of FAILURES. Of several hosts only the primary will do."""
        hosts = self._database.hosts
        if not hosts:
            return await self._open({})
        told: dict[int, str] = {}
        for number in (*range(self._first, len(hosts)), *range(self._first)):
            name, port = hosts[number]
            try:
                connection = await self._primary(name, port)
            except FAILURES as error:
                told[number] = explain(error, self._at(name, port), self._table)
            else:
                self._first = number
                return connection
        raise SourceError("none of the hosts will do: " + "; ".join(told[number] for number in sorted(told)))

    def _at(self, name: str, port: int) -> Database:
        return replace(self._database, address=f"{name}:{port}")

    async def _primary(self, name: str, port: int) -> asyncpg.Connection:
        connection = await self._open({"host": name, "port": port})
        try:
            if await connection.fetchval("SELECT pg_is_in_recovery()", timeout=self._timeout):
                raise SourceError(f"{name}:{port} is a standby")
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _open(self, host: dict[str, str | int]) -> asyncpg.Connection:
        connection: asyncpg.Connection = await asyncpg.connect(
            **{**self._database.arguments, **host},  # type: ignore[arg-type]
            timeout=self._timeout,
            command_timeout=self._command_timeout,
            statement_cache_size=0,  # prepared statements don't survive a pooler
            server_settings={"application_name": "tenantry-generator"},
        )
        _keep_alive(connection)
        return connection


async def disconnect(connection: asyncpg.Connection) -> None:
    """Close a connection, without waiting long for a server that may be gone."""
    try:
        await connection.close(timeout=2)
    except FAILURES:
        connection.terminate()


def _keep_alive(connection: asyncpg.Connection) -> None:
    """Make the kernel notice a peer that has vanished; asyncpg has neither a setting for it nor a public socket."""
    transport = connection._transport  # type: ignore[attr-defined]
    peer = transport.get_extra_info("socket")
    if peer is None or peer.family == socket.AF_UNIX:
        return
    for level, option, value in _KEEPALIVE:
        if hasattr(socket, option):
            peer.setsockopt(level, getattr(socket, option), value)
