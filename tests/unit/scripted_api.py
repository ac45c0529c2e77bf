"""An API server that answers from a script: for the faults that a real one can't be made to show."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from tenantry.kube import Kube

Answer = Callable[[web.Request], Any]


def namespace(name: str, version: int, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version), "labels": labels}}


def page(*items: dict[str, Any], version: int, token: str = "") -> dict[str, Any]:
    metadata = {"resourceVersion": str(version)}
    return {"metadata": {**metadata, "continue": token} if token else metadata, "items": list(items)}


def event(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": body}


def bookmark(version: int) -> dict[str, Any]:
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


def status(code: int, reason: str) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": reason}


class ScriptedApi:
    """Answers LISTs and WATCHes, each from its own queue; what is asked beyond the script waits for ever.

    `on_patch(path, patch)` answers PATCHes, with a status and a body.
    """

    def __init__(self) -> None:
        self.lists: asyncio.Queue[Any] = asyncio.Queue()
        self.watches: asyncio.Queue[Any] = asyncio.Queue()
        self.queries: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.on_patch: Callable[[str, Any], tuple[int, Any]] = lambda path, patch: (500, status(500, "not scripted"))

    def on_list(self, *answers: Any) -> None:
        """Each a list page, or (status, body)."""
        for answer in answers:
            self.lists.put_nowait(answer)

    def on_watch(self, *streams: Any) -> None:
        """Each (events, end), or (status, body).

        `end` is "close", "hang", "drop" (of the connection, without an answer), or raw bytes to send before closing.
        """
        for stream in streams:
            self.watches.put_nowait(stream)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        self.paths.append(request.path)
        if request.method == "PATCH":
            code, body = self.on_patch(request.path, json.loads(await request.read()))
            return web.json_response(body, status=code)
        if request.query.get("watch") == "true":
            return await self._watch(request, await self.watches.get())
        answer = await self.lists.get()
        if isinstance(answer, tuple):
            return web.json_response(answer[1], status=answer[0])
        return web.json_response(answer)

    async def _watch(self, request: web.Request, script: Any) -> web.StreamResponse:
        events, end = script
        if isinstance(events, int):
            return web.json_response(end, status=events)
        if end == "drop" and request.transport is not None:
            request.transport.abort()
        response = web.StreamResponse()
        await response.prepare(request)
        for item in events:
            await response.write(json.dumps(item).encode() + b"\n")
        if end == "hang":
            await asyncio.Event().wait()
        if isinstance(end, bytes):
            await response.write(end)
        return response


@asynccontextmanager
async def scripted(directory: Path) -> AsyncIterator[tuple[ScriptedApi, Kube]]:
    """Yield a scripted API server and a client of it, made from a kubeconfig as for any other."""
    api = ScriptedApi()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", api.handle)
    server = TestServer(application)
    await server.start_server(shutdown_timeout=0.1)
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "clusters": [{"name": "test", "cluster": {"server": str(server.make_url("/"))}}],
                "users": [{"name": "test", "user": {"token": "secret"}}],
            }
        )
    )
    try:
        async with await Kube.connect(str(kubeconfig)) as kube:
            yield api, kube
    finally:
        await server.close()
