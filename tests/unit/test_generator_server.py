"""The generator on a real socket, byte for byte: its short way for the one request, and where each limit ends."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tenantry.connections import Ended, Limits
from tenantry.serving import serving
from tenantry_generator import getparams, responses
from tenantry_generator.app import GETPARAMS, before_routing
from tenantry_generator.auth import Tokens
from tenantry_generator.body import Body
from tenantry_generator.contract import Request
from tenantry_generator.getparams import Getparams
from tenantry_generator.metrics import Metrics
from tenantry_generator.received import Reply
from tests.support.eventually import eventually
from tests.support.processes import free_port
from tests.unit.test_generator_app import Service

LARGE = 30_000_000


class Server:
    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self.port = port
        self.ended: list[Ended] = []
        self.opened: list[asyncio.StreamWriter] = []

    async def connect(self, *, limit: int = 2 * LARGE) -> "Client":
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=limit))
        self.opened.append(client.writer)
        return client

    async def ask(self, **headers: str) -> tuple[int, dict[str, str], bytes]:
        client = await self.connect()
        client.send(**headers)  # type: ignore[arg-type]
        return await client.receive()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, body: bytes = b"", *, version: str = "1.1", target: str = GETPARAMS, **headers: str) -> None:
        given = {"Host": "x", "Authorization": "Bearer s3cret", "Content-Length": str(len(body))}
        given |= {"Content-Type": "application/json"} | {key.replace("_", "-"): text for key, text in headers.items()}
        lines = [f"POST {target} HTTP/{version}", *(f"{key}: {text}" for key, text in given.items() if text)]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def receive(self) -> tuple[int, dict[str, str], bytes]:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)).decode().split("\r\n")
        headers = {key.lower(): text for key, text in (line.split(": ", 1) for line in head[1:] if line)}
        body = await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), 10)
        return int(head[0].split()[1]), headers, body

    async def ask(self, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        self.send(body, **headers)
        return await self.receive()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    service = Service()
    running = Server(service, free_port())
    started = serving(
        web.AppRunner(service.app, shutdown_timeout=1),
        ("127.0.0.1", running.port),
        first=before_routing(service.app),
        limits=Limits(write=1.0),
        on_ended=running.ended.append,
    )
    try:
        async with started:
            await eventually(lambda: service.cluster.runs and service.database.runs, within=5, what="both sources run")
            service.tenants()
            service.rows("acme", "beta")
            yield running
    finally:
        for writer in running.opened:
            writer.close()


async def test_requests_follow_each_other_on_a_connection_with_just_the_headers_that_are_needed(server: Server) -> None:
    client = await server.connect()
    for _ in range(3):
        status, headers, body = await client.ask(b'{"applicationSetName":"apps","input":{}}')
        assert (status, len(json.loads(body)["output"]["parameters"])) == (200, 2)
        assert headers.keys() == {"content-type", "vary", "content-length", "date"}
        assert (headers["content-type"], headers["vary"]) == ("application/json", "Accept-Encoding")


@pytest.mark.parametrize(
    ("version", "asked", "answered"),
    [("1.1", "close", "close"), ("1.0", "", "close"), ("1.0", "keep-alive", "keep-alive")],
)
async def test_the_connection_stays_or_goes_as_the_client_asks(
    server: Server, version: str, asked: str, answered: str
) -> None:
    client = await server.connect()
    status, headers, _ = await client.ask(version=version, Connection=asked)
    assert (status, headers["connection"]) == (200, answered)
    if answered == "close":
        assert await asyncio.wait_for(client.reader.read(), 5) == b""
    else:
        assert (await client.ask(version=version, Connection=asked))[0] == 200


async def test_requests_that_are_sent_ahead_are_answered_in_their_order(server: Server) -> None:
    client = await server.connect()
    for status in ("active", "gone") * 5:
        client.send(json.dumps({"input": {"parameters": {"status": status}}}).encode())
    found = [len(json.loads((await client.receive())[2])["output"]["parameters"]) for _ in range(10)]
    assert found == [2, 0] * 5


async def test_the_long_way_round_gives_the_same(server: Server) -> None:
    client = await server.connect()
    plain = (await client.ask())[2]
    assert (await client.ask(target=f"{GETPARAMS}?x=y"))[2] == plain
    client.send(b"", Expect="100-continue", Content_Length="2")
    assert await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.writer.write(b"{}")
    assert (await client.receive())[2] == plain


async def test_a_long_answer_is_gzipped_for_who_takes_that_and_a_short_one_for_nobody(server: Server) -> None:
    assert "content-encoding" not in (await server.ask(Accept_Encoding="gzip"))[1]
    server.service.rows(*(f"tenant-{number}" for number in range(500)))
    _, plain_headers, plain = await server.ask()
    _, headers, body = await server.ask(Accept_Encoding="deflate, gzip")
    assert "content-encoding" not in plain_headers
    assert (headers["content-encoding"], headers["vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(body) == plain
    assert len(body) < len(plain) / 5
    assert (await server.ask(Accept_Encoding="gzip;q=0"))[2] == plain


async def test_an_answer_of_many_megabytes_arrives_whole_in_parts_of_any_size(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [b"a" * LARGE, b"", b"b" * 10, b"c" * 5_000_000, b"d"]
    reply(server, monkeypatch, Body(parts))
    assert (await server.ask())[2] == b"".join(parts)


@pytest.mark.parametrize("chunk", [responses._CHUNK, 2 * LARGE])
async def test_a_client_that_stops_reading_is_ended_and_has_received_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(responses, "_CHUNK", chunk)
    sent = reply(server, monkeypatch, Body([bytes(LARGE)]))
    for _ in range(20):  # more than may be answered at once: each gives its turn back
        (await server.connect(limit=1024)).send()
    await eventually(lambda: len(server.ended) >= 20, within=20, what="the readers are ended")
    assert set(server.ended) == {Ended.WRITE}
    assert sent == []
    assert len((await server.ask())[2]) == LARGE
    assert sent == ["sent"]


async def test_a_body_that_does_not_arrive_in_time_is_a_408(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getparams, "_BODY_DEADLINE", 0.3)
    status, _, body = await server.ask(Content_Length="10")
    assert (status, json.loads(body)) == (408, {"message": "the body did not arrive within 0 seconds"})


async def test_an_answer_that_is_not_ready_in_time_is_a_503(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getparams, "_ANSWER_DEADLINE", 0.3)

    async def never(_: Request) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(handler(server), "_answer", never)
    status, _, body = await server.ask()
    assert (status, json.loads(body)) == (503, {"message": "the answer was not ready within 0 seconds"})


async def test_more_requests_than_can_wait_are_a_503_and_the_others_are_answered(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = asyncio.Event()

    async def slow(_: Request) -> Reply:
        await go.wait()
        return Reply(Body([b"{}"]), lambda: None)

    monkeypatch.setattr(handler(server), "_answer", slow)
    asked = [asyncio.create_task(server.ask()) for _ in range(120)]
    await eventually(lambda: sum(each.done() for each in asked) == 4, within=5, what="four are refused")
    go.set()
    answers = await asyncio.gather(*asked)
    assert sorted(status for status, *_ in answers) == [200] * 116 + [503] * 4
    refused = next(json.loads(body) for status, _, body in answers if status == 503)
    assert refused == {"message": "100 requests wait for an answer already"}


async def test_a_bound_token_asks_for_its_part_and_sees_nothing_else(server: Server, tmp_path: Path) -> None:
    (tmp_path / "part").write_text("bound")
    (tmp_path / "part.selector").write_text("tier=gold")
    bound = Tokens(literal="s3cret", directory=tmp_path)
    asked: list[Request] = []

    async def answer(request: Request) -> Reply:
        asked.append(request)
        return Reply(Body([b"{}"]), lambda: None)

    getparams_ = Getparams(
        answer,
        given=lambda request: None,
        tokens=bound,
        metrics=Metrics(),
        why_not=lambda: "",
        made_of=lambda: "fresh",
    )
    app = web.Application()
    app.router.add_post(GETPARAMS, getparams_.__call__)
    port = free_port()
    async with serving(web.AppRunner(app, shutdown_timeout=1), ("127.0.0.1", port)):
        client = await Server(server.service, port).connect()
        for token in ("bound", "s3cret"):
            assert (await client.ask(b'{"input":{"parameters":{"status":"active"}}}', Authorization=f"Bearer {token}"))[
                0
            ] == 200
        client.writer.close()
    expected = {"key": "tier", "operator": "In", "values": ["gold"]}
    assert [request.parameters.get("selector") for request in asked] == [{"matchExpressions": [expected]}, None]
    assert [request.parameters["status"] for request in asked] == ["active", "active"]


def handler(server: Server) -> Any:
    (found,) = (
        route.handler
        for route in server.service.app.router.routes()
        if route.method == "POST" and route.resource and route.resource.canonical == GETPARAMS
    )
    return found.__self__  # type: ignore[attr-defined]


def reply(server: Server, monkeypatch: pytest.MonkeyPatch, body: Body) -> list[str]:
    sent: list[str] = []

    async def answer(_: Request) -> Reply:
        return Reply(body, lambda: sent.append("sent"))

    monkeypatch.setattr(handler(server), "_answer", answer)
    return sent
