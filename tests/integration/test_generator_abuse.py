"""The process under connections and tokens of strangers: whoever may ask is answered, and they cost little."""

import asyncio
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from tests.support.strangers import strangers
from tests.support.tenantry import Generator

SLOW, IDLE, GUESSES = 700, 700, 50
FOR = 12.0
"""Seconds: every slow connection is ended twice."""
MOST = 1024 + 3 * 100 + 50
"""Open files: the limit of connections, those of three turns of the event loop, a hundred a turn (one is accepted, then
counted, then the one that gave way is closed), and the process's own.
"""
MIB = 1024 * 1024


def resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) * 1024


def sockets(pid: int) -> int:
    return sum(1 for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink())


async def test_strangers_keep_nobody_out_are_ended_and_cost_little(database: str, tmp_path: Path) -> None:
    env = {"TENANTRY_SOURCES": "postgres", "TENANTRY_DATABASE_URL": database}
    generator = Generator(token="s3cret", directory=tmp_path, env=env)
    await generator.start()
    try:
        assert (await generator.getparams())[0] == 200
        before, most, worst = resident(generator.process.pid), 0, 0
        port = urlsplit(generator.url).port or 0
        statuses = list[int]()
        with strangers(port, slow=SLOW, idle=IDLE, guesses=GUESSES, log=tmp_path / "strangers.log") as harm:
            until = time.monotonic() + FOR
            while time.monotonic() < until:
                statuses.append((await generator.getparams())[0])  # over a new connection each time
                most = max(most, resident(generator.process.pid))
                worst = max(worst, sockets(generator.process.pid))
                await asyncio.sleep(0.05)
        async with aiohttp.ClientSession() as http, http.get(f"{generator.url}/metrics") as response:
            text = await response.text()
    finally:
        await generator.stop()
    assert set(statuses) == {200}
    assert len(statuses) > 30
    assert harm.ended > SLOW + IDLE
    assert set(harm.guesses) == {"403"}
    assert harm.failed == []
    assert worst < MOST, "more connections than there may be"
    assert most - before < 50 * MIB
    ended = {
        line.split()[0]: float(line.split()[1])
        for line in text.splitlines()
        if line.startswith("tenantry_connections_ended_total{")
    }
    assert ended['tenantry_connections_ended_total{reason="evicted"}'] > 0
    assert "Traceback" not in generator.process.log_tail(1000)
