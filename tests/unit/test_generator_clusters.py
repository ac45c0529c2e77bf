"""Clusters that are followed for their namespaces, with API servers that do as they are told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self, cast

import pytest

from tenantry import reflector
from tenantry.errors import Forbidden, KubeError, Unavailable
from tenantry.kube import Kube
from tenantry.resources import NAMESPACES, Resource
from tenantry_generator.errors import NotReady, Refused
from tenantry_generator.metrics import Metrics
from tenantry_generator.namespaces import by_tenant
from tenantry_generator.sources import clusters as module
from tenantry_generator.sources import namespaces
from tenantry_generator.sources.clusters import Clusters
from tests.support.background import background
from tests.support.eventually import eventually

MINE = [{"manager": "tenantry-operator", "fieldsV1": {"f:metadata": {"f:labels": {"f:tenantry.dev/tenant": {}}}}}]


class ToldCluster:
    """One API server: its namespaces, and its uid."""

    def __init__(self, uid: str = "one") -> None:
        self.server = "https://cluster.example"
        self.uid = uid
        self.namespaces: dict[str, dict[str, Any]] = {}
        self.error: KubeError | None = None
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.version = 100

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def get(self, resource: Resource, name: str) -> dict[str, Any]:
        assert (resource, name) == (NAMESPACES, "kube-system")
        return {"metadata": {"uid": self.uid}}

    async def pages(self, resource: Resource, **_: object) -> AsyncIterator[dict[str, Any]]:
        if self.error is not None:
            raise self.error
        yield {"metadata": {"resourceVersion": str(self.version)}, "items": list(self.namespaces.values())}

    @contextlib.asynccontextmanager
    async def watch(self, resource: Resource, **_: object) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        async def events() -> AsyncIterator[dict[str, Any]]:
            while True:
                yield await self.events.get()

        yield events()

    def put(self, name: str, tenant: str, *, mine: bool = True, kind: str = "ADDED") -> None:
        """Add, change or delete a namespace."""
        self.version += 1
        metadata = {"name": name, "labels": {"tenantry.dev/tenant": tenant}, "resourceVersion": str(self.version)}
        self.namespaces[name] = {"metadata": {**metadata, "managedFields": MINE if mine else []}}
        self.events.put_nowait({"type": kind, "object": self.namespaces[name]})


def known(clusters: Clusters, cluster: str = "in-cluster") -> dict[str, list[tuple[str, bool]]]:
    """Each tenant's namespaces in a cluster: (name, given by the operator)."""
    clusters.require(cluster)
    places = by_tenant(clusters.read(cluster))
    return {tenant: [(place.name, place.given) for place in found] for tenant, found in places.items()}


async def sees(clusters: Clusters, expected: dict[str, list[tuple[str, bool]]], cluster: str = "in-cluster") -> None:
    seen: object = None

    def same() -> bool:
        nonlocal seen
        seen = known(clusters, cluster)
        return seen == expected

    try:
        await eventually(same, within=5, what="the namespaces are as expected")
    except AssertionError as error:
        raise AssertionError(f"{error}; known: {seen}") from None


def refusal(clusters: Clusters, cluster: str) -> str:
    with pytest.raises((Refused, NotReady)) as caught:
        known(clusters, cluster)
    return str(caught.value)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RECHECK", 0.02)
    monkeypatch.setattr(module, "_PAUSE", 0.02)
    monkeypatch.setattr(namespaces, "_TOGETHER", 0.2)


@contextlib.asynccontextmanager
async def following(own: ToldCluster | None, directory: Path | None = None) -> AsyncIterator[Clusters]:
    clusters = Clusters(own=cast(Kube, own), directory=directory, metrics=Metrics())
    async with background(clusters.run()) as task:
        yield clusters
        assert not task.done(), task


Connect = Callable[[str, ToldCluster], None]


@pytest.fixture
def kubeconfigs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Write a kubeconfig into the directory that leads to a cluster."""
    leads_to: dict[bytes, ToldCluster] = {}

    async def connect(file: Path) -> ToldCluster:
        return leads_to[file.read_bytes()]

    def write(name: str, cluster: ToldCluster) -> None:
        content = f"{name} {len(leads_to)}".encode()
        leads_to[content] = cluster
        (tmp_path / name).write_bytes(content)

    monkeypatch.setattr(module, "_connect", connect)
    return write


async def test_namespaces_come_change_hands_and_go() -> None:
    own = ToldCluster()
    own.put("a-test", "a")
    own.put("a-prod", "a")
    own.put("b", "b", mine=False)
    async with following(own) as clusters:
        await sees_first(clusters, {"a": [("a-prod", True), ("a-test", True)], "b": [("b", False)]})
        own.put("a-test", "b", kind="MODIFIED")
        await sees(clusters, {"a": [("a-prod", True)], "b": [("a-test", True), ("b", False)]})
        own.put("a-prod", "a", kind="DELETED")
        await sees(clusters, {"b": [("a-test", True), ("b", False)]})


async def sees_first(
    clusters: Clusters, expected: dict[str, list[tuple[str, bool]]], cluster: str = "in-cluster"
) -> None:
    await eventually(lambda: known(clusters, cluster) is not None, within=5, what="the first complete list")
    await sees(clusters, expected, cluster)


async def test_departures_that_follow_each_other_are_one_and_what_returns_meanwhile_is_none() -> None:
    own = ToldCluster()
    for number in range(6):
        own.put(f"n{number}", "a")
    async with following(own) as clusters:
        seen: list[int] = []
        await eventually(lambda: len(known(clusters)["a"]) == 6, within=5, what="the first complete list")
        clusters.on_read = lambda: seen.append(len(known(clusters)["a"]))
        for number in range(4):
            own.put(f"n{number}", "a", kind="DELETED")
            await asyncio.sleep(0.02)
        own.put("n0", "a")
        own.put("new", "a")
        await eventually(lambda: 4 in seen, within=5, what="three have left")
        assert set(seen) <= {6, 7, 4}, seen


async def test_what_a_restored_api_server_lacks_is_doubted_also_when_it_was_restored_before_a_takeover(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reflector, "_CERTAIN", 1)
    own = ToldCluster()
    for number in range(3):
        own.put(f"n{number}", "a")
    async with following(own) as clusters:
        await sees_first(clusters, {"a": [("n0", True), ("n1", True), ("n2", True)]})
        del own.namespaces["n2"]
        own.version = 50
        feed = clusters.feeds["in-cluster"]
        feed.start_over()
        await eventually(lambda: feed.complete, within=5, what="it is read anew")
        await sees(clusters, {"a": [("n0", True), ("n1", True)]})
        assert feed.read is not None
        assert feed.read.doubted.keys() == {"n2"}


async def test_a_system_namespace_is_nobody_s() -> None:
    own = ToldCluster()
    own.put("kube-system", "a")
    own.put("a", "a")
    async with following(own) as clusters:
        await eventually(lambda: known(clusters)["a"] == [("a", True)], within=5, what="the first complete list")


async def test_until_the_first_complete_list_there_is_no_answer() -> None:
    own = ToldCluster()
    own.error = Forbidden("GET /api/v1/namespaces: no", status=403)
    own.put("a", "a")
    async with following(own) as clusters:
        expected = (
            "no complete read yet of the namespaces of the cluster in-cluster "
            "(GET /api/v1/namespaces: no; give it the right to list and watch namespaces)"
        )
        await eventually(lambda: refusal(clusters, "in-cluster") == expected, within=5, what="the reason is shown")
        own.error = None
        await sees_first(clusters, {"a": [("a", True)]})


async def test_what_can_t_be_read_any_more_stays_as_it_was(kubeconfigs: Connect, tmp_path: Path) -> None:
    far = ToldCluster()
    far.put("a", "a", mine=False)
    kubeconfigs("far", far)
    async with following(None, tmp_path) as clusters:
        await eventually(lambda: known(clusters, "far") is not None, within=5, what="the cluster is read")
        (tmp_path / "far").unlink()
        await eventually(lambda: clusters.feeds["far"].problem, within=5, what="the missing file is a problem")
        await sees(clusters, {"a": [("a", True)]}, "far")
        broken = ToldCluster()
        broken.error = Unavailable("GET /api/v1/namespaces: no answer in time")
        kubeconfigs("far", broken)
        told = "GET /api/v1/namespaces: no answer in time"
        await eventually(lambda: clusters.feeds["far"].problem == told, within=5, what="the failure is a problem")
        await sees(clusters, {"a": [("a", True)]}, "far")
        again = ToldCluster()
        again.put("b", "b")
        kubeconfigs("far", again)
        await sees(clusters, {"b": [("b", True)]}, "far")


async def test_a_kubeconfig_that_leads_to_another_cluster_takes_nothing_away(
    kubeconfigs: Connect, tmp_path: Path
) -> None:
    far = ToldCluster()
    far.put("a", "a")
    kubeconfigs("far", far)
    async with following(None, tmp_path) as clusters:
        await eventually(lambda: known(clusters, "far") is not None, within=5, what="the cluster is read")
        kubeconfigs("far", ToldCluster("another"))
        cluster = clusters.feeds["far"]
        expected = (
            "https://cluster.example is another cluster than before; correct the kubeconfig, or restart to accept it"
        )
        await eventually(lambda: cluster.problem == expected, within=5, what="the problem is shown")
        assert known(clusters, "far") == {"a": [("a", True)]}


async def test_a_cluster_that_fails_freezes_no_other(kubeconfigs: Connect, tmp_path: Path) -> None:
    near, far = ToldCluster(), ToldCluster()
    near.put("a", "a")
    far.error = Unavailable("GET /api/v1/namespaces: no answer in time")
    kubeconfigs("near", near)
    kubeconfigs("far", far)
    (tmp_path / "..data").mkdir()
    async with following(None, tmp_path) as clusters:
        await eventually(lambda: known(clusters, "near") is not None, within=5, what="the cluster is read")
        await eventually(
            lambda: refusal(clusters, "far").endswith("(GET /api/v1/namespaces: no answer in time)"),
            within=5,
            what="the other says why it can't be read",
        )
        assert refusal(clusters, "elsewhere") == "input.parameters: no such cluster; known are far, near"
        kubeconfigs("new", near)
        await eventually(lambda: known(clusters, "new") is not None, within=5, what="an added one is read")


async def test_a_kubeconfig_that_can_t_be_used_is_said_and_waited_for(tmp_path: Path) -> None:
    (tmp_path / "far").write_text("no: kubeconfig\n")
    async with following(None, tmp_path) as clusters:
        await eventually(
            lambda: "(the kubeconfig far can't be used: " in refusal(clusters, "far"),
            within=5,
            what="the reason is shown",
        )


def test_without_any_cluster_the_settings_to_make_are_named() -> None:
    clusters = Clusters(own=None, directory=None, metrics=Metrics())
    message = (
        "input.parameters: no such cluster; "
        "there is none: add cluster to TENANTRY_SOURCES, or set TENANTRY_CLUSTERS_DIR"
    )
    assert refusal(clusters, "in-cluster") == message
