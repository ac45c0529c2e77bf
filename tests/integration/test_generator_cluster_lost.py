"""An API server that is there and has lost Tenants: restored from a backup, or with its CRDs deleted."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tenantry.kube import Kube
from tenantry.reflector import Timing
from tenantry.resources import TENANTS
from tenantry_generator.metrics import Metrics
from tenantry_generator.publisher import Publisher
from tenantry_generator.sources.cluster import ClusterSource
from tests.support.background import background
from tests.support.binaries import Binaries
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.tenantry import Generator

CRDS = Path(__file__).parents[2] / "crds"
THREE = {"acme", "beta", "gamma"}
QUICK = Timing(silence=2, first_retry=0.1, last_retry=0.5)


@pytest.fixture
async def plane(binaries: Binaries, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """A control plane of the test's own, with three Tenants."""
    plane = ControlPlane(binaries, tmp_path / "control-plane")
    try:
        await plane.start()
        await plane.kubectl("apply", "--filename", str(CRDS))
        await plane.serve_crds()
        async with await plane.kube() as kube:
            for name in THREE:
                await create(kube, name)
        yield plane
    finally:
        await plane.stop()


async def create(kube: Kube, name: str) -> None:
    await kube.create(TENANTS, {"metadata": {"name": name}, "spec": {}})


async def test_what_a_restored_api_server_lacks_is_held_and_what_it_has_is_followed(plane: ControlPlane) -> None:
    backup = await plane.back_up()
    async with await plane.kube() as kube:
        await create(kube, "newer")
        for _ in range(50):  # so that the API server is not soon as far as it was
            await kube.merge_patch(TENANTS, "newer", {"metadata": {"annotations": {"x": secrets.token_hex(4)}}})
        source = ClusterSource(kube, columns=("status",), timing=QUICK)
        publisher = Publisher(cluster=source, database=None, metrics=Metrics())

        def served() -> set[str]:
            return set(publisher.snapshot.rows) if publisher.snapshot else set()

        async with background(publisher.run()):
            await eventually(lambda: served() == THREE | {"newer"}, within=10, what="four tenants")
            await plane.restore(backup)
            refused = "its resourceVersion is lower than one seen before"
            await eventually(lambda: refused in (source.problem or ""), within=30, what="the refusal is reported")
            await eventually(lambda: source.problem is None, within=30, what="the restored state is taken")
            await create(kube, "latest")
            await eventually(lambda: "latest" in served(), within=10, what="what comes is followed")
            await kube.merge_patch(TENANTS, "beta", {"spec": {"displayName": "Beta"}})

            def changed() -> bool:
                return publisher.snapshot is not None and publisher.snapshot.rows["beta"]["displayName"] == "Beta"

            await eventually(changed, within=10, what="what changes is followed")
            assert served() == THREE | {"newer", "latest"}, "a single departure that nobody asked for is held"


async def test_a_crd_that_is_deleted_and_created_again_takes_nobody_away(plane: ControlPlane, tmp_path: Path) -> None:
    env = {"KUBECONFIG": str(plane.kubeconfig), "TENANTRY_SOURCES": "cluster"}
    generator = Generator(token=secrets.token_hex(8), directory=tmp_path, env=env)
    lost: list[set[str]] = []

    async def served() -> set[str]:
        status, answer = await generator.getparams()
        assert status == 200, answer
        return {row["tenant"] for row in answer["output"]["parameters"]}

    async def watch() -> None:
        while True:
            if missing := THREE - await served():
                lost.append(missing)
            await asyncio.sleep(0.02)

    async def up(wanted: float) -> bool:
        async with aiohttp.ClientSession() as http, http.get(f"{generator.url}/metrics") as response:
            families = text_string_to_metric_families(await response.text())
        return any(
            sample.name == "tenantry_source_up" and sample.labels["source"] == "cluster" and sample.value == wanted
            for family in families
            for sample in family.samples
        )

    await generator.start()
    try:
        async with background(watch()), await plane.kube() as kube:
            await plane.kubectl("delete", "--filename", str(CRDS / "tenantry.dev_tenants.yaml"))
            await eventually(lambda: up(0), within=30, what="the generator says that the kind is gone")
            await plane.kubectl("apply", "--filename", str(CRDS))
            await plane.serve_crds()
            await eventually(lambda: up(1), within=60, what="the kind is followed again")
            await create(kube, "acme")
            await create(kube, "delta")

            async def has_delta() -> bool:
                return "delta" in await served()

            await eventually(has_delta, within=10, what="new Tenants are followed")
            assert await served() == THREE | {"delta"}
        assert lost == []
    finally:
        await generator.stop()
