"""The Postgres source against a real server: what it reads, what wakes it, and what it says when it can't read."""

import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tenantry_generator.sources.postgres import Timing
from tests.integration.following import WOKEN, following
from tests.support.eventually import eventually
from tests.support.postgres import Postgres, execute

TABLE = "CREATE TABLE organization (tenant text, status text)"
FILL = "INSERT INTO organization SELECT 't' || n, 'active' FROM generate_series(1, 10) n"


@pytest.fixture
async def dsn(postgres: Postgres) -> AsyncIterator[str]:
    name = f"generator-{secrets.token_hex(4)}"
    yield await postgres.create_database(name)
    await postgres.drop_database(name)


async def test_every_type_looks_as_postgres_prints_it_and_null_is_empty(dsn: str) -> None:
    await execute(
        dsn,
        "CREATE TYPE plan AS ENUM ('gold'); CREATE SCHEMA billing;"
        'CREATE TABLE billing."Customers" (id bigint, status boolean, amount numeric(12,2), since timestamptz,'
        " plan plan, extra jsonb, tags text[], ratio double precision)",
        "INSERT INTO billing.\"Customers\" VALUES (9007199254740993, true, 1234567.50, '2024-09-12 10:00+02', 'gold',"
        " '{\"a\": 1}', '{x,y}', 0.1)",
        'INSERT INTO billing."Customers" (id) VALUES (2)',
    )
    columns = ("status", "amount", "since", "plan", "extra", "tags", "ratio")
    settings = {
        "TENANTRY_TABLE": "billing.Customers",
        "TENANTRY_TENANT_COLUMN": "id",
        "TENANTRY_COLUMNS": ",".join(columns),
    }
    async with following(dsn, settings) as follower:
        await follower.has("9007199254740993", "2")
        rows = follower.reads[-1].rows
        assert [rows["9007199254740993"][column] for column in columns] == [
            "true",
            "1234567.50",
            "2024-09-12 08:00:00+00",
            "gold",
            '{"a": 1}',
            "{x,y}",
            "0.1",
        ]
        assert [rows["2"][column] for column in columns] == [""] * len(columns)


TYPES = {
    "smallint": ("-7", "-7"),
    "bigint": ("9223372036854775807", "9223372036854775807"),
    "numeric": ("123456789012345678901234567890.10", "123456789012345678901234567890.10"),
    "numeric(6,2)": ("1.5", "1.50"),
    "real": ("'0.1'", "0.1"),
    "double precision": ("'1e300'", "1e+300"),
    "float8": ("'NaN'", "NaN"),
    "money": ("1234.5", "$1,234.50"),
    "boolean": ("false", "false"),
    "text": ("E'a \\'b\\'\\n\u00fc\u65e5'", "a 'b'\n\u00fc\u65e5"),
    "varchar(3)": ("'abc'", "abc"),
    "char(5)": ("'ab'", "ab"),
    "uuid": ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "bytea": ("'\\xDEADBEEF'", "\\xdeadbeef"),
    "date": ("'2024-02-29'", "2024-02-29"),
    "time": ("'13:04:05.5'", "13:04:05.5"),
    "timestamp": ("'2024-02-29 13:04:05.123456'", "2024-02-29 13:04:05.123456"),
    "timestamptz": ("'2024-02-29 13:04:05+02'", "2024-02-29 11:04:05+00"),
    "interval": ("'1 year 2 months 3 days 04:05:06'", "1 year 2 mons 3 days 04:05:06"),
    "json": ('\'{"b": 1,"a":null}\'', '{"b": 1,"a":null}'),
    "jsonb": ('\'{"b": 1,"a":null}\'', '{"a": null, "b": 1}'),
    "text[]": ("ARRAY['x y', NULL, 'a\"b']", '{"x y",NULL,"a\\"b"}'),
    "int[]": ("ARRAY[[1,2],[3,4]]", "{{1,2},{3,4}}"),
    "inet": ("'10.0.0.1/8'", "10.0.0.1/8"),
    "int4range": ("'[1,3]'", "[1,4)"),
    "bit(3)": ("B'101'", "101"),
    "plan": ("'gold'", "gold"),
    "positive": ("3", "3"),
    "pair": ("ROW(1, 'x')", "(1,x)"),
}
"""Type of a column to a value in SQL and its text in the answer."""


async def test_every_common_type_has_one_text_whatever_the_server_and_the_role_prefer(dsn: str) -> None:
    columns = [f"c{number}" for number in range(len(TYPES))]
    listed = ", ".join(f"{column} {type}" for column, type in zip(columns, TYPES, strict=True))
    database = dsn.rpartition("/")[2]
    settings = {
        "datestyle": "'SQL, DMY'",
        "intervalstyle": "'iso_8601'",
        "timezone": "'Asia/Tokyo'",
        "bytea_output": "'escape'",
        "extra_float_digits": "-15",
    }
    await execute(
        dsn,
        *(f'ALTER DATABASE "{database}" SET {name} = {value}' for name, value in settings.items()),
        "CREATE TYPE plan AS ENUM ('gold'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);"
        "CREATE TYPE pair AS (a int, b text)",
        f"CREATE TABLE organization (tenant text, {listed})",
        f"INSERT INTO organization VALUES ('acme', {', '.join(value for value, _ in TYPES.values())})",
        "INSERT INTO organization VALUES ('null')",
    )
    async with following(dsn, {"TENANTRY_COLUMNS": ",".join(columns)}) as follower:
        await follower.has("acme", "null")
        acme, null = (follower.reads[-1].rows[name] for name in ("acme", "null"))
        assert {type: acme[column] for type, column in zip(TYPES, columns, strict=True)} == {
            type: text for type, (_, text) in TYPES.items()
        }
        assert {null[column] for column in columns} == {""}


async def test_a_table_longer_than_a_page_is_read_to_its_end(dsn: str) -> None:
    await execute(dsn, TABLE, "INSERT INTO organization SELECT 't' || n, '' FROM generate_series(1, 3001) n")
    async with following(dsn) as follower:
        await eventually(lambda: len(follower.names) == 3001, within=10, what="all rows are read")
        assert {len(read.rows) for read in follower.reads} == {3001}


async def test_rows_that_cannot_be_used_shorten_nothing(dsn: str) -> None:
    await execute(
        dsn, TABLE, "INSERT INTO organization VALUES (NULL, 'x'), ('', 'x'), ('a', 'y'), ('a', 'x'), ('b', NULL)"
    )
    async with following(dsn) as follower:
        await follower.has("b")
        assert follower.reads[-1].quarantined == {"a": "2 rows of this tenant differ in status; leave one of them"}
        assert follower.reads[-1].rejected == {"empty_tenant": 2, "conflicting_rows": 2}
        await execute(dsn, "DELETE FROM organization WHERE tenant = 'a' AND status = 'x'")
        await follower.has("a", "b")
        await execute(dsn, "INSERT INTO organization VALUES ('a', 'z'), ('c', '')")
        await follower.has("a", "b", "c")
        assert follower.reads[-1].rows["a"]["status"] == "y", "its last good row"
        await execute(dsn, "DELETE FROM organization WHERE tenant = 'a'")
        await follower.has("b", "c")
        assert follower.reads[-1].quarantined == {}


async def test_a_row_that_is_no_text_keeps_its_last_good_one_and_freezes_nobody(postgres: Postgres) -> None:
    name = f"generator-{secrets.token_hex(4)}"
    await execute(postgres.dsn(), f"CREATE DATABASE \"{name}\" ENCODING 'SQL_ASCII' TEMPLATE template0")
    dsn = postgres.dsn(name)
    try:
        await execute(dsn, TABLE, "INSERT INTO organization VALUES ('acme', 'activé'), ('beta', 'x')")
        async with following(dsn) as follower:
            await follower.has("acme", "beta")
            bytes_of_latin_1 = "SET client_encoding = 'SQL_ASCII'; UPDATE organization SET status = E'\\xe9'"
            await execute(dsn, f"{bytes_of_latin_1} WHERE tenant = 'acme'; INSERT INTO organization VALUES ('gamma')")
            await follower.has("acme", "beta", "gamma")
            assert follower.reads[-1].rows["acme"]["status"] == "activé"
            assert follower.reads[-1].quarantined == {"acme": "not UTF-8: status"}
            assert follower.source.problem is None
    finally:
        await postgres.drop_database(name)


async def test_a_notification_wakes_the_source(dsn: str) -> None:
    await execute(dsn, TABLE)
    async with following(dsn, timing=WOKEN) as follower:
        await eventually(lambda: follower.reads, within=10, what="the first read")
        await execute(dsn, "INSERT INTO organization VALUES ('acme', 'active'); NOTIFY tenantry")
        await follower.has("acme", within=2)


async def test_a_storm_of_notifications_is_few_reads_and_the_last_change_is_seen(dsn: str) -> None:
    await execute(dsn, TABLE, "INSERT INTO organization SELECT 't' || n, '' FROM generate_series(1, 2000) n")
    async with following(dsn, timing=WOKEN) as follower:
        await eventually(lambda: follower.reads, within=10, what="the first read")
        await execute(dsn, *(["NOTIFY tenantry"] * 300), "INSERT INTO organization VALUES ('last'); NOTIFY tenantry")
        await eventually(lambda: "last" in follower.names, within=5, what="the last change is read")
        assert len(follower.reads) < 150


async def test_polling_alone_finds_changes(dsn: str) -> None:
    await execute(dsn, TABLE, FILL)
    async with following(dsn) as follower:
        await eventually(lambda: len(follower.names) == 10, within=10, what="the first read")
        await execute(dsn, "DELETE FROM organization WHERE tenant <> 't1'")
        await follower.has("t1", within=5)


async def test_an_outage_publishes_nothing_and_ends_by_itself(dsn: str, postgres: Postgres) -> None:
    await execute(dsn, TABLE, FILL)
    async with following(dsn) as follower:
        await eventually(lambda: len(follower.names) == 10, within=10, what="the first read")
        postgres.stop()
        try:
            refused = (
                f"127.0.0.1:{postgres.port} refused the connection: is TENANTRY_DATABASE_URL right, is Postgres up?"
            )
            await follower.problem(refused)
            published = len(follower.reads)
        finally:
            await postgres.start()
        await execute(dsn, "DELETE FROM organization WHERE tenant = 't1'")
        await eventually(lambda: "t1" not in follower.names, within=15, what="it reads again")
        assert follower.source.problem is None
        assert {len(read.rows) for read in follower.reads[: published + 1]} <= {10, 9}


async def test_a_lost_connection_is_noticed_at_once(dsn: str) -> None:
    await execute(dsn, TABLE)
    async with following(dsn, timing=WOKEN) as follower:
        await eventually(lambda: follower.reads, within=10, what="the first read")
        await execute(
            dsn,
            "INSERT INTO organization VALUES ('acme', 'active');"
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'tenantry-generator' AND datname = current_database()",
        )
        await follower.has("acme", within=3)


async def test_a_dropped_table_is_an_error_and_not_an_absence(dsn: str) -> None:
    await execute(dsn, TABLE, FILL)
    async with following(dsn) as follower:
        await eventually(lambda: len(follower.names) == 10, within=10, what="the first read")
        await execute(dsn, "DROP TABLE organization")
        await follower.problem('table "organization" does not exist: create it or correct TENANTRY_TABLE')
        assert len(follower.names) == 10


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"TENANTRY_TABLE": "tenants"}, 'table "tenants" does not exist: create it or correct TENANTRY_TABLE'),
        (
            {"TENANTRY_TABLE": "app.organization"},
            'table "app.organization" does not exist: create it or correct TENANTRY_TABLE',
        ),
        (
            {"TENANTRY_TENANT_COLUMN": "org"},
            'column "org" does not exist in table "organization": add it or correct TENANTRY_TENANT_COLUMN',
        ),
        (
            {"TENANTRY_COLUMNS": "status,plan"},
            'column "plan" does not exist in table "organization": add it or correct TENANTRY_COLUMNS',
        ),
    ],
)
async def test_a_missing_table_or_column_names_its_setting(dsn: str, values: dict[str, str], problem: str) -> None:
    await execute(dsn, TABLE, FILL)
    async with following(dsn, values) as follower:
        await follower.problem(problem)
        assert follower.reads == []


async def test_a_wrong_password_or_database_names_its_setting(dsn: str, postgres: Postgres) -> None:
    wrong = {"DB_HOST": "127.0.0.1", "DB_PORT": str(postgres.port), "DB_PASSWORD": "wrong"}
    failed = 'password authentication failed for user "postgres"'
    async with following("", wrong) as follower:
        await follower.problem(f"{failed}: correct DB_USER and DB_PASSWORD")
    async with following(postgres.dsn(password="wrong")) as follower:
        await follower.problem(f"{failed}: correct TENANTRY_DATABASE_URL")
    async with following(postgres.dsn("nothing")) as follower:
        await follower.problem('database "nothing" does not exist: create it or correct TENANTRY_DATABASE_URL')


async def test_a_role_without_rights_is_told_which(dsn: str, postgres: Postgres) -> None:
    role = f"reader_{secrets.token_hex(4)}"
    database = dsn.rpartition("/")[2]
    await execute(dsn, TABLE, FILL, f"CREATE ROLE {role} LOGIN PASSWORD 'reader'")
    grants = (
        f'grant "{role}" SELECT on the columns of table "organization" that are read, '
        "and BYPASSRLS if it has row-level security"
    )
    try:
        async with following(postgres.dsn(database, user=role, password="reader")) as follower:
            await follower.problem(f"permission denied for table organization: {grants}")
            await execute(dsn, f"GRANT SELECT (tenant, status) ON organization TO {role}")
            await eventually(lambda: len(follower.names) == 10, within=5, what="the granted columns are read")
            await execute(dsn, "ALTER TABLE organization ENABLE ROW LEVEL SECURITY")
            await follower.problem(
                f'query would be affected by row-level security policy for table "organization": {grants}'
            )
            assert len(follower.names) == 10
    finally:
        await execute(dsn, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        timing = Timing(connect=0.3, first_retry=0.05)
        async with following(f"postgresql://u:p@{address}/db", timing=timing) as follower:
            await follower.problem(f"{address} did not answer in time: is TENANTRY_DATABASE_URL right?")


async def test_a_host_that_does_not_exist_is_named() -> None:
    async with following("postgresql://u:p@nowhere.invalid:5432/db") as follower:
        unknown = "the host of nowhere.invalid:5432 can't be resolved: correct TENANTRY_DATABASE_URL"
        await follower.problem(unknown, within=20)


async def test_a_server_without_tls_is_refused_when_tls_is_asked_for(dsn: str, postgres: Postgres) -> None:
    async with following(f"{dsn}?sslmode=require") as follower:
        await eventually(lambda: follower.source.problem, within=10, what="the source says why it can't read")
        server = f"127.0.0.1:{postgres.port}"
        assert follower.source.problem == (
            f'no connection to {server}: PostgreSQL server at "{server}" rejected SSL upgrade'
        )
        assert follower.reads == []


async def test_a_standby_is_not_taken_for_the_truth(tmp_path: Path) -> None:
    standby = Postgres(tmp_path)
    try:
        await standby.create()
        dsn = await standby.create_database("organization")
        await execute(dsn, TABLE, FILL)
        data = await _data_directory(dsn)
        standby.stop()
        (data / "standby.signal").touch()
        await standby.start()
        address = f"127.0.0.1:{standby.port}"
        async with following(dsn) as follower:
            await follower.problem(
                f"{address} is a standby, which may lag behind: name the primary in TENANTRY_DATABASE_URL"
            )
            assert follower.reads == []
            await execute(dsn, "SELECT pg_promote()")
            await eventually(lambda: len(follower.names) == 10, within=10, what="the promoted server is read")
    finally:
        standby.destroy()


async def _data_directory(dsn: str) -> Path:
    connection = await asyncpg.connect(dsn)
    try:
        return Path(await connection.fetchval("SHOW data_directory"))
    finally:
        await connection.close()
