"""What both services measure of their API servers, each moved by what it is said to count."""

from importlib.metadata import version
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tenantry.errors import Gone, NotFound, Unavailable
from tenantry.kube import Kube
from tenantry.measuring import ApiMetrics, add_build_info
from tenantry.resources import NAMESPACES
from tests.support.eventually import eventually
from tests.unit.scripted_api import namespace, page, scripted, status
from tests.unit.test_reflector import QUICK, following

_KIND = {"kind": "Namespace"}


async def test_requests_are_counted_by_method_and_code(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    metrics = ApiMetrics(registry)

    def count(method: str, code: str) -> float | None:
        return registry.get_sample_value("rest_client_requests_total", {"method": method, "code": code})

    async with scripted(tmp_path) as (api, kube):
        metrics.watch(kube)
        assert count("GET", "200") is None
        api.on_list(page(version=5), (404, status(404, "NotFound")))
        await kube.list(NAMESPACES)
        with pytest.raises(NotFound):
            await kube.list(NAMESPACES)
        api.on_watch((410, status(410, "Expired")), ([], "hang"))
        for failure in (Gone, Unavailable):
            with pytest.raises(failure):
                await drain(kube)
    assert (count("GET", "200"), count("GET", "404"), count("WATCH", "410")) == (1, 1, 1)
    assert count("WATCH", "<error>") == 1


async def drain(kube: Kube) -> None:
    async with kube.watch(NAMESPACES, resource_version="5", silence=0.2) as events:
        async for _ in events:
            pass


async def test_the_silence_of_a_watch_and_lists_that_go_back_are_shown_by_kind(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    metrics = ApiMetrics(registry)
    async with following(tmp_path, timing=QUICK) as run:
        metrics.watch(caches=lambda: [run.reflector])

        def went_back() -> float | None:
            return registry.get_sample_value("tenantry_resource_version_regressions_total", _KIND)

        def age() -> float:
            return registry.get_sample_value("tenantry_watch_last_event_age_seconds", _KIND) or 0.0

        run.api.on_list(page(namespace("a", 5), version=10))
        run.api.on_watch(([], "hang"))
        await run.reaches("a")
        assert went_back() == 0
        await eventually(lambda: age() > 0.1, within=5, what="the silence grows")
        run.api.on_watch((410, status(410, "Expired")), ([], "hang"))
        run.api.on_list(page(namespace("a", 5), version=9), page(namespace("a", 5), version=11))
        await eventually(lambda: went_back() == 1, within=5, what="the older list is counted")
        await eventually(lambda: age() < 0.1, within=5, what="it is heard of again")


def test_the_build_is_told() -> None:
    registry = CollectorRegistry()
    add_build_info(registry)
    assert f'tenantry_build_info{{version="{version("tenantry")}"}} 1.0' in generate_latest(registry).decode()
