"""Says in one stable line what is wrong with the database, and which setting or grant mends it."""

import socket

import asyncpg

from tenantry_generator.errors import SourceError
from tenantry_generator.settings import Database, Table

__all__ = ["FAILURES", "explain"]

FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    UnicodeDecodeError,
    SourceError,
)
"""Everything that a connection or a read can fail with."""

_LONGEST = 300


def explain(error: BaseException, database: Database, table: Table) -> str:
    """Return what `error`, one of FAILURES, means for whoever has to mend it."""
    match error:
        case SourceError():
            return str(error)
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return f"{_line(error)}: correct {database.user_setting}"
        case asyncpg.InvalidCatalogNameError():
            return f'database "{database.name}" does not exist: create it or correct {database.name_setting}'
        case asyncpg.UndefinedTableError() | asyncpg.InvalidSchemaNameError():
            return f'table "{table}" does not exist: create it or correct TENANTRY_TABLE'
        case asyncpg.UndefinedColumnError():
            return f'{_line(error)} in table "{table}": add it or correct {_column_setting(error, table)}'
        case asyncpg.InsufficientPrivilegeError():
            return (
                f'{_line(error)}: grant "{database.user}" SELECT on the columns of table "{table}" that are read, '
                "and BYPASSRLS if it has row-level security"
            )
        case asyncpg.TooManyConnectionsError():
            return f"{database.address} has no connection left: raise max_connections or the role's CONNECTION LIMIT"
        case asyncpg.QueryCanceledError():
            return f'reading table "{table}" took too long and was cancelled'
        case _:
            return _explain_connection(error, database)


def _explain_connection(error: BaseException, database: Database) -> str:
    match error:
        case asyncpg.CannotConnectNowError() | asyncpg.AdminShutdownError() | asyncpg.CrashShutdownError():
            return f"{database.address} is starting up or shutting down"
        case asyncpg.PostgresConnectionError():
            return f"{database.address} closed the connection"
        case asyncpg.ClientConfigurationError():
            return f"{_line(error)}: correct {database.address_setting}"
        case asyncpg.PostgresError():
            return f"{database.address} answered: {_line(error)} (SQLSTATE {error.sqlstate})"
        case asyncpg.InterfaceError():
            return f"the connection to {database.address} was lost"
        case socket.gaierror():
            return f"the host of {database.address} can't be resolved: correct {database.address_setting}"
        case TimeoutError():
            return f"{database.address} did not answer in time: is {database.address_setting} right?"
        case ConnectionRefusedError():
            return f"{database.address} refused the connection: is {database.address_setting} right, is Postgres up?"
        case OSError():
            return f"no connection to {database.address}: {error.strerror or _line(error)}"
        case UnicodeDecodeError():
            return "the database holds text that is not in its own encoding, so it can't be published"
        case _:
            return f"no usable answer from {database.address}: {_line(error)}"


def _column_setting(error: BaseException, table: Table) -> str:
    is_tenant = f'"{table.tenant_column}"' in str(error) and table.tenant_column not in table.columns
    return "TENANTRY_TENANT_COLUMN" if is_tenant else "TENANTRY_COLUMNS"


def _line(error: BaseException) -> str:
    """Return the first line of what the server or the driver says."""
    lines = str(error).splitlines()
    return lines[0][:_LONGEST] if lines else type(error).__name__
