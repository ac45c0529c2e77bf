"""Connections that cost more than they may, on real sockets: who is ended when, and who keeps being answered."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tenantry.connections import Ended, Limits, trust
from tenantry.serving import serving
from tests.support.eventually import eventually
from tests.support.processes import free_port

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

REQUEST = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 30_000_000


class Server:
    def __init__(self, port: int) -> None:
        self.port = port
        self.ended: list[Ended] = []
        self.opened: list[asyncio.StreamWriter] = []
        self.release = asyncio.Event()

    async def connect(self, *, sends: bytes = b"", limit: int = 65536) -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=limit)
        self.opened.append(writer)
        writer.write(sends)
        return reader, writer

    async def ask(self, streams: Streams, request: bytes = REQUEST) -> bytes:
        streams[1].write(request)
        header = await asyncio.wait_for(streams[0].readuntil(b"\r\n\r\n"), 5)
        return await streams[0].readexactly(int(header.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))


async def ended(streams: Streams, *, within: float = 5) -> bytes:
    """Return what came until the server ended the connection."""
    try:
        return await asyncio.wait_for(streams[0].read(), within)
    except ConnectionResetError:
        return b""


@asynccontextmanager
async def server(limits: Limits) -> AsyncIterator[Server]:
    port = free_port()
    running = Server(port)

    async def ok(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def known(request: web.Request) -> web.Response:
        trust(request)
        return web.Response(text="known")

    async def large(_: web.Request) -> web.Response:
        return web.Response(body=bytes(LARGE))

    async def busy(_: web.Request) -> web.Response:
        await running.release.wait()
        return web.Response(text="done")

    async def rest(request: web.Request) -> web.Response:
        """Answer with what the kernel doesn't take, and what may wait for a trusted client."""
        trust(request)
        assert request.transport is not None
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return web.Response(body=bytes(900_000))

    app = web.Application()
    for path, handler in (("/ok", ok), ("/known", known), ("/large", large), ("/busy", busy), ("/rest", rest)):
        app.router.add_route("*", path, handler)
    runner = web.AppRunner(app, shutdown_timeout=1)
    try:
        async with serving(runner, ("127.0.0.1", port), limits=limits, on_ended=running.ended.append):
            yield running
    finally:
        for writer in running.opened:
            writer.close()


def shows(running: Server, *wanted: Ended) -> Callable[[], bool]:
    return lambda: running.ended == list(wanted)


@pytest.mark.parametrize("begun", [b"", b"GET /ok HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_a_connection_without_a_whole_header_is_ended(begun: bytes) -> None:
    async with server(Limits(header=0.5)) as running:
        assert await ended(await running.connect(sends=begun)) == b""
        assert running.ended == [Ended.HEADER]


async def test_sending_a_byte_now_and_then_does_not_put_it_off() -> None:
    async with server(Limits(header=1.0)) as running:
        streams = await running.connect(sends=b"GET /ok HTTP/1.1\r\n")

        async def drip() -> None:
            while True:
                streams[1].write(b"X-A: b\r\n")
                await asyncio.sleep(0.1)

        dripping = asyncio.create_task(drip())
        try:
            assert await ended(streams) == b""
        finally:
            dripping.cancel()
        assert running.ended == [Ended.HEADER]


async def test_an_idle_connection_stays_and_the_header_of_its_next_request_has_the_same_time() -> None:
    async with server(Limits(header=2.0)) as running:  # far above the half second by which a clock look may be behind
        streams = await running.connect()
        assert await running.ask(streams) == b"ok"
        await asyncio.sleep(3.0)
        assert await running.ask(streams) == b"ok"
        streams[1].write(REQUEST[:20])
        assert await ended(streams) == b""
        assert running.ended == [Ended.HEADER]


async def test_an_idle_connection_is_closed_in_the_end() -> None:
    async with server(Limits(idle=1.0)) as running:
        streams = await running.connect()
        assert await running.ask(streams) == b"ok"
        assert await ended(streams) == b""
        assert running.ended == []


async def test_a_client_that_does_not_read_its_answer_is_ended() -> None:
    async with server(Limits(write=1.0)) as running:
        await running.connect(sends=b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(shows(running, Ended.WRITE), within=5, what="the reader is ended")


async def test_a_client_that_asks_and_asks_and_reads_nothing_is_ended() -> None:
    async with server(Limits(write=1.0)) as running:
        _, writer = await running.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        try:
            while not running.ended:
                writer.write(REQUEST * 200)
                await asyncio.wait_for(writer.drain(), 5)
                await asyncio.sleep(0)
        except (ConnectionError, TimeoutError):
            pass
        await eventually(shows(running, Ended.WRITE), within=5, what="the reader is ended")


async def test_a_body_that_nobody_wants_holds_no_connection() -> None:
    async with server(Limits(linger=0.5)) as running:
        streams = await running.connect(sends=b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        assert (await ended(streams)).endswith(b"ok")


async def test_a_long_body_that_nobody_wanted_is_no_header() -> None:
    async with server(Limits(header=2.0)) as running:
        streams = await running.connect()
        body = b"x" * 300_000
        head = f"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        assert await running.ask(streams, head + body[:150_000]) == b"ok"
        streams[1].write(body[150_000:])
        await asyncio.sleep(3.0)
        assert await running.ask(streams) == b"ok"
        assert running.ended == []


async def test_a_closed_connection_does_not_wait_for_ever_for_its_client_to_read_the_rest() -> None:
    async with server(Limits(write=1.0)) as running:
        await running.connect(sends=b"GET /rest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", limit=1024)
        await eventually(shows(running, Ended.WRITE), within=5, what="the reader is ended")


async def test_beyond_the_limit_the_oldest_idle_stranger_gives_way() -> None:
    async with server(Limits(connections=4)) as running:
        kept = await running.connect()
        assert await running.ask(kept, REQUEST.replace(b"/ok", b"/known")) == b"known"
        strangers = [await running.connect(sends=b"G") for _ in range(3)]
        await asyncio.sleep(0.1)
        newcomer = await running.connect()
        assert await running.ask(newcomer) == b"ok"
        assert running.ended == [Ended.EVICTED]
        assert await ended(strangers[0]) == b""
        for _ in range(20):
            await running.ask(await running.connect())
        assert await running.ask(kept) == b"ok"
        assert set(running.ended) == {Ended.EVICTED}


async def test_whoever_has_shown_a_token_gives_way_only_to_make_room_at_all() -> None:
    async with server(Limits(connections=2)) as running:
        known = []
        for _ in range(3):
            known.append(await running.connect())
            assert await running.ask(known[-1], REQUEST.replace(b"/ok", b"/known")) == b"known"
        assert await ended(known[0]) == b""
        assert await running.ask(known[1]) == b"ok"


async def test_a_request_that_is_being_answered_is_not_given_up_for_a_newcomer() -> None:
    async with server(Limits(connections=2)) as running:
        busy = [await running.connect(sends=REQUEST.replace(b"/ok", b"/busy")) for _ in range(2)]
        await asyncio.sleep(0.2)
        assert await ended(await running.connect(sends=REQUEST)) == b""
        assert running.ended == [Ended.REFUSED]
        running.release.set()
        for streams in busy:
            assert b"done" in await asyncio.wait_for(streams[0].readuntil(b"done"), 5)
