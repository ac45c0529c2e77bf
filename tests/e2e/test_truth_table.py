"""What the real ApplicationSet controller does with an answer. The foil to everything that the generator promises.

The generator is built around these five readings. If a new version of Argo CD reads one of them otherwise, this is
where it shows.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support import article
from tests.support.argocd import ArgoCD
from tests.support.eventually import eventually

SET = "tenant-generator-plugin-demo"
FIVE = ["acme", "beta", "gamma", "delta", "echo"]

Answer = Callable[[], web.Response]


def parameters(*tenants: str) -> web.Response:
    rows = [{"tenant": tenant, "status": "active"} for tenant in tenants]
    return web.json_response({"output": {"parameters": rows}})


class FakePlugin:
    """Gives one answer to every call, of whatever kind a test wants."""

    def __init__(self) -> None:
        self.answer: Answer = lambda: parameters(*FIVE)

    async def handle(self, request: web.Request) -> web.Response:
        if request.path == "/elsewhere":
            return web.json_response({"status": "ok"})
        return self.answer()


@asynccontextmanager
async def five_applications(argocd: ArgoCD) -> AsyncIterator[FakePlugin]:
    plugin = FakePlugin()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", plugin.handle)
    server = TestServer(application)
    await server.start_server(shutdown_timeout=0.1)
    try:
        await argocd.configure_plugin(article.CONFIG_MAP, url=str(server.make_url("/")), token="irrelevant")
        await argocd.apply_application_set(article.application_set())

        async def all_there() -> bool:
            return len(await argocd.applications(SET)) == len(FIVE)

        await eventually(all_there, within=30, what="five Applications")
        yield plugin
    finally:
        await argocd.delete_application_set(SET)
        await server.close()


@pytest.mark.parametrize(
    ("answer", "deleted", "reason"),
    [
        pytest.param(lambda: web.json_response({"error": "db down"}), 5, "", id="an error sent with 200"),
        pytest.param(lambda: web.Response(status=204), 5, "", id="no content"),
        pytest.param(
            lambda: web.Response(status=302, headers={"Location": "/elsewhere"}), 5, "", id="a redirect to a 200"
        ),
        pytest.param(lambda: parameters("acme"), 4, "", id="a short list"),
        pytest.param(
            lambda: web.json_response({"message": "not ready"}, status=503),
            0,
            "ApplicationGenerationFromParamsError",
            id="503",
        ),
    ],
)
async def test_what_an_answer_deletes(argocd: ArgoCD, answer: Answer, deleted: int, reason: str) -> None:
    async with five_applications(argocd) as plugin:
        before = await argocd.applications(SET)
        plugin.answer = answer
        refreshed = await argocd.refresh(SET)
        assert refreshed.reason == reason, refreshed

        async def gone() -> int:
            after = await argocd.applications(SET)
            kept = [name for name, old in before.items() if after.get(name) == old and old.deletion_timestamp is None]
            return len(before) - len(kept)

        async def as_expected() -> bool:
            return await gone() == deleted

        await eventually(as_expected, within=10, what=f"{deleted} of 5 deleted, not {await gone()}")
