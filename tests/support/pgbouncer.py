"""A real pgbouncer in transaction mode, from Debian's package, which is installed where that is possible."""

import os
import pwd
import shutil
import signal
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.debian import program
from tests.support.eventually import eventually
from tests.support.postgres import execute
from tests.support.processes import Process, free_port

__all__ = ["PgBouncer"]


class PgBouncer:
    """A pooler in front of one server. Its log is in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "pgbouncer.log"
        self._process: Process | None = None
        self._home: Path | None = None
        self.port = free_port()

    async def start(self, dsn: str) -> str:
        """Start it in front of the server of a connection URL; return the URL that goes through it."""
        pgbouncer = program("pgbouncer")
        parts = urlsplit(dsn)
        user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
        self._home = Path(tempfile.mkdtemp(prefix="tenantry-pgbouncer-"))
        (self._home / "users").write_text(f'"{parts.username}" "{parts.password}"\n')
        (self._home / "ini").write_text(
            f"[databases]\n* = host={parts.hostname} port={parts.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {self._home / 'users'}\n"
            "pool_mode = transaction\ndefault_pool_size = 2\nserver_login_retry = 1\n"
        )
        if user is not None:
            account = pwd.getpwnam(user)
            for path in (self._home, self._home / "users", self._home / "ini"):
                os.chown(path, account.pw_uid, account.pw_gid)
        self._process = Process("pgbouncer", [pgbouncer, self._home / "ini"], log=self._log, cwd=self._home, user=user)
        through = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{self.port}").geturl()

        async def answers() -> bool:
            if self._process is not None:
                self._process.check()
            await execute(through, "SELECT 1")
            return True

        await eventually(answers, within=20, what="pgbouncer takes connections")
        return through

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop(signal.SIGTERM)
        if self._home is not None:
            shutil.rmtree(self._home)
