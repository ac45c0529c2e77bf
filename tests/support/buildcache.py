"""Built programs are kept outside the checkout, under a name made of everything that they are built from."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.progress import duration

__all__ = ["build_once", "cache"]


def cache(name: str) -> Path:
    """Return the directory for what is built under that name."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tenantry" / name


def build_once(
    directory: Path, *, what: str, build: Callable[[Path, Path], None], report: Callable[[str], None]
) -> None:
    """Have `build(into, log)` fill a directory unless it is there already; it appears whole or not at all."""
    if directory.is_dir():
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _lock(directory.parent / "lock", what, report):
        if directory.is_dir():
            return
        for abandoned in directory.parent.glob("building-*"):  # by a run that was killed; we hold the lock
            shutil.rmtree(abandoned, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix="building-", dir=directory.parent))
        try:
            done = work / "done"
            done.mkdir()
            build(done, work / "build.log")
            done.rename(directory)
        finally:
            shutil.rmtree(work, ignore_errors=True)  # a dying compiler may still write; the next build removes the rest


@contextmanager
def _lock(path: Path, what: str, report: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock that the system releases when its holder dies; two runs must not both spend ten minutes."""
    with path.open("w") as file:
        started = time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                report(f"waiting: another run is building {what}, {duration(time.monotonic() - started)}")
                time.sleep(1)
        yield
