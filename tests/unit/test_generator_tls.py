"""A server's certificate that is renewed under it: who sees which, and what a broken one changes."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509

from tenantry.errors import SettingsError
from tenantry.serving import serving
from tenantry_generator import tls
from tenantry_generator.tls import Certificates
from tests.support.certificates import make_pair, mount
from tests.support.eventually import eventually
from tests.support.processes import free_port

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Service:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.refused: list[bool] = []
        self.port = free_port()

    async def connect(self, version: ssl.TLSVersion | None = None) -> Streams:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if version is not None:
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = version
            context.set_ciphers("ALL:@SECLEVEL=0")
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)

    async def shown(self) -> str:
        _, writer = await self.connect()
        certificate = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(True))
        writer.close()
        return certificate.subject.rfc4514_string()

    async def shows(self, name: str) -> bool:
        return await self.shown() == f"CN={name}"


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(tls, "_RECHECK", 0.1)
    for name in ("one", "two"):
        make_pair(name, tmp_path / name)
    mount(tmp_path / "mounted", tmp_path / "one")
    service = Service(tmp_path / "mounted")
    certificates = Certificates(service.directory, show=service.refused.append)
    following = asyncio.create_task(certificates.follow())

    async def ok(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/", ok)
    async with serving(web.AppRunner(app, shutdown_timeout=1), ("127.0.0.1", service.port), tls=certificates.context):
        yield service
    following.cancel()


async def ask(streams: Streams) -> bytes:
    streams[1].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return await asyncio.wait_for(streams[0].readuntil(b"ok"), 5)


async def test_a_renewed_certificate_is_shown_and_connections_go_on(service: Service, tmp_path: Path) -> None:
    assert await service.shows("one")
    streams = await service.connect()
    await ask(streams)
    mount(service.directory, tmp_path / "two")
    await eventually(lambda: service.shows("two"), within=5, what="the new certificate is shown")
    await ask(streams)
    streams[1].close()


@pytest.mark.parametrize("broken", ["mismatch", "no key", "nonsense"])
async def test_a_pair_that_can_not_be_used_is_refused_and_the_last_one_stays(
    service: Service, tmp_path: Path, broken: str
) -> None:
    make_pair("broken", tmp_path / "broken")
    if broken == "no key":
        (tmp_path / "broken/tls.key").unlink()
    else:
        text = (tmp_path / "one/tls.key").read_text() if broken == "mismatch" else "nonsense"
        (tmp_path / "broken/tls.key").write_text(text)
    mount(service.directory, tmp_path / "broken")
    await eventually(lambda: service.refused[-1], within=5, what="the pair is refused")
    assert await service.shows("one")
    mount(service.directory, tmp_path / "two")
    await eventually(lambda: service.shows("two"), within=5, what="the next good certificate is shown")
    assert service.refused[-1] is False


async def test_nothing_older_than_tls_1_2_is_spoken(service: Service) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)), pytest.warns(DeprecationWarning, match="TLSv1_1"):
        await service.connect(ssl.TLSVersion.TLSv1_1)
    streams = await service.connect(ssl.TLSVersion.TLSv1_2)
    await ask(streams)
    streams[1].close()


async def test_a_client_that_begins_no_handshake_holds_no_connection(service: Service) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    assert await asyncio.wait_for(reader.read(), 8) == b""
    writer.close()


@pytest.mark.parametrize("files", [[], ["tls.crt"], ["tls.key"]])
def test_without_a_pair_to_begin_with_the_process_ends_with_one_line(tmp_path: Path, files: list[str]) -> None:
    make_pair("x", tmp_path / "made")
    for name in files:
        (tmp_path / name).write_bytes((tmp_path / "made" / name).read_bytes())
    with pytest.raises(
        SettingsError, match=r"TENANTRY_TLS_DIR holds .*; it accepts a directory with tls.crt and tls.key"
    ):
        Certificates(tmp_path, show=lambda refused: None)
