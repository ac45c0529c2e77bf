"""Load by wrk: eight connections, one thread, the request that Argo CD makes without a filter."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.cluster import cpu_seconds
from tests.support.debian import program

__all__ = ["BODY", "Load", "press"]

BODY = '{"applicationSetName":"bench","input":{}}'

_LUA = """\
wrk.method = "POST"
wrk.body = '%s'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %s"
%s"""


@dataclass(frozen=True, slots=True)
class Load:
    """Requests a second, and the server's CPU time for each of them in milliseconds."""

    rate: float
    cpu: float


def press(url: str, *, token: str, pid: int, seconds: float, gzip: bool, directory: Path) -> Load:
    """Return what the server at `url`, process `pid`, does under load. RuntimeError: an answer was no success."""
    script = directory / "post.lua"
    script.write_text(_LUA % (BODY, token, 'wrk.headers["Accept-Encoding"] = "gzip"\n' if gzip else ""))
    command: list[str | Path] = [
        program("wrk"),
        "-t1",
        "-c8",
        f"-d{seconds:.0f}s",
        "--timeout",
        "30s",
        "-s",
        script,
        url,
    ]
    used = cpu_seconds(pid)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    used = cpu_seconds(pid) - used
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    count = re.search(r"(\d+) requests in ", done.stdout)
    if rate is None or count is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"wrk at {url}:\n{done.stdout}\n{done.stderr}")
    return Load(float(rate[1]), used / max(1, int(count[1])) * 1000)
