"""Answers beside a thousand connections that never end their header, a thousand that say nothing, and guessed tokens.

Whoever may ask does so over a kept connection and over new ones by turns, as Argo CD's controllers and previews do.
"""

import asyncio
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from tests.bench.cluster import cpu_seconds, rss_mib
from tests.bench.load import BODY
from tests.support import article
from tests.support.postgres import Postgres, execute
from tests.support.strangers import strangers
from tests.support.tenantry import Generator

__all__ = ["measure"]

_TOKEN = "bench-token"
_SLOW, _IDLE, _GUESSES = 1000, 1000, 100
_SECONDS = 30.0
_RATE = 20.0
_P99_MS, _GROWTH_MIB = 250, 50
"""The goals."""


async def measure(tenants: int) -> None:
    """Print latencies and memory without and with strangers, and which goals are met."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tenantry-bench-")))
        database = Postgres(directory)
        stack.callback(database.destroy)
        await database.create()
        dsn = await database.create_database("bench")
        rows = f"INSERT INTO organization SELECT 'tenant_' || n, 'active' FROM generate_series(1, {tenants}) AS n"
        await execute(dsn, article.TABLE, rows)
        env = {"TENANTRY_SOURCES": "postgres", "TENANTRY_DATABASE_URL": dsn}
        generator = Generator(token=_TOKEN, directory=directory / "generator", env=env)
        stack.push_async_callback(generator.stop)
        await generator.start()
        pid, port = generator.process.pid, urlsplit(generator.url).port or 0
        print(f"{tenants} tenants, {_RATE:.0f} requests/s for {_SECONDS:.0f} s:")
        _, before = await _latencies(generator.url, pid)
        used = cpu_seconds(pid)
        log = directory / "strangers.log"
        with strangers(port, slow=_SLOW, idle=_IDLE, guesses=_GUESSES, log=log) as harm:
            p99, most = await _latencies(generator.url, pid)
            cpu = (cpu_seconds(pid) - used) / _SECONDS
        guesses = f"guesses {harm.guesses} and {len(harm.failed)} failed"
        print(f"  {harm.ended} connections ended, {guesses}, {cpu:.2f} cores")
    _judge("p99 in ms", p99, _P99_MS)
    _judge("growth of memory in MiB", most - before, _GROWTH_MIB)


def _judge(what: str, measured: float, goal: float) -> None:
    print(f"  goal: {what} under {goal}: {measured:.0f}, {'met' if measured < goal else 'missed'}")


async def _latencies(url: str, pid: int) -> tuple[float, float]:
    """Ask; print and return the 99th percentile in milliseconds, and the most memory in MiB. RuntimeError: no 200."""
    seconds, most = list[float](), 0.0
    until = time.monotonic() + _SECONDS
    async with aiohttp.ClientSession() as kept:
        while (began := time.monotonic()) < until:
            if len(seconds) % 2:
                await _ask(kept, url)
            else:
                async with aiohttp.ClientSession() as new:
                    await _ask(new, url)
            seconds.append(time.monotonic() - began)
            most = max(most, rss_mib(pid))
            await asyncio.sleep(max(0.0, 1 / _RATE - seconds[-1]))
    p50, p99 = (statistics.quantiles(seconds, n=100)[each] * 1000 for each in (49, 98))
    print(f"  p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {max(seconds) * 1000:.0f} ms, {most:.0f} MiB")
    return p99, most


async def _ask(http: aiohttp.ClientSession, url: str) -> None:
    headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"}
    async with http.post(f"{url}/api/v1/getparams.execute", data=BODY, headers=headers) as response:
        await response.read()
        if response.status != 200:
            raise RuntimeError(f"answered with {response.status}")
