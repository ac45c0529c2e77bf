"""Clients that mean no good: connections that say nothing or never end their header, and tokens that are guessed.

In a process of their own, so that who asks beside them is slowed down by nothing but the server:

    python -m tests.support.strangers PORT SLOW IDLE GUESSES      until SIGTERM; then it prints what came of it, as JSON
"""

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path

import aiohttp

from tests.support.processes import Process

__all__ = ["Harm", "strangers"]

_DRIP = 1.0
_ROOT = Path(__file__).parents[2]
_BEGINNING = b"POST /api/v1/getparams.execute HTTP/1.1\r\nHost: x\r\nX-Padding: "


@dataclass(slots=True)
class Harm:
    """What came of it: connections that the other side ended, guesses by status, and what ended those without one."""

    ended: int = 0
    guesses: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


@contextmanager
def strangers(port: int, *, slow: int, idle: int, guesses: int, log: Path) -> Iterator[Harm]:
    """Keep so many slow and idle connections open during the block, and guess so many tokens a second.

    Who is thrown out comes back. What is yielded is filled in at the end.
    """
    command = [sys.executable, "-m", "tests.support.strangers", *map(str, (port, slow, idle, guesses))]
    harm = Harm()
    with Process("strangers", command, log=log, env={"PATH": os.environ["PATH"]}, cwd=_ROOT) as process:
        yield harm
        process.check()
        process.stop()
        for key, value in json.loads(process.log_tail(1)).items():
            setattr(harm, key, value)


async def _harm(port: int, slow: int, idle: int, guesses: int) -> Harm:
    harm, stop = Harm(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with asyncio.TaskGroup() as tasks:
        started = [
            *(tasks.create_task(_slow(port, harm)) for _ in range(slow)),
            *(tasks.create_task(_idle(port, harm)) for _ in range(idle)),
            tasks.create_task(_guess(port, guesses, harm)),
        ]
        await stop.wait()
        for task in started:
            task.cancel()
    return harm


async def _slow(port: int, harm: Harm) -> None:
    while True:
        with contextlib.suppress(OSError):
            async with _connection(port) as (_, writer):
                writer.write(_BEGINNING)
                while not writer.is_closing():
                    await asyncio.sleep(_DRIP)
                    writer.write(b"x")
                    await writer.drain()
        harm.ended += 1
        await asyncio.sleep(_DRIP)


async def _idle(port: int, harm: Harm) -> None:
    while True:
        with contextlib.suppress(OSError):
            async with _connection(port) as (reader, _):
                await reader.read()
        harm.ended += 1
        await asyncio.sleep(_DRIP)


async def _guess(port: int, rate: int, harm: Harm) -> None:
    url = f"http://127.0.0.1:{port}/api/v1/getparams.execute"

    async def guess(number: int) -> None:
        try:
            async with http.post(url, headers={"Authorization": f"Bearer guess-{number}"}) as response:
                harm.guesses[str(response.status)] = harm.guesses.get(str(response.status), 0) + 1
        except (aiohttp.ClientError, OSError) as error:
            harm.failed.append(repr(error))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        guessing = set[asyncio.Task[None]]()
        try:
            for number in count(1):
                guessing = {each for each in guessing if not each.done()} | {asyncio.create_task(guess(number))}
                await asyncio.sleep(1 / rate)
        finally:
            await asyncio.gather(*guessing)  # the session's end would fail those under way


@asynccontextmanager
async def _connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(asdict(asyncio.run(_harm(*map(int, sys.argv[1:]))))), flush=True)
