"""Tokens and a certificate that are renewed under the running process, while somebody asks all the time."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from cryptography import x509

from tests.support.certificates import make_pair, mount
from tests.support.eventually import eventually
from tests.support.tenantry import Generator

RATE = 5.0


@asynccontextmanager
async def generator(directory: Path, database: str, **env: str) -> AsyncIterator[Generator]:
    settings = {"TENANTRY_SOURCES": "postgres", "TENANTRY_DATABASE_URL": database, **env}
    running = Generator(token="literal", directory=directory, env=settings)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


async def ask(http: aiohttp.ClientSession, url: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    async with http.post(f"{url}/api/v1/getparams.execute", headers=headers) as response:
        await response.read()
        return response.status


def secret(directory: Path, number: int, **files: str) -> None:
    content = directory.with_name(f"{directory.name}-{number}")
    content.mkdir()
    for name, text in files.items():
        (content / name).write_text(text)
    mount(directory, content)


async def test_a_token_is_rotated_without_a_failed_call_at_five_a_second(database: str, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    secret(tokens, 1, old="first")
    async with (
        generator(tmp_path, database, TENANTRY_TOKEN_DIR=str(tokens)) as running,
        aiohttp.ClientSession() as http,
    ):
        token, statuses, done = "first", list[int](), asyncio.Event()

        async def keep_asking() -> None:
            while not done.is_set():
                statuses.append(await ask(http, running.url, token))
                await asyncio.sleep(1 / RATE)

        asking = asyncio.create_task(keep_asking())
        for number, (old, new) in enumerate((("first", "second"), ("second", "third")), start=1):
            began = time.monotonic()
            secret(tokens, 2 * number, old=old, new=new)

            async def known(new: str = new) -> bool:
                return await ask(http, running.url, new) == 200

            await eventually(known, within=5, what="the new token is taken")
            assert time.monotonic() - began < 5
            token = new
            secret(tokens, 2 * number + 1, new=new)

            async def gone(old: str = old) -> bool:
                return await ask(http, running.url, old) == 403

            await eventually(gone, within=5, what="the old token is no longer taken")
        done.set()
        await asking
        assert len(statuses) > 10
        assert set(statuses) == {200}


async def test_a_certificate_is_renewed_without_a_failed_call(database: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_pair(name, tmp_path / name)
    mount(tmp_path / "tls", tmp_path / "one")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    settings = {
        "TENANTRY_SOURCES": "postgres",
        "TENANTRY_DATABASE_URL": database,
        "TENANTRY_TLS_DIR": str(tmp_path / "tls"),
    }
    running = Generator(token="s3cret", directory=tmp_path, env=settings)
    running.trust(context)
    await running.start()

    async def shown() -> str:
        port = int(running.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        certificate = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(True))
        writer.close()
        return certificate.subject.rfc4514_string()

    try:
        assert await shown() == "CN=one"
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(connector=connector) as http:
            assert await ask(http, running.url, "s3cret") == 200
            mount(tmp_path / "tls", tmp_path / "two")

            async def renewed() -> bool:
                assert await ask(http, running.url, "s3cret") == 200
                return await shown() == "CN=two"

            await eventually(renewed, within=5, what="the new certificate is shown")
    finally:
        assert await running.stop() == 0
    log = running.process.log.read_text()
    assert all(json.loads(line)["msg"] for line in log.splitlines())
