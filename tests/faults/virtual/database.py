"""PostgreSQL in memory: servers, one of which the address leads to, each with a table and what a read can meet there.

Just what the generator asks of one is answered, to the letter; anything else is an error of the simulation.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self, cast

import asyncpg

from tenantry_generator.sources import postgres_read
from tenantry_generator.sources.postgres_connect import Connector
from tests.faults.virtual.clock import Clock

__all__ = ["Server", "VirtualConnector", "VirtualPostgres"]

_PAGE = 7
"""Records that a fetch brings, fewer than it asks for, so that a read can break in the middle of a small table."""


@dataclass(slots=True)
class Server:
    """`rows`: status by tenant; `strays`: further records as they are. `hidden`: tenants that a policy hides."""

    system: str = "7001"
    database: int = 16384
    table: int | None = 16400
    schema: str = "public"
    number: int = 2
    kind: str = "text"
    standby: bool = False
    position: int = 1000
    rows: dict[str, str] = field(default_factory=dict)
    strays: list[tuple[str, str]] = field(default_factory=list)
    hidden: frozenset[str] = frozenset()
    may_read_system: bool = True

    def copy(self, **changes: Any) -> "Server":
        """Return another server with the same rows."""
        return replace(self, rows=dict(self.rows), strays=list(self.strays), **changes)


class VirtualPostgres:
    """`trouble`: what befalls connections and reads, "" for nothing. `slow`: seconds of each page of a read.

    After so many pages the next read breaks (`breaks_after`), or every one (`breaks_always`).
    """

    def __init__(self, clock: Clock, server: Server) -> None:
        self.clock = clock
        self.server = server
        self.trouble = ""
        self.slow = 0.0
        self.notifies = True
        self.breaks_after: int | None = None
        self.breaks_always: int | None = None
        self.connections: list[_Connection] = []

    def changed(self) -> None:
        """Tell who listens, where the trigger is installed."""
        self.server.position += 1
        if self.notifies and self.trouble not in ("hang", "refuse"):
            for connection in list(self.connections):
                connection.tell()

    def break_connections(self) -> None:
        """End every connection, as a restart of the server or a fail-over does."""
        for connection in list(self.connections):
            connection.lose()

    def failure(self) -> Exception | None:
        """Return what a statement fails with."""
        match self.trouble:
            case "error":
                return asyncpg.DiskFullError("could not write to file")
            case "timeout":
                return asyncpg.QueryCanceledError("canceling statement due to statement timeout")
            case "denied":
                return asyncpg.InsufficientPrivilegeError("permission denied for table organization")
            case "locked":
                return asyncpg.LockNotAvailableError("canceling statement due to lock timeout")
        return None


class VirtualConnector(Connector):
    """The real one, but for what opens a connection.

    `read_as_of`: the time of what was last read completely.

    `accepted`: the times of all reads that were not refused.
    """

    postgres: VirtualPostgres
    dead = False
    cut = False
    read_as_of: float | None = None
    accepted: list[float]

    async def _open(self, host: dict[str, str | int]) -> asyncpg.Connection:
        postgres = self.postgres
        if self.dead or postgres.trouble == "refuse":
            await asyncio.sleep(0.001)
            raise ConnectionRefusedError("connection refused")
        if self.cut or postgres.trouble == "hang":
            await asyncio.sleep(self._timeout)
            raise TimeoutError
        match postgres.trouble:
            case "password":
                raise asyncpg.InvalidPasswordError("password authentication failed")
            case "full":
                raise asyncpg.TooManyConnectionsError("sorry, too many clients already")
            case "starting":
                raise asyncpg.CannotConnectNowError("the database system is starting up")
        return cast("asyncpg.Connection", _Connection(self, postgres, self._command_timeout))


class _Connection:
    def __init__(self, client: VirtualConnector, postgres: VirtualPostgres, timeout: float) -> None:
        self._client = client
        self._postgres = postgres
        self._server = postgres.server
        self._timeout = timeout
        self._closed = False
        self._told: list[Callable[..., None]] = []
        self._listeners: list[Callable[..., None]] = []
        self._settings: set[str] = set()
        self._read_at: float | None = None
        postgres.connections.append(self)

    def add_termination_listener(self, told: Callable[..., None]) -> None:
        self._told.append(told)

    async def add_listener(self, channel: str, told: Callable[..., None]) -> None:
        await self._work()
        if self._server.standby:
            raise asyncpg.ReadOnlySQLTransactionError("cannot execute LISTEN during recovery")
        self._listeners.append(told)

    def tell(self) -> None:
        if not self._client.cut:
            for listener in self._listeners:
                listener(self, 0, "tenantry", "")

    def lose(self) -> None:
        """End, whatever is going on."""
        if self._closed:
            return
        self._closed = True
        self._postgres.connections.remove(self)
        for told in self._told:
            told(self)

    def is_closed(self) -> bool:
        return self._closed

    async def close(self, *, timeout: float) -> None:
        self.lose()

    def terminate(self) -> None:
        self.lose()

    async def execute(self, query: str, *, timeout: float | None = None) -> str:
        await self._work(timeout)
        if query.startswith("SET LOCAL"):
            self._settings.add(query)
        elif query != "SELECT 1":
            raise AssertionError(f"no such statement is known here: {query}")
        return ""

    async def fetchval(self, query: str, *, timeout: float | None = None) -> Any:
        await self._work(timeout)
        server = self._server
        if "pg_current_wal_flush_lsn" in query:
            if server.standby:
                raise asyncpg.ObjectNotInPrerequisiteStateError("recovery is in progress")
            return server.position
        answers = {
            "SELECT pg_is_in_recovery()": server.standby,
            postgres_read._MAY_READ_SYSTEM: server.may_read_system,
            postgres_read._SYSTEM: server.system,
        }
        return answers[query]

    async def fetchrow(self, query: str, *args: Any) -> dict[str, Any] | None:
        await self._work()
        server = self._server
        if query == postgres_read._SERVER:
            return {"standby": server.standby, "raw": False}
        assert query == postgres_read._TABLE, query
        if server.table is None:
            return None
        return {
            "database": server.database,
            "datname": "app",
            "nspname": server.schema,
            "table": server.table,
            "definition": None,
            "parts": [],
        }

    async def fetch(self, query: str, table: int, names: list[str]) -> list[tuple[str, int, str, list[str]]]:
        await self._work()
        assert query == postgres_read._COLUMNS, query
        return [("status", self._server.number, self._server.kind, []), ("tenant", 1, "text", [])]

    def transaction(self, *, isolation: str, readonly: bool) -> "_Transaction":
        assert (isolation, readonly) == ("repeatable_read", True)
        return _Transaction(self)

    async def cursor(self, query: str) -> "_Cursor":
        await self._work()
        server = self._server
        if server.table is None:
            raise asyncpg.UndefinedTableError('relation "organization" does not exist')
        if server.hidden and "SET LOCAL row_security = off" in self._settings:
            raise asyncpg.InsufficientPrivilegeError("query would be affected by row-level security policy")
        self._read_at = self._postgres.clock.now
        rows = [each for each in server.rows.items() if each[0] not in server.hidden]
        return _Cursor(self, [*rows, *server.strays])

    def begin(self) -> None:
        self._settings.clear()
        self._read_at = None

    def end(self) -> None:
        if self._read_at is not None and not self._closed:
            self._client.read_as_of = self._read_at

    async def _work(self, timeout: float | None = None) -> None:
        """Fail or hang as the server does now."""
        if self._closed:
            raise asyncpg.InterfaceError("connection is closed")
        if self._client.dead:
            self.lose()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        if self._client.cut or self._postgres.trouble == "hang":
            await asyncio.sleep(timeout or self._timeout)
            raise TimeoutError
        if (error := self._postgres.failure()) is not None:
            raise error


class _Transaction:
    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    async def __aenter__(self) -> Self:
        await self._connection._work()
        self._connection.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self._connection._work()
            self._connection.end()


class _Cursor:
    def __init__(self, connection: _Connection, records: list[tuple[str, str]]) -> None:
        self._connection = connection
        self._records = records
        self._at = 0
        self._pages = 0

    async def fetch(self, most: int) -> list[tuple[str, str]]:
        postgres = self._connection._postgres
        await self._connection._work()
        if postgres.slow:
            await asyncio.sleep(postgres.slow)
            await self._connection._work()
        most_pages = postgres.breaks_always if postgres.breaks_after is None else postgres.breaks_after
        if most_pages is not None and self._pages >= most_pages:
            postgres.breaks_after = None
            self._connection.lose()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        self._pages += 1
        size = most if len(self._records) > 100 * _PAGE else _PAGE
        page = self._records[self._at : self._at + size]
        self._at += size
        return page
