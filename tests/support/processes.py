"""Child processes of tests and of the demo: each with a log file, none that outlives us.

A child that ends early is the usual reason for a test that hangs, so waiting always looks at the process too and fails
with the last lines of its log.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import child

__all__ = ["Ended", "Process", "free_port"]

_PORTS = range(15000, 32000)
"""Below the ports that Linux gives to outgoing connections, so that a server can be stopped and find its port again."""

_given: set[int] = set()


def free_port() -> int:
    """Return a loopback port that nobody listens on, and that this process gives only once."""
    for _ in range(1000):
        port = random.choice(_PORTS)  # noqa: S311
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
    raise RuntimeError(f"no free loopback port between {_PORTS.start} and {_PORTS.stop}")


class Ended(RuntimeError):
    """A child ended although it was still needed; the text has the end of its log."""


class Process:
    """One child process, in a process group of its own.

    Start it from the main thread: Linux ties the death signal to the thread that started the child. `death_signal` is
    what the child gets should this process be killed; `user` runs it as somebody else and needs root.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("start children from the main thread: they die with the thread that started them")
        self.name = name
        self.log = log
        launcher = [sys.executable, "-IS", child.__file__, str(os.getpid()), str(int(death_signal)), user or "-"]
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [*launcher, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(os.environ if env is None else env),
                cwd=cwd,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id; also that of its group."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._popen.poll()

    def check(self) -> None:
        """Raise Ended unless the process runs."""
        if (code := self.exit_code) is not None:
            raise Ended(f"{self.name} ended with {code}; the end of {self.log}:\n{self.log_tail()}")

    def log_tail(self, lines: int = 25) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and the children of its group."""
        if self.exit_code is None:
            os.killpg(self.pid, number)

    def stop(self, number: signal.Signals = signal.SIGTERM, grace: float = 10.0) -> int:
        """End the process with `number`, after `grace` seconds with SIGKILL; return its exit code."""
        self.send(number)
        try:
            return self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End the process with SIGKILL; return its exit code."""
        self.send(signal.SIGKILL)
        return self._popen.wait()

    def finish(self, within: float) -> None:
        """Wait for the process to end by itself, successfully; raise Ended with its log's end if it doesn't."""
        deadline = time.monotonic() + within
        while self.exit_code is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if self.exit_code != 0:
            code = self.kill() if self.exit_code is None else self.exit_code
            raise Ended(f"{self.name} ended with {code}; the end of {self.log}:\n{self.log_tail()}")
