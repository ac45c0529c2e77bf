"""A row that is gone and one that only looks so, told apart on real servers: DDL, other servers, a fail-over."""

import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tests.integration.following import WOKEN, Follower, following
from tests.support import article
from tests.support.eventually import eventually
from tests.support.postgres import Postgres, execute
from tests.support.standby import copy, let_in
from tests.support.tcp_proxy import Proxy

NOTIFY = Path(__file__).parents[2] / "manifests/postgres/notify.sql"
ALL = set(article.TENANTS)
GONE = min(ALL)
DELETE = f"DELETE FROM organization WHERE tenant = '{GONE}'"
ANEW = 'table "organization" was created anew or replaced by another one; put the old one back'
ACCEPT = "or restart the generator to accept it"


def tenants(follower: Follower) -> set[str]:
    return {row["tenant"] for row in follower.reads[-1].rows.values()} if follower.reads else set()


def status(follower: Follower) -> str:
    """The status of the row that is deleted in these tests."""
    return next(str(row["status"]) for row in follower.reads[-1].rows.values() if row["tenant"] == GONE)


async def read_all(follower: Follower) -> None:
    await eventually(lambda: tenants(follower) == ALL, within=10, what="the first read")


async def reads_on(follower: Follower, more: int = 1) -> None:
    wanted = len(follower.reads) + more
    await eventually(lambda: len(follower.reads) >= wanted, within=10, what=f"{more} more reads")


async def test_a_deleted_row_leaves_within_three_seconds_and_no_sooner_than_two_reads(database: str) -> None:
    await execute(database, NOTIFY.read_text())
    async with following(database, timing=WOKEN) as follower:
        await read_all(follower)
        await execute(database, DELETE)
        await eventually(lambda: tenants(follower) == ALL - {GONE}, within=3, what="the row has left")
        assert [len(read.rows) for read in follower.reads[-2:]] == [10, 9]


async def test_many_single_deletions_in_a_row_all_leave_in_time(database: str) -> None:
    await execute(database, NOTIFY.read_text())
    async with following(database, timing=WOKEN) as follower:
        await read_all(follower)
        for tenant in sorted(ALL)[1:]:
            await execute(database, f"DELETE FROM organization WHERE tenant = '{tenant}'")
            await reads_on(follower)
        await eventually(lambda: tenants(follower) == {GONE}, within=3, what="the rows have left")


async def test_a_row_that_is_back_before_the_second_read_never_leaves(database: str) -> None:
    async with following(database, timing=WOKEN) as follower:
        await read_all(follower)
        before = len(follower.reads)
        await execute(database, f"{DELETE}; NOTIFY tenantry")
        await eventually(lambda: len(follower.reads) > before, within=5, what="a read without the row")
        await execute(database, article.rows((GONE, "back")))
        await eventually(lambda: status(follower) == "back", within=3, what="the second read")
        assert {len(read.rows) for read in follower.reads} == {10}


async def test_a_table_that_is_emptied_and_filled_again_in_one_transaction_loses_nobody(database: str) -> None:
    async with following(database) as follower:
        await read_all(follower)
        # A read whose snapshot is older than the TRUNCATE sees neither the old rows nor the new ones.
        async with _held_up(database, "TRUNCATE organization"):
            pass
        await reads_on(follower, more=20)
        assert {len(read.rows) for read in follower.reads} == {10}


async def test_a_table_that_is_replaced_under_the_first_read_is_read_again(database: str) -> None:
    replace = "DROP TABLE organization; CREATE TABLE organization (tenant text, status text)"
    async with contextlib.AsyncExitStack() as stack:
        async with _held_up(database, replace):
            follower = await stack.enter_async_context(following(database))
        await read_all(follower)
        assert {len(read.rows) for read in follower.reads} == {10}


@contextlib.asynccontextmanager
async def _held_up(dsn: str, statement: str) -> AsyncIterator[None]:
    """Run a statement and fill the table again in one transaction, committed once the generator waits for its end."""
    waits = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE datname = current_database()"
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(f"{statement}; {article.rows(*article.TENANTS.items())}")
            yield
            await eventually(
                lambda: connection.fetchval(f"{waits} AND NOT granted"), within=10, what="the generator waits"
            )
    finally:
        await connection.close()


async def test_what_comes_does_not_wait_for_what_leaves(database: str) -> None:
    async with following(database, timing=WOKEN) as follower:
        await read_all(follower)
        await execute(database, f"{DELETE}; {article.rows(('hooli', 'trial'))}; NOTIFY tenantry")
        await eventually(lambda: tenants(follower) == (ALL | {"hooli"}) - {GONE}, within=3, what="both are followed")
        assert next(len(read.rows) for read in follower.reads if "hooli" in read.rows) == 11
        await execute(database, "DELETE FROM organization WHERE tenant = 'hooli'; NOTIFY tenantry")
        await reads_on(follower)
        await execute(database, f"{article.rows(('initech', 'trial'))}; NOTIFY tenantry")
        await eventually(
            lambda: "initech" in tenants(follower), within=0.9, what="a row that comes while another leaves"
        )


COPY = "CREATE TABLE copy AS TABLE organization; DROP TABLE organization; ALTER TABLE copy RENAME TO organization"


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (COPY, f"{ANEW}, {ACCEPT}"),
        (f"{DELETE}; {COPY}", f"{ANEW}, {ACCEPT}"),
        ("DROP TABLE organization; CREATE TABLE organization (tenant text, status text)", f"{ANEW}, {ACCEPT}"),
        ("ALTER TABLE organization RENAME TO old; CREATE VIEW organization AS TABLE old", f"{ANEW}, {ACCEPT}"),
        (
            f"{DELETE}; ALTER TABLE organization ALTER COLUMN status TYPE varchar(20)",
            'table "organization": column "status" was of type text and now is character varying; '
            f"change it back, {ACCEPT}",
        ),
        (
            "ALTER TABLE organization DROP COLUMN status, ADD COLUMN status text",
            f'table "organization": column "status" was created anew; change it back, {ACCEPT}',
        ),
        (
            "CREATE SCHEMA app; CREATE TABLE app.organization AS TABLE organization WITH NO DATA;"
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = app', current_database()); END $$;"
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'tenantry-generator' AND datname = current_database()",
            'table "organization" was found in the schema "public" and now is in "app"; '
            f"correct the search_path, name the schema in TENANTRY_TABLE, {ACCEPT}",
        ),
    ],
    ids=["same rows", "a row fewer", "no rows", "a view", "a type", "a column anew", "another schema"],
)
async def test_what_is_no_longer_the_same_table_is_an_error_and_not_an_absence(
    database: str, statement: str, problem: str
) -> None:
    async with following(database) as follower:
        await read_all(follower)
        await execute(database, statement)
        await follower.problem(problem)
        assert {len(read.rows) for read in follower.reads} == {10}


async def test_a_view_whose_query_changes_is_an_error_until_it_is_changed_back(database: str) -> None:
    await execute(database, "CREATE VIEW tenants AS SELECT tenant, status FROM organization")
    async with following(database, {"TENANTRY_TABLE": "tenants"}) as follower:
        await read_all(follower)
        query = f"CREATE OR REPLACE VIEW tenants AS SELECT tenant, status FROM organization WHERE tenant <> '{GONE}'"
        await execute(database, query)
        await follower.problem(f'view "tenants" is defined differently than before; change it back, {ACCEPT}')
        assert {len(read.rows) for read in follower.reads} == {10}
        await execute(database, "CREATE OR REPLACE VIEW tenants AS SELECT tenant, status FROM organization", DELETE)
        await eventually(lambda: tenants(follower) == ALL - {GONE}, within=10, what="the view is read again")


async def test_columns_that_are_not_read_may_come_and_go(database: str) -> None:
    async with following(database) as follower:
        await read_all(follower)
        await execute(database, "ALTER TABLE organization ADD COLUMN notes text", DELETE)
        await eventually(lambda: tenants(follower) == ALL - {GONE}, within=5, what="the row has left")
        await execute(database, "ALTER TABLE organization DROP COLUMN notes", article.rows(("hooli", "trial")))
        await eventually(lambda: "hooli" in tenants(follower), within=5, what="the new row")
        assert follower.source.problem is None


async def test_a_restart_accepts_another_table(database: str) -> None:
    async with following(database) as follower:
        await read_all(follower)
        await execute(database, f"{DELETE}; {COPY}")
        await follower.problem(f"{ANEW}, {ACCEPT}")
    async with following(database) as follower:
        await eventually(lambda: tenants(follower) == ALL - {GONE}, within=5, what="the new table is read")


async def test_a_role_that_may_not_know_the_cluster_still_follows_departures(database: str, postgres: Postgres) -> None:
    role = f"reader_{secrets.token_hex(4)}"
    await execute(
        database,
        f"CREATE ROLE {role} LOGIN PASSWORD 'reader' CONNECTION LIMIT 1",
        f"GRANT SELECT (tenant, status) ON organization TO {role}",
        "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC",
    )
    try:
        dsn = postgres.dsn(database.rpartition("/")[2], user=role, password="reader")
        async with following(dsn) as follower:
            await read_all(follower)
            await execute(database, DELETE)
            await eventually(lambda: tenants(follower) == ALL - {GONE}, within=5, what="the row has left")
            await execute(database, COPY, f"GRANT SELECT (tenant, status) ON organization TO {role}")
            await follower.problem(f"{ANEW}, {ACCEPT}")
    finally:
        await execute(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_second_read_that_is_led_to_another_server_takes_nobody_away(
    database: str, postgres: Postgres, tmp_path: Path
) -> None:
    stranger = Postgres(tmp_path)
    proxy = Proxy(postgres.port)
    try:
        await stranger.create()
        await let_in(stranger)
        same = await stranger.create_database(database.rpartition("/")[2])
        await execute(same, "CREATE TABLE organization (tenant text, status text)", article.rows(("globex", "x")))
        async with proxy.instead_of(database) as dsn, following(dsn, timing=WOKEN) as follower:
            await read_all(follower)
            before = len(follower.reads)
            await execute(database, f"{DELETE}; NOTIFY tenantry")
            await eventually(lambda: len(follower.reads) > before, within=5, what="a read without the row")
            proxy.port = stranger.port
            await follower.problem(
                f"{_address(dsn)} is another Postgres cluster than before (its system_identifier differs); "
                f"correct TENANTRY_DATABASE_URL, {ACCEPT}"
            )
            assert {len(read.rows) for read in follower.reads} == {10}
            proxy.port = postgres.port
            await eventually(lambda: tenants(follower) == ALL - {GONE}, within=10, what="the right server confirms it")
    finally:
        stranger.destroy()


async def test_a_standby_confirms_no_departure_and_is_followed_once_it_is_promoted(
    database: str, postgres: Postgres, tmp_path: Path
) -> None:
    standby = Postgres(tmp_path)
    proxy = Proxy(postgres.port)
    try:
        await copy(postgres, database, standby)
        async with proxy.instead_of(database) as dsn, following(dsn, timing=WOKEN) as follower:
            await read_all(follower)
            before = len(follower.reads)
            await execute(database, f"{DELETE}; NOTIFY tenantry")
            await eventually(lambda: len(follower.reads) > before, within=5, what="a read without the row")
            proxy.port = standby.port
            await follower.problem(
                f"{_address(dsn)} is a standby, which may lag behind: name the primary in TENANTRY_DATABASE_URL"
            )
            before = len(follower.reads)
            promoted = standby.dsn(database.rpartition("/")[2])
            await execute(promoted, "SELECT pg_promote()")
            await eventually(lambda: len(follower.reads) > before, within=10, what="the promoted server is read")
            assert {len(read.rows) for read in follower.reads} == {10}, "the deletion has not reached it"
            await execute(promoted, f"{DELETE}; NOTIFY tenantry")
            await eventually(lambda: tenants(follower) == ALL - {GONE}, within=3, what="the row has left")
    finally:
        standby.destroy()


def _address(dsn: str) -> str:
    return dsn.rpartition("@")[2].partition("/")[0]
