"""Answers a second: the generator, the article's plugin, and aiohttp and Go sending the same bytes out of a file.

These two are the limits: they read no token, look at no Lease, count nothing. Rounds alternate, since these machines
are noisy, and the ratio of the medians is what counts.
"""

import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiohttp

from tests.bench.cluster import at_rest
from tests.bench.load import BODY, Load, press
from tests.support import article
from tests.support.eventually import eventually
from tests.support.gobuild import Go
from tests.support.postgres import Postgres, execute
from tests.support.processes import Process, free_port
from tests.support.progress import Progress
from tests.support.tenantry import Generator

__all__ = ["measure"]

_PATH = "/api/v1/getparams.execute"
_TOKEN = "bench-token"
_SECONDS = 5.0
_PLAIN, _GZIPPED, _AIOHTTP, _GO, _ARTICLE = "generator", "generator, gzip", "aiohttp", "Go", "article's plugin"
_GOALS: Mapping[int, tuple[tuple[str, str, float], ...]] = {
    10: ((_PLAIN, _AIOHTTP, 0.9),),
    1_000: ((_PLAIN, _AIOHTTP, 0.9),),
    10_000: ((_PLAIN, _AIOHTTP, 0.9), (_GZIPPED, _GO, 0.5)),
    100_000: ((_PLAIN, _AIOHTTP, 0.9), (_GZIPPED, _GO, 1.0)),
}
"""What is measured against what, and the ratio to reach, by number of tenants."""


@dataclass(frozen=True, slots=True)
class _Server:
    url: str
    pid: int
    gzip: bool = False


async def measure(tenants: int, rounds: int) -> None:
    """Print the medians of each server, its ratio to the limits, and which goals are met."""
    async with _servers(tenants) as (servers, size, directory):
        measured: dict[str, list[Load]] = {name: [] for name in servers}
        for number in range(rounds):
            for name, server in servers.items():
                load = await asyncio.to_thread(
                    press,
                    server.url,
                    token=_TOKEN,
                    pid=server.pid,
                    seconds=_SECONDS,
                    gzip=server.gzip,
                    directory=directory,
                )
                measured[name].append(load)
                await at_rest(server.pid, name)  # the article's plugin works on for seconds
            rates = ", ".join(f"{name} {each[-1].rate:.0f}" for name, each in measured.items())
            print(f"  round {number + 1}: {rates}", flush=True)
    rate = {name: statistics.median(each.rate for each in loads) for name, loads in measured.items()}
    print(f"{tenants} tenants, {size} bytes, medians of {rounds} rounds:")
    for name, loads in measured.items():
        cpu = statistics.median(each.cpu for each in loads)
        ratios = f"{rate[name] / rate[_AIOHTTP]:5.2f} of aiohttp, {rate[name] / rate[_GO]:5.2f} of Go"
        print(f"  {name:<17}{rate[name]:9.1f}/s  {cpu:7.3f} ms CPU  {ratios}")
    for name, limit, goal in _GOALS.get(tenants, ()):
        ratio = rate[name] / rate[limit]
        print(
            f"  goal: {name} at least {goal} of {limit}: {ratio:.2f}, {'met' if ratio >= goal else 'missed'}",
            flush=True,
        )


@asynccontextmanager
async def _servers(tenants: int) -> AsyncIterator[tuple[dict[str, _Server], int, Path]]:
    """Run every server on the same table; yield them with the bytes of an answer and a directory."""
    with Progress() as progress:
        program = _go(progress)
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tenantry-bench-")))
        database = Postgres(directory)
        stack.callback(database.destroy)
        await database.create()
        dsn = await database.create_database("bench")
        rows = f"INSERT INTO organization SELECT 'tenant_' || n, 'active' FROM generate_series(1, {tenants}) AS n"
        await execute(dsn, article.TABLE, rows)
        generator = Generator(
            token=_TOKEN,
            directory=directory / "generator",
            env={"TENANTRY_SOURCES": "postgres", "TENANTRY_DATABASE_URL": dsn},
        )
        stack.push_async_callback(generator.stop)
        await generator.start()
        body = directory / "answer.json"
        body.write_bytes(await _answer(generator.url))
        aiohttp_ = _start(stack, "aiohttp", lambda port: _python("prepared_aiohttp.py", port, body), directory)
        go = _start(stack, "go", lambda port: [str(program), str(port), str(body)], directory)
        plugin = _start(stack, "article", lambda port: _python("article_plugin.py", port), directory, _article(dsn))
        ours = _Server(generator.url + _PATH, generator.process.pid)
        servers = {
            _PLAIN: ours,
            _GZIPPED: _Server(ours.url, ours.pid, gzip=True),
            _AIOHTTP: aiohttp_,
            _GO: go,
            _ARTICLE: plugin,
        }
        for name, server in servers.items():
            await eventually(lambda url=server.url: _answers(url), within=30, what=f"{name} answers")  # type: ignore[misc]
        yield servers, body.stat().st_size, directory


def _start(
    stack: AsyncExitStack,
    name: str,
    command: Callable[[int], list[str]],
    directory: Path,
    env: Mapping[str, str] | None = None,
) -> _Server:
    port = free_port()
    log = directory / f"{name}.log"
    process = Process(name, command(port), log=log, env={"PATH": os.environ["PATH"], **(env or {})})
    stack.enter_context(process)
    return _Server(f"http://127.0.0.1:{port}{_PATH}", process.pid)


def _python(script: str, *arguments: object) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name(script)), *map(str, arguments)]


def _article(dsn: str) -> dict[str, str]:
    url = urlsplit(dsn)
    return {
        "AUTH_TOKEN": _TOKEN,
        "DB_NAME": url.path[1:],
        "DB_USER": url.username or "",
        "DB_PASSWORD": unquote(url.password or ""),
        "DB_HOST": url.hostname or "",
        "DB_PORT": str(url.port),
    }


def _go(report: Callable[[str], None]) -> Path:
    folder = Path(tempfile.gettempdir()) / "tenantry-bench-go"
    folder.mkdir(exist_ok=True)
    go = Go(Path(__file__).with_name("prepared"))
    go.build(["."], variables={}, into=folder, log=folder.with_suffix(".log"), report=report)
    return folder / "prepared"


async def _answers(url: str) -> bool:
    return bool(await _post(url))


async def _answer(url: str) -> bytes:
    return await _post(url + _PATH)


async def _post(url: str) -> bytes:
    headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession() as http, http.post(url, data=BODY, headers=headers) as response:
        body = await response.read()
        if response.status != 200:
            raise RuntimeError(f"{url}: {response.status} {body[:200]!r}")
        return body
