"""Tenants out of the table that a sign-up or billing application owns.

The truth is a full read in one consistent transaction; NOTIFY only says that it is time for the next, and polling alone
must do, as it has to through a connection pooler. A read that ends early in any way is thrown away. A row that a read
lacks stays published until a second one, over a new connection, lacks it too; what came or changed does not wait.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import asyncpg

from tenantry.backoff import Backoff
from tenantry.render import POSTGRES, Row
from tenantry.telemetry import get_logger
from tenantry_generator.errors import SourceError
from tenantry_generator.settings import Database, Table
from tenantry_generator.sources import Read
from tenantry_generator.sources.departures import Reading, State, difference, look_again, other, settle
from tenantry_generator.sources.postgres_errors import FAILURES, explain
from tenantry_generator.sources.postgres_read import read_table, standby
from tenantry_generator.sources.table import Record, Rendering, render

__all__ = ["CHANNEL", "PostgresSource", "Timing"]

log = get_logger(__name__)

CHANNEL = "tenantry"

# (option, seconds, probes or milliseconds): a server whose host has vanished is noticed within about 30 s.
_KEEPALIVE = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 10),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 20_000),
)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `poll`: a full read at least so often. `connect`, `command`, `read`: deadlines."""

    poll: float = 30.0
    connect: float = 5.0
    command: float = 20.0
    read: float = 60.0
    first_retry: float = 0.5
    last_retry: float = 30.0


class PostgresSource:
    """The rows of one table, read over one connection at a time."""

    name = POSTGRES

    def __init__(self, database: Database, table: Table, *, timing: Timing | None = None) -> None:
        self._database = database
        self._table = table
        self._timing = timing or Timing()
        self._wake = asyncio.Event()
        self._rendered: Mapping[Record, Row] = {}
        self._state: State | None = None
        self._connections = 0
        self._reported: tuple[object, ...] = ({}, ())
        self._may_listen = True
        self._told_of_system = False
        self.problem: str | None = None
        self.read_at: float | None = None

    def start_over(self) -> None:
        """Do nothing: `run` begins with a new connection and a read."""

    async def run(self, publish: Callable[[Read[Row]], None]) -> None:
        """Read now, at each NOTIFY, every 30 seconds and over each new connection, for ever."""
        backoff = Backoff(first=self._timing.first_retry, cap=self._timing.last_retry)
        while True:
            try:
                connection = await self._connect()
                try:
                    await self._listen(connection)
                    await self._follow(connection, publish, backoff)
                finally:
                    await _close(connection)
            except FAILURES as error:
                self._report(explain(error, self._database, self._table))
                await asyncio.sleep(backoff.next())

    async def _connect(self) -> asyncpg.Connection:
        connection: asyncpg.Connection = await asyncpg.connect(
            **self._database.arguments,  # type: ignore[arg-type]
            timeout=self._timing.connect,
            command_timeout=self._timing.command,
            statement_cache_size=0,  # prepared statements don't survive a pooler
            server_settings={"application_name": "tenantry-generator"},
        )
        self._connections += 1
        _keep_alive(connection)
        connection.add_termination_listener(self._look)
        return connection

    async def _listen(self, connection: asyncpg.Connection) -> None:
        """Listen before the first read, so that no change falls between the two."""
        try:
            await connection.add_listener(CHANNEL, self._look)
        except asyncpg.ReadOnlySQLTransactionError as error:
            # LISTEN is refused during recovery alone. Promoted a moment later, the server would be read, unheard.
            raise standby(self._database) from error
        except asyncpg.PostgresError as error:
            if connection.is_closed():
                raise
            if self._may_listen:
                log.warning("LISTEN failed: changes are found by polling only", error=str(error))
            self._may_listen = False

    async def _follow(
        self, connection: asyncpg.Connection, publish: Callable[[Read[Row]], None], backoff: Backoff
    ) -> None:
        """Read until it takes another connection to tell whether a row has left."""
        clock = asyncio.get_running_loop().time
        number = self._connections
        while True:
            self._wake.clear()
            started = clock()
            async with asyncio.timeout(self._timing.read):
                identity, records = await read_table(connection, self._database, self._table)
            rendering = render(records, self._table.columns, self._rendered)
            state = self._settle(Reading(rendering.read.rows, identity, number, started, clock()))
            self._accept(rendering, state)
            backoff.reset()
            publish(Read(state.rows, rendering.read.rejected))
            # However fast the table changes, at most half of the time goes into reading it.
            await asyncio.sleep(clock() - started)
            await self._wait(look_again(state))
            if other(state, connection=number, now=clock()):
                return

    async def _wait(self, again: float | None) -> None:
        """Wait for a change, for the next poll, or for the time at which an absent row is looked for again."""
        poll = asyncio.get_running_loop().time() + self._timing.poll
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(poll if again is None else min(poll, again)):
                await self._wake.wait()

    def _settle(self, reading: Reading) -> State:
        if self._state is not None:
            problem = difference(self._state.identity, reading.identity, database=self._database, table=self._table)
            if problem is not None:
                raise SourceError(problem)
        if reading.identity.system is None and not self._told_of_system:
            self._told_of_system = True
            log.warning("the role may not call pg_control_system(): a database is told by its name and OIDs alone")
        return settle(self._state, reading)

    def _accept(self, rendering: Rendering, state: State) -> None:
        self._rendered = rendering.rendered
        self._state = state
        self.read_at = time.time()
        if self.problem is not None:
            log.info("Postgres is read again", table=str(self._table))
        self.problem = None
        found = (rendering.read.rejected, rendering.conflicts)
        if found != self._reported and rendering.read.rejected:
            log.warning(
                "some rows can't be published as they are; of differing rows for one name the first in order is",
                table=str(self._table),
                rejected=rendering.read.rejected,
                conflicts=rendering.conflicts[:20],
            )
        self._reported = found

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("Postgres can't be read; trying again", error=problem)
        self.problem = problem

    def _look(self, *_: object) -> None:
        """Look at the table now: it has changed, or the connection has ended."""
        self._wake.set()


def _keep_alive(connection: asyncpg.Connection) -> None:
    """Make the kernel notice a peer that has vanished; asyncpg has neither a setting for it nor a public socket."""
    transport = connection._transport  # type: ignore[attr-defined]
    peer = transport.get_extra_info("socket")
    if peer is None or peer.family == socket.AF_UNIX:
        return
    for level, option, value in _KEEPALIVE:
        if hasattr(socket, option):
            peer.setsockopt(level, getattr(socket, option), value)


async def _close(connection: asyncpg.Connection) -> None:
    try:
        await connection.close(timeout=2)
    except FAILURES:
        connection.terminate()
