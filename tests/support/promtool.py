"""promtool, Prometheus' own judge of rules, metrics and alerts.

Built like the control plane, from a module of its own: it shares no version with Kubernetes, and takes a minute, not
ten, as it is built without the service discoveries of Prometheus, which nothing here asks for.
"""

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.support.buildcache import build_once, cache
from tests.support.gobuild import Go

__all__ = ["Promtool", "ensure_promtool"]

_SOURCE = Path(__file__).with_name("promtool")
_PACKAGE = "github.com/prometheus/prometheus/cmd/promtool"
_TAGS = ("remove_all_sd",)


class Promtool:
    """The program at a path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *arguments: str | Path, stdin: bytes = b"") -> tuple[int, str]:
        """Run it; return its exit code and everything that it said."""
        command = [self.path, *arguments]
        done = subprocess.run(
            command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False
        )
        return done.returncode, done.stdout.decode()


def ensure_promtool(report: Callable[[str], None]) -> Promtool:
    """Return promtool, building it if it is not there yet. BuildFailed: with Go's own errors."""
    go = Go(_SOURCE, what="promtool")
    digest = hashlib.sha256(f"{go.version()} {_PACKAGE} {_TAGS}".encode())
    for name in ("go.mod", "go.sum"):
        digest.update((_SOURCE / name).read_bytes())
    directory = cache("promtool") / digest.hexdigest()[:16]

    def build(into: Path, log: Path) -> None:
        go.build([_PACKAGE], variables={}, tags=_TAGS, into=into, log=log, report=report)

    build_once(directory, what="promtool", build=build, report=report)
    return Promtool(directory / "promtool")
