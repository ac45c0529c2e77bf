"""Tenants out of the table that a sign-up or billing application owns.

The truth is a full read in one consistent transaction; NOTIFY only says that it is time for the next, and polling alone
must do, as it has to through a connection pooler. A read that ends early in any way is thrown away. A row that a read
lacks stays published until a second one, over a new connection, lacks it too; what came or changed does not wait.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from tenantry.backoff import Backoff
from tenantry.render import POSTGRES, Row
from tenantry.telemetry import get_logger
from tenantry_generator.blockmap import BlockMap
from tenantry_generator.errors import SourceError
from tenantry_generator.settings import Database, Table
from tenantry_generator.sources import Read
from tenantry_generator.sources.departures import Reading, State, difference, look_again, other, settle
from tenantry_generator.sources.postgres_connect import Connector, disconnect
from tenantry_generator.sources.postgres_errors import FAILURES, explain
from tenantry_generator.sources.postgres_read import read_position, read_table, standby
from tenantry_generator.sources.table import Rendering, render

__all__ = ["CHANNEL", "PostgresSource", "Timing"]

log = get_logger(__name__)

CHANNEL = "tenantry"

_IN_LOG = 20


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `poll`: a full read at least so often. `connect`, `command`, `read`, `answer`: deadlines.

    `heartbeat`: so often an idle connection is asked for a sign of life, within `answer`. The kernel notices a host
    that has vanished, but not a proxy that takes bytes and passes none on.
    """

    poll: float = 30.0
    heartbeat: float = 10.0
    answer: float = 5.0
    connect: float = 5.0
    command: float = 20.0
    read: float = 60.0
    first_retry: float = 0.5
    last_retry: float = 10.0


class PostgresSource:
    """The rows of one table, read over one connection at a time.

    `connections` and `failures` count since the start; `listening`: whether a NOTIFY would be heard.
    """

    name = POSTGRES

    def __init__(self, database: Database, table: Table, *, timing: Timing | None = None) -> None:
        self._database = database
        self._table = table
        self._timing = timing or Timing()
        self._connector = Connector(database, table, timeout=self._timing.connect, command_timeout=self._timing.command)
        self._wake = asyncio.Event()
        self._state: State | None = None
        self._anew = True
        self.connections = 0
        self.failures = 0
        self.listening = False
        self._reported: tuple[object, ...] = (0, {})
        self._may_listen = True
        self._told_of_system = False
        self._tells_position = True
        self.problem: str | None = None
        self.read_at: float | None = None

    def start_over(self) -> None:
        """Have the next read, with which `run` begins, confirmed by another one."""
        self._anew = True

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
                    self.listening = False
                    await disconnect(connection)
            except FAILURES as error:
                self.failures += 1
                self._report(explain(error, self._database, self._table))
                await asyncio.sleep(backoff.next())

    async def _connect(self) -> asyncpg.Connection:
        connection = await self._connector.connect()
        self.connections += 1
        connection.add_termination_listener(self._look)
        return connection

    async def _listen(self, connection: asyncpg.Connection) -> None:
        """Listen before the first read, so that no change falls between the two."""
        try:
            await connection.add_listener(CHANNEL, self._look)
            self.listening = True
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
        number = self.connections
        while True:
            self._wake.clear()
            started = clock()
            async with asyncio.timeout(self._timing.read):
                position = await self._position(connection)
                identity, records = await read_table(connection, self._database, self._table)
            ended = clock()
            known = BlockMap() if self._state is None else self._state.rows
            # Beside the event loop, which has a Lease to renew and requests to answer.
            rendering = await asyncio.to_thread(render, records, self._table.columns, known)
            del records
            read = rendering.read
            reading = Reading(read.rows, identity, number, started, ended, read.quarantined, position)
            state = await asyncio.to_thread(self._settle, reading)
            self._accept(rendering, state)
            backoff.reset()
            publish(Read(state.rows, read.rejected, state.quarantined, state.doubted, confirmed=state.first is None))
            # However fast the table changes, at most half of the time goes into reading it.
            await asyncio.sleep(clock() - started)
            await self._wait(connection, look_again(state))
            if other(state, connection=number, now=clock()):
                return

    async def _position(self, connection: asyncpg.Connection) -> int | None:
        if not self._tells_position:
            return None
        position = await read_position(connection)
        if position is None and not await connection.fetchval("SELECT pg_is_in_recovery()"):
            self._tells_position = False
            log.warning("the server does not tell how far it is: that it went back in time will not be noticed")
        return position

    async def _wait(self, connection: asyncpg.Connection, again: float | None) -> None:
        """Wait for a change, for the next poll, or for the time at which an absent row is looked for again."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._timing.poll
        until = until if again is None else min(until, again)
        while not self._wake.is_set() and clock() < until:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(until, clock() + self._timing.heartbeat)):
                    await self._wake.wait()
            if not self._wake.is_set() and clock() < until:
                await connection.execute("SELECT 1", timeout=self._timing.answer)

    def _settle(self, reading: Reading) -> State:
        if self._state is not None:
            problem = difference(self._state.identity, reading.identity, database=self._database, table=self._table)
            if problem is not None:
                raise SourceError(problem)
        if reading.identity.system is None and not self._told_of_system:
            self._told_of_system = True
            log.warning("the role may not call pg_control_system(): a database is told by its name and OIDs alone")
        return settle(self._state, reading, anew=self._anew)

    def _accept(self, rendering: Rendering, state: State) -> None:
        self._state, self._anew = state, False
        self.read_at = time.time()
        if self.problem is not None:
            log.info("Postgres is read again", table=str(self._table))
        self.problem = None
        nameless = rendering.nameless
        if (nameless, state.quarantined) != self._reported and (nameless or state.quarantined):
            log.warning(
                "some rows can't be published: their tenants stay as they were last good",
                table=str(self._table),
                without_a_name=nameless,
                quarantined=dict(sorted(state.quarantined.items())[:_IN_LOG]),
            )
        self._reported = (nameless, state.quarantined)

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("Postgres can't be read; trying again", error=problem)
        self.problem = problem

    def _look(self, *_: object) -> None:
        """Look at the table now: it has changed, or the connection has ended."""
        self._wake.set()
