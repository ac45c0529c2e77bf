"""The proxy that fault cases look and meddle through: what it passes on, what it notes, and what it breaks."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from tests.support.eventually import eventually
from tests.support.kube_fates import Fate, Hang, LoseAck, Pass, Reject, Reset
from tests.support.kube_proxy import Hook, KubeProxy
from tests.support.kube_request import Exchange, target_of
from tests.support.kube_views import Deaf, Frozen, Lagging, Lossy, Split

TENANT = "/apis/tenantry.dev/v1alpha1/tenants/acme"
NAMESPACES = "/api/v1/namespaces"


@dataclass
class Server:
    """What stands for the API server: it notes what arrives, and streams what is put into `events`."""

    seen: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    events: asyncio.Queue[dict[str, Any] | None] = field(default_factory=asyncio.Queue)
    answer: bytes = b'{"kind": "Tenant"}'
    encoding: str = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        self.seen.append((request.method, request.raw_path, request.headers.get("Content-Type", ""), data))
        if request.query.get("watch") != "true":
            headers = {"Content-Encoding": self.encoding} if self.encoding else {}
            return web.Response(body=self.answer, content_type="application/json", headers=headers)
        if request.query.get("resourceVersion") == "1":
            return web.json_response({"kind": "Status", "code": 410}, status=410)
        stream = web.StreamResponse()
        await stream.prepare(request)
        while (event := await self.events.get()) is not None:
            await stream.write(json.dumps(event).encode() + b"\n")
        return stream


@dataclass
class World:
    """A client, the proxy and the server."""

    server: Server
    proxy: KubeProxy
    http: aiohttp.ClientSession


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.serve)
    listening = TestServer(application)
    await listening.start_server(shutdown_timeout=0.1)
    proxy = KubeProxy(str(listening.make_url("/")).rstrip("/"))
    async with proxy.listening(), aiohttp.ClientSession(proxy.url) as http:
        yield World(server, proxy, http)
    await listening.close()


class Fated(Hook):
    """Does the same to every write, and notes when it was told of what."""

    def __init__(self, fate: Fate) -> None:
        self.fate = fate
        self.told: list[str] = []

    def on_write(self, exchange: Exchange) -> Fate:
        return self.fate

    async def committed(self, exchange: Exchange) -> None:
        self.told.append(f"committed {exchange.delivered}")

    async def delivered(self, exchange: Exchange) -> None:
        self.told.append(f"delivered {exchange.delivered}")


def event(kind: str, name: str, version: int) -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"name": name, "resourceVersion": str(version)}}}


async def watch(world: World, version: int = 5) -> aiohttp.ClientResponse:
    return await world.http.get(f"{NAMESPACES}?watch=true&resourceVersion={version}")


@pytest.mark.parametrize(
    ("method", "path", "content", "expected"),
    [
        ("GET", NAMESPACES, "", "list namespaces None None None"),
        ("GET", f"{NAMESPACES}/a", "", "get namespaces None a None"),
        ("PATCH", f"{NAMESPACES}/a/status", "application/merge-patch+json", "patch namespaces None a status"),
        ("PUT", f"{NAMESPACES}/a/finalize", "", "update namespaces None a finalize"),
        ("GET", f"{NAMESPACES}/a/serviceaccounts", "", "list serviceaccounts a None None"),
        ("DELETE", f"{NAMESPACES}/a/serviceaccounts/b", "", "delete serviceaccounts a b None"),
        ("DELETE", f"{NAMESPACES}/a/serviceaccounts", "", "deletecollection serviceaccounts a None None"),
        ("POST", NAMESPACES, "", "create namespaces None named None"),
        ("PATCH", f"{TENANT}/status", "application/apply-patch+yaml", "apply tenants.tenantry.dev None acme status"),
        ("GET", "/apis/tenantry.dev/v1alpha1", "", "get  None None None"),
        ("GET", "/version", "", "get  None None None"),
    ],
)
def test_a_request_is_called_what_kubernetes_calls_it(method: str, path: str, content: str, expected: str) -> None:
    target = target_of(method, path, query={}, content_type=content, body={"metadata": {"name": "named"}})
    found = f"{target.verb} {target.resource} {target.namespace} {target.name} {target.subresource}"
    assert found == expected


async def test_what_passes_is_as_it_was_sent_and_is_noted(world: World) -> None:
    world.server.answer, world.server.encoding = gzip.compress(b'{"kind": "Tenant"}'), "gzip"
    query = "?fieldManager=a%2Fb&force=true&labelSelector=x%3Dy%2Cz"
    headers = {"Content-Type": "application/apply-patch+yaml"}
    address = URL(world.proxy.url + TENANT + query, encoded=True)
    async with world.http.patch(address, data=b'{"metadata": {}}', headers=headers) as response:
        assert (response.status, await response.json()) == (200, {"kind": "Tenant"})
    assert world.server.seen == [("PATCH", TENANT + query, headers["Content-Type"], b'{"metadata": {}}')]
    (exchange,) = world.proxy.exchanges
    assert (exchange.verb, exchange.name, exchange.query["fieldManager"]) == ("apply", "acme", "a/b")
    assert exchange.committed
    assert exchange.delivered
    assert exchange.answer == {"kind": "Tenant"}


async def test_a_hook_is_told_when_a_write_is_done_and_again_when_the_answer_is_sent(world: World) -> None:
    hook = Fated(Pass())
    with world.proxy.hooked(hook):
        await world.http.delete(TENANT)
    await eventually(lambda: hook.told == ["committed False", "delivered True"], within=2, what="both are told")
    await world.http.delete(TENANT)
    assert len(hook.told) == 2


async def test_a_rejected_write_does_not_arrive(world: World) -> None:
    with world.proxy.hooked(Fated(Reject(429, "TooManyRequests", retry_after=7))):
        async with world.http.delete(TENANT) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "7")
            assert (await response.json())["reason"] == "TooManyRequests"
        async with world.http.get(TENANT) as response:
            assert response.status == 200
    assert [method for method, *_ in world.server.seen] == ["GET"]


@pytest.mark.parametrize(("fate", "arrives"), [(Reset(), False), (LoseAck(), True)])
async def test_a_reset_connection_says_nothing_about_whether_the_write_arrived(
    world: World, fate: Fate, arrives: bool
) -> None:
    hook = Fated(fate)
    with world.proxy.hooked(hook), pytest.raises(aiohttp.ClientError):
        await world.http.patch(TENANT, json={})
    assert bool(world.server.seen) is arrives
    assert hook.told == (["committed False"] if arrives else [])
    assert not world.proxy.exchanges[0].delivered


async def test_a_hung_write_is_never_answered_and_never_arrives(world: World) -> None:
    with world.proxy.hooked(Fated(Hang())), pytest.raises(TimeoutError):
        await world.http.patch(TENANT, json={}, timeout=aiohttp.ClientTimeout(total=0.2))
    assert world.server.seen == []


async def test_a_write_is_carried_out_although_its_client_is_gone(world: World) -> None:
    class Slow(Hook):
        async def committed(self, exchange: Exchange) -> None:
            await asyncio.sleep(0.3)
            done.set()

    done = asyncio.Event()
    with world.proxy.hooked(Slow()):
        with pytest.raises(TimeoutError):
            await world.http.patch(TENANT, json={}, timeout=aiohttp.ClientTimeout(total=0.1))
        await asyncio.wait_for(done.wait(), 2)
    assert world.proxy.exchanges[0].committed


async def test_a_watch_is_streamed_event_by_event(world: World) -> None:
    async with await watch(world) as response:
        for name in ("a", "b"):
            await world.server.events.put(event("ADDED", name, 6))
            line = await asyncio.wait_for(response.content.readline(), 2)
            assert json.loads(line)["object"]["metadata"]["name"] == name
        assert [each.resource for each in world.proxy.watches()] == ["namespaces"]
    await eventually(lambda: not world.proxy.watches(), within=2, what="the watch has ended with its client")


async def test_a_refused_watch_is_refused_as_the_server_does(world: World) -> None:
    async with await watch(world, version=1) as response:
        assert response.status == 410


async def test_a_frozen_view_lists_the_past_and_watches_nothing_until_it_is_released(world: World) -> None:
    world.proxy.view = view = Frozen(5, {"namespaces"})
    await world.http.get(NAMESPACES + "?limit=500&labelSelector=a%3Db")
    await world.http.get(NAMESPACES + "?limit=500&continue=abc")
    await world.http.get(f"{NAMESPACES}/a")
    await world.http.get("/apis/tenantry.dev/v1alpha1/tenants")
    exact = "&resourceVersion=5&resourceVersionMatch=Exact"
    paths = [path.partition("?") for _, path, *_ in world.server.seen]
    assert sorted(paths[0][2].split("&")) == sorted(("limit=500&labelSelector=a%3Db" + exact).split("&"))
    assert [query for *_, query in paths[1:]] == ["limit=500&continue=abc", "", ""]
    await world.server.events.put(event("ADDED", "a", 6))
    async with await watch(world) as response:
        assert response.status == 200
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readline(), 0.1)
        view.release()
        assert b"ADDED" in await asyncio.wait_for(response.content.readline(), 2)


async def test_a_lost_event_never_comes_and_the_next_one_does(world: World) -> None:
    world.proxy.view = Lossy(lambda each: each.type == "DELETED" and each.key == ("", "a") and each.version == 6)
    for each in (event("DELETED", "a", 6), event("ADDED", "b", 7), None):
        await world.server.events.put(each)
    async with await watch(world) as response:
        assert [json.loads(line)["type"] async for line in response.content] == ["ADDED"]


async def test_an_event_that_is_late_holds_up_those_behind_it(world: World) -> None:
    world.proxy.view = Lagging(lambda each: 0.3 if each.version == 6 else 0.0)
    for each in (event("ADDED", "a", 6), event("ADDED", "b", 7), None):
        await world.server.events.put(each)
    begun = asyncio.get_running_loop().time()
    async with await watch(world) as response:
        names = [json.loads(line)["object"]["metadata"]["name"] async for line in response.content]
    assert names == ["a", "b"]
    assert asyncio.get_running_loop().time() - begun > 0.3


async def test_a_deaf_watch_stays_open_and_the_next_one_hears(world: World) -> None:
    async with await watch(world) as response:
        world.proxy.view = Deaf(world.proxy.watches())
        await world.server.events.put(event("BOOKMARK", "", 6))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readline(), 0.2)
    await eventually(lambda: not world.proxy.watches(), within=2, what="the watch has ended with its client")
    async with await watch(world) as response:
        await world.server.events.put(event("BOOKMARK", "", 7))
        assert b"BOOKMARK" in await asyncio.wait_for(response.content.readline(), 2)


async def test_each_kind_can_have_a_view_of_its_own(world: World) -> None:
    world.proxy.view = Split({"namespaces": Frozen(5)})
    await world.http.get(NAMESPACES)
    await world.http.get("/api/v1/serviceaccounts")
    assert ["resourceVersion=5" in path for _, path, *_ in world.server.seen] == [True, False]


async def test_watches_break_when_the_proxy_hangs_up(world: World) -> None:
    async with await watch(world) as response:
        world.proxy.hang_up()
        with pytest.raises(aiohttp.ClientError):
            await response.content.readline()
