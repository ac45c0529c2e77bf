"""Everything that makes rows seem to be gone while no tenant has left: each is an error, and takes nobody away.

What changes the rows themselves, as TRUNCATE does, is no error: it is a departure, and the guard's to judge. A proxy
that adds a LIMIT can't be told from that.
"""

import re
import secrets
from dataclasses import dataclass

import pytest

from tests.integration.following import following
from tests.support import article
from tests.support.eventually import eventually
from tests.support.postgres import Postgres, execute

ALL = set(article.TENANTS)
ACCEPT = "or restart the generator to accept it"
ANEW = f'table "organization" was created anew or replaced by another one; put the old one back, {ACCEPT}'
RECONNECT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = 'tenantry-generator' AND datname = current_database()"
)


@dataclass(frozen=True, slots=True)
class Case:
    """What happens to the table, what the source says then, and what undoes it; `before` prepares it."""

    statement: str
    problem: str
    undo: str = ""
    before: str = ""
    table: str = "organization"


PARTITIONED = (
    "ALTER TABLE organization RENAME TO plain;"
    "CREATE TABLE organization (tenant text, status text) PARTITION BY HASH (tenant);"
    "CREATE TABLE part_0 PARTITION OF organization FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
    "CREATE TABLE part_1 PARTITION OF organization FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
    "INSERT INTO organization TABLE plain"
)
ENUM = (
    "CREATE TYPE plan AS ENUM ('active', 'trial');"
    "ALTER TABLE organization ALTER COLUMN status TYPE plan USING status::plan"
)
CASES = {
    "dropped": Case(
        "DROP TABLE organization", 'table "organization" does not exist: create it or correct TENANTRY_TABLE'
    ),
    "renamed": Case(
        "ALTER TABLE organization RENAME TO old",
        'table "organization" does not exist: create it or correct TENANTRY_TABLE',
        undo="ALTER TABLE old RENAME TO organization",
    ),
    "created anew and empty": Case(
        "DROP TABLE organization; CREATE TABLE organization (tenant text, status text)", ANEW
    ),
    "moved out of the search_path": Case(
        "CREATE SCHEMA app; ALTER TABLE organization SET SCHEMA app",
        'table "organization" does not exist: create it or correct TENANTRY_TABLE',
        undo="ALTER TABLE app.organization SET SCHEMA public",
    ),
    "another search_path": Case(
        "CREATE SCHEMA app; CREATE TABLE app.organization AS TABLE organization WITH NO DATA;"
        "GRANT SELECT ON app.organization TO reader; GRANT USAGE ON SCHEMA app TO reader;"
        f"ALTER ROLE reader SET search_path = app; {RECONNECT}",
        f'table "organization" was found in the schema "public" and now is in "app"; correct the search_path, '
        f"name the schema in TENANTRY_TABLE, {ACCEPT}",
        undo=f"ALTER ROLE reader RESET search_path; {RECONNECT}",
    ),
    "the tenant column dropped": Case(
        "ALTER TABLE organization DROP COLUMN tenant",
        'column "tenant" does not exist in table "organization": add it or correct TENANTRY_TENANT_COLUMN',
    ),
    "a column renamed": Case(
        "ALTER TABLE organization RENAME COLUMN status TO state",
        'column "status" does not exist in table "organization": add it or correct TENANTRY_COLUMNS',
        undo="ALTER TABLE organization RENAME COLUMN state TO status",
    ),
    "a column of another type": Case(
        "ALTER TABLE organization ALTER COLUMN status TYPE varchar(20)",
        'table "organization": column "status" was of type text and now is character varying; '
        f"change it back, {ACCEPT}",
        undo="ALTER TABLE organization ALTER COLUMN status TYPE text",
    ),
    "an enum value renamed": Case(
        "ALTER TYPE plan RENAME VALUE 'active' TO 'live'",
        'table "organization": column "status": the value "active" of its type plan was renamed; '
        f"change it back, {ACCEPT}",
        undo="ALTER TYPE plan RENAME VALUE 'live' TO 'active'",
        before=ENUM,
    ),
    "a right revoked": Case(
        "REVOKE SELECT ON organization FROM reader",
        'permission denied for table organization: grant "reader" SELECT on the columns of table "organization" that '
        "are read, and BYPASSRLS if it has row-level security",
        undo="GRANT SELECT ON organization TO reader",
    ),
    "one column's right revoked": Case(
        "REVOKE SELECT ON organization FROM reader; GRANT SELECT (tenant) ON organization TO reader",
        'permission denied for table organization: grant "reader" SELECT on the columns of table "organization" that '
        "are read, and BYPASSRLS if it has row-level security",
        undo="GRANT SELECT (status) ON organization TO reader",
    ),
    "a row-level policy": Case(
        "ALTER TABLE organization ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY few ON organization USING (tenant = 'acme_corp')",
        'query would be affected by row-level security policy for table "organization": grant "reader" SELECT on the '
        'columns of table "organization" that are read, and BYPASSRLS if it has row-level security',
        undo="ALTER TABLE organization DISABLE ROW LEVEL SECURITY",
    ),
    "a view's query changed": Case(
        "CREATE OR REPLACE VIEW tenants AS SELECT tenant, status FROM organization WHERE status = 'trial'",
        f'view "tenants" is defined differently than before; change it back, {ACCEPT}',
        undo="CREATE OR REPLACE VIEW tenants AS SELECT tenant, status FROM organization",
        before="CREATE VIEW tenants AS SELECT tenant, status FROM organization",
        table="tenants",
    ),
    "a partition detached": Case(
        "ALTER TABLE organization DETACH PARTITION part_1",
        f'table "organization" has lost a partition; attach it again, {ACCEPT}',
        undo="ALTER TABLE organization ATTACH PARTITION part_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
        before=PARTITIONED,
    ),
    "a partition dropped": Case(
        "DROP TABLE part_0",
        f'table "organization" has lost a partition; attach it again, {ACCEPT}',
        before=PARTITIONED,
    ),
    "a failure in the middle of the rows": Case(
        "UPDATE divisor SET value = 0",
        "{address} answered: division by zero (SQLSTATE 22012)",
        undo="UPDATE divisor SET value = 1",
        before="CREATE TABLE divisor (value int); INSERT INTO divisor VALUES (1);"
        "CREATE VIEW tenants AS"
        " SELECT tenant, (status || left((n / CASE WHEN n > 2500 THEN value ELSE 1 END)::text, 0)) AS status"
        " FROM divisor, (SELECT tenant, status, 1 AS n FROM organization UNION ALL"
        " SELECT 'more-' || n, 'active', n FROM generate_series(1, 3000) n) AS rows",
        table="tenants",
    ),
    "connections no longer let in": Case(
        f"ALTER ROLE reader NOLOGIN; {RECONNECT}",
        'role "reader" is not permitted to log in: correct TENANTRY_DATABASE_URL',
        undo="ALTER ROLE reader LOGIN",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_what_only_looks_like_tenants_that_left_is_an_error(
    database: str, postgres: Postgres, case: Case
) -> None:
    role, name = f"reader_{secrets.token_hex(4)}", database.rpartition("/")[2]

    async def run(statements: str) -> None:
        await execute(database, re.sub(r"\breader\b", role, statements))

    await execute(database, f"CREATE ROLE {role} LOGIN PASSWORD 'reader'")
    try:
        await run(f"{case.before}; GRANT USAGE ON SCHEMA public TO reader")
        await run(f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader; GRANT SELECT ON {case.table} TO reader")
        dsn = postgres.dsn(name, user=role, password="reader")
        async with following(dsn, {"TENANTRY_TABLE": case.table}) as follower:
            await eventually(lambda: len(follower.names) >= len(ALL), within=10, what="the first read")
            all_rows = len(follower.names)
            await run(case.statement)
            problem = case.problem.format(address=f"127.0.0.1:{postgres.port}")
            await follower.problem(re.sub(r"\breader\b", role, problem))
            reads = len(follower.reads)
            if case.undo:
                await run(case.undo)
                await eventually(lambda: len(follower.reads) > reads, within=10, what="it reads again once undone")
                assert follower.source.problem is None
            assert {len(read.rows) for read in follower.reads} == {all_rows}
    finally:
        await execute(database, f"DROP OWNED BY {role}; DROP ROLE {role}")
