"""Several hosts of which one is the primary, and connections that die without a word."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import pytest

from tenantry_generator.sources.postgres import Timing
from tests.integration.following import Follower, following
from tests.support import article
from tests.support.eventually import eventually
from tests.support.postgres import Postgres, execute
from tests.support.standby import copy, let_in
from tests.support.tcp_proxy import Proxy

SHIPPED = Timing()
NAME = "organization"
INSERT = article.rows(("hooli", "trial"))


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary and a standby that follows it, each with the ten tenants."""

    primary: Postgres
    standby: Postgres

    @property
    def dsn(self) -> str:
        """A URL that names both, the standby first."""
        return f"postgresql://postgres:x@127.0.0.1:{self.standby.port},127.0.0.1:{self.primary.port}/{NAME}"


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    both = Pair(Postgres(tmp_path / "primary"), Postgres(tmp_path / "standby"))
    try:
        await both.primary.create()
        await let_in(both.primary)
        dsn = await both.primary.create_database(NAME)
        await execute(dsn, article.TABLE, article.rows(*article.TENANTS.items()))
        await copy(both.primary, dsn, both.standby, streaming=True)
        yield both
    finally:
        both.standby.destroy()
        both.primary.destroy()


async def first_read(follower: Follower) -> None:
    await eventually(lambda: len(follower.names) == 10, within=15, what="the first read")


async def value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_a_promoted_standby_is_served_within_fifteen_seconds_of_the_loss_of_the_primary(pair: Pair) -> None:
    promoted = pair.standby.dsn(NAME)
    async with following(pair.dsn, timing=SHIPPED) as follower:
        await first_read(follower)
        lost = time.monotonic()
        pair.primary.stop()
        await follower.problem(
            f"none of the hosts will do: 127.0.0.1:{pair.standby.port} is a standby; 127.0.0.1:{pair.primary.port} "
            "refused the connection: is TENANTRY_DATABASE_URL right, is Postgres up?"
        )
        await execute(promoted, "SELECT pg_promote()", INSERT)
        await eventually(lambda: "hooli" in follower.names, within=15, what="the promoted server is read")
        assert time.monotonic() - lost < 15
        assert {len(read.rows) for read in follower.reads} == {10, 11}
        assert follower.source.problem is None


async def test_a_standby_that_lags_is_never_read_though_it_is_named_first(pair: Pair) -> None:
    lagging = pair.standby.dsn(NAME)
    await execute(lagging, "SELECT pg_wal_replay_pause()")
    await execute(pair.primary.dsn(NAME), INSERT)
    async with following(pair.dsn, timing=replace(SHIPPED, poll=0.2)) as follower:
        await eventually(lambda: len(follower.reads) > 5, within=15, what="five reads")
        assert {len(read.rows) for read in follower.reads} == {11}
        assert await value(lagging, "SELECT count(*) FROM organization") == 10, "it lags"
        await execute(
            pair.primary.dsn(NAME),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tenantry-generator'",
        )
        reads = len(follower.reads)
        await eventually(lambda: len(follower.reads) > reads + 3, within=15, what="it reads on after a reconnect")
        assert {len(read.rows) for read in follower.reads} == {11}


async def test_a_row_that_is_lost_because_the_promoted_server_lagged_is_doubted(pair: Pair) -> None:
    lagging = pair.standby.dsn(NAME)
    async with following(pair.dsn, timing=replace(SHIPPED, poll=0.2)) as follower:
        await first_read(follower)
        await execute(lagging, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        no_receiver = "SELECT count(*) = 0 FROM pg_stat_wal_receiver"
        await eventually(lambda: value(lagging, no_receiver), within=10, what="the standby no longer receives")
        await execute(pair.primary.dsn(NAME), INSERT)
        await eventually(lambda: "hooli" in follower.names, within=10, what="a row that only the primary has")
        pair.primary.stop()
        await execute(lagging, "SELECT pg_promote()")
        await eventually(lambda: len(follower.names) == 10, within=20, what="the promoted server lacks it twice")
        assert follower.source.problem is None
        assert "gone back in time" in follower.reads[-1].doubted["hooli"]
        await execute(lagging, INSERT)
        await eventually(lambda: "hooli" in follower.names, within=10, what="the row is back")
        assert follower.reads[-1].doubted == {}


async def test_a_host_that_swallows_packets_does_not_keep_the_next_one_from_being_tried(pair: Pair) -> None:
    silent = Proxy(pair.primary.port)
    silent.mute = True
    async with silent.instead_of(pair.primary.dsn(NAME)) as dead:
        address = dead.rpartition("@")[2].partition("/")[0]
        dsn = f"postgresql://postgres:x@{address},127.0.0.1:{pair.primary.port}/{NAME}"
        async with following(dsn, timing=replace(SHIPPED, connect=1)) as follower:
            await first_read(follower)


async def test_a_connection_that_goes_silent_while_idle_is_found_within_twenty_seconds(
    database: str, postgres: Postgres
) -> None:
    async with half_open(database, postgres) as (proxy, follower):
        reads = len(follower.reads)
        silent = time.monotonic()
        proxy.mute = True
        await eventually(lambda: follower.source.problem, within=20, what="the silence is noticed")
        print(f"noticed after {time.monotonic() - silent:.1f} s")
        assert len(follower.reads) == reads
        proxy.mute = False
        await execute(database, INSERT)
        await eventually(lambda: "hooli" in follower.names, within=20, what="it reads again")
        assert {len(read.rows) for read in follower.reads} == {10, 11}


async def test_a_connection_that_goes_silent_in_the_middle_of_a_read_is_found_and_the_read_thrown_away(
    database: str, postgres: Postgres
) -> None:
    await execute(
        database, "INSERT INTO organization SELECT 'more_' || n, repeat('x', 500) FROM generate_series(1, 20000) n"
    )
    proxy = Proxy(postgres.port)
    async with proxy.instead_of(database) as dsn:
        timing = replace(SHIPPED, command=2, connect=1, poll=0.05)
        async with following(dsn, timing=timing) as follower:
            await eventually(lambda: len(follower.names) == 20010, within=20, what="the first read")
            await asyncio.sleep(0.1)
            proxy.mute = True
            await eventually(lambda: follower.source.problem, within=10, what="the silence is noticed")
            proxy.mute = False
            reads = len(follower.reads)
            await eventually(lambda: len(follower.reads) > reads, within=20, what="it reads again")
            assert {len(read.rows) for read in follower.reads} == {20010}


@contextlib.asynccontextmanager
async def half_open(database: str, postgres: Postgres) -> AsyncIterator[tuple[Proxy, Follower]]:
    """A source as shipped, over a proxy that may fall silent."""
    proxy = Proxy(postgres.port)
    async with proxy.instead_of(database) as dsn, following(dsn, timing=SHIPPED) as follower:
        await first_read(follower)
        yield proxy, follower
