"""A second PostgreSQL server that is a copy of another, as a standby is."""

import subprocess
from pathlib import Path

import asyncpg

from tests.support.postgres import Postgres, execute

__all__ = ["copy", "let_in"]


async def copy(server: Postgres, dsn: str, standby: Postgres, *, streaming: bool = False) -> None:
    """Make `standby` one of `server`, which starts with what there is now; of what comes later it hears if `streaming`.

    `server` is stopped meanwhile. A streaming one needs `let_in(server)` before.
    """
    await standby.create()
    await let_in(standby)
    data, copied = await _data_directory(dsn), await _data_directory(standby.dsn())
    standby.stop()
    server.stop()
    try:
        kept = (copied / "pg_hba.conf").read_text()
        subprocess.run(["rm", "-r", copied], check=True)
        subprocess.run(["cp", "--archive", data, copied], check=True)
    finally:
        await server.start()
    (copied / "pg_hba.conf").write_text(kept)
    (copied / "standby.signal").touch()
    if streaming:
        with (copied / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = 'host=127.0.0.1 port={server.port} user=postgres'\n")
    await standby.start()


async def let_in(server: Postgres) -> None:
    """Let everybody in whatever the password, which is that of another server."""
    hba = await _data_directory(server.dsn()) / "pg_hba.conf"
    hba.write_text("host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n")
    await execute(server.dsn(), "SELECT pg_reload_conf()")


async def _data_directory(dsn: str) -> Path:
    connection = await asyncpg.connect(dsn)
    try:
        return Path(await connection.fetchval("SHOW data_directory"))
    finally:
        await connection.close()
