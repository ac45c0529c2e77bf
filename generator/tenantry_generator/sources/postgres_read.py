"""One complete read of the tenants' table, with the identity of what was read, in one consistent transaction."""

from typing import Any

import asyncpg

from tenantry_generator.errors import SourceError
from tenantry_generator.settings import Database, Table
from tenantry_generator.sources.departures import Column, Identity
from tenantry_generator.sources.table import Record, decode, qualified, select

__all__ = ["read_table", "standby"]

_PAGE = 1000
_SETTINGS = (
    # In the transaction and not at connect, where a pooler would refuse them.
    "SET LOCAL row_security = off",  # a policy is then an error, not a short answer
    "SET LOCAL statement_timeout = '15s'",
    "SET LOCAL lock_timeout = '10s'",
    "SET LOCAL datestyle = 'ISO'",
    "SET LOCAL intervalstyle = 'postgres'",
    "SET LOCAL timezone = 'UTC'",
    "SET LOCAL extra_float_digits = 1",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL lc_monetary = 'C'",
)
# A database of the encoding SQL_ASCII holds any bytes, and would fail the whole read for one that is no UTF-8.
_SERVER = "SELECT pg_is_in_recovery() AS standby, getdatabaseencoding() = 'SQL_ASCII' AS raw"
_TABLE = """
SELECT d.oid AS database, d.datname, n.nspname, c.oid AS table, (
    SELECT hashtextextended(r.ev_action::text, 0)
    FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename = '_RETURN'
) AS definition, ARRAY(SELECT p.relid::oid FROM pg_catalog.pg_partition_tree(c.oid) p) AS parts
FROM pg_catalog.pg_database d, pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE d.datname = current_database() AND c.oid = to_regclass($1)
"""
_COLUMNS = """
SELECT attname, attnum, format_type(atttypid, NULL), ARRAY(
    SELECT enumlabel FROM pg_catalog.pg_enum WHERE enumtypid = atttypid ORDER BY enumlabel
)
FROM pg_catalog.pg_attribute
WHERE attrelid = $1 AND attname = ANY ($2::text[]) AND NOT attisdropped ORDER BY attname
"""
_MAY_READ_SYSTEM = "SELECT has_function_privilege(to_regprocedure('pg_catalog.pg_control_system()'), 'EXECUTE')"
_SYSTEM = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()"


async def read_table(connection: asyncpg.Connection, database: Database, table: Table) -> tuple[Identity, list[Record]]:
    """Return what was read, and every record of it. SourceError: a standby, or a table that is being replaced."""
    records: list[Record] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for setting in _SETTINGS:
            await connection.execute(setting)
        server: Any = await connection.fetchrow(_SERVER)
        if server["standby"]:
            raise standby(database)
        # The cursor locks the table, so from here on nothing can take its place or change its columns.
        cursor = await connection.cursor(select(table, raw=server["raw"]))
        identity = await _identify(connection, table)
        while page := await cursor.fetch(_PAGE):
            records += map(decode if server["raw"] else tuple, page)
    return identity, records


def standby(database: Database) -> SourceError:
    """Return the error for a server that is in recovery."""
    return SourceError(
        f"{database.address} is a standby, which may lag behind: name the primary in {database.address_setting}"
    )


async def _identify(connection: asyncpg.Connection, table: Table) -> Identity:
    found: Any = await connection.fetchrow(_TABLE, qualified(table))
    if found is None:
        # It is younger than the transaction, which would see none of its rows.
        raise SourceError(f'table "{table}" was replaced while it was being read')
    columns = await connection.fetch(_COLUMNS, found["table"], [table.tenant_column, *table.columns])
    system = await connection.fetchval(_SYSTEM) if await connection.fetchval(_MAY_READ_SYSTEM) else None
    return Identity(
        system=system,
        database=(found["database"], found["datname"]),
        schema=found["nspname"],
        table=found["table"],
        columns=tuple(Column(name, number, kind, tuple(labels)) for name, number, kind, labels in columns),
        definition=found["definition"],
        parts=frozenset(found["parts"]),
    )
