"""The record in ConfigMaps of a real API server, under the rights that the generator ships with.

Each test has a namespace of its own with the generator's Role and a ServiceAccount that has nothing else.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tenantry.credentials import load_credentials
from tenantry.kube import Kube
from tenantry.resources import CONFIG_MAPS, NAMESPACES, ROLE_BINDINGS, Resource
from tenantry_generator.errors import RecordConflict, RecordCorrupt, RecordUnavailable
from tenantry_generator.record import Stored
from tenantry_generator.record.configmaps import RECORD_LABEL, configmap_store
from tenantry_generator.record.index import INDEX
from tenantry_generator.record.store import Store
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually

ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
RBAC = Path(__file__).parents[2] / "manifests" / "base" / "generator-rbac.yaml"


@pytest.fixture
async def space(kube: Kube) -> AsyncIterator[str]:
    """A namespace where the ServiceAccount `generator` has what the manifests grant in theirs."""
    name = f"record-{uuid.uuid4().hex[:6]}"
    await kube.create(NAMESPACES, {"metadata": {"name": name}})
    await kube.create(SERVICE_ACCOUNTS, {"metadata": {"name": "generator"}}, name)
    roles = [body for body in yaml.safe_load_all(RBAC.read_text()) if body["kind"] == "Role"]
    (role,) = [body for body in roles if "namespace" not in body["metadata"]]  # the other is in Argo CD's namespace
    await kube.create(ROLES, {"metadata": {"name": "generator"}, "rules": role["rules"]}, name)
    binding = {
        "metadata": {"name": "generator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "generator"},
        "subjects": [{"kind": "ServiceAccount", "name": "generator", "namespace": name}],
    }
    await kube.create(ROLE_BINDINGS, binding, name)
    yield name
    await kube.delete(NAMESPACES, name)


@pytest.fixture
async def mine(control_plane: ControlPlane, space: str) -> AsyncIterator[Kube]:
    """A client of that ServiceAccount."""
    kubeconfig = await control_plane.service_account_kubeconfig(space, "generator")
    async with Kube(await load_credentials(str(kubeconfig))) as client:
        yield client


@pytest.fixture
async def store(mine: Kube, space: str) -> AsyncIterator[Store]:
    async with configmap_store(mine, namespace=space) as store:
        yield store


def rows(count: int) -> dict[str, bytes]:
    return {f"t{number}": json.dumps({"name": f"t{number}", "filler": "x" * 200}).encode() for number in range(count)}


def stored(revision: int, **changes: bytes) -> Stored:
    return Stored(revision, b'{"r":%d}' % revision, {"rows": {**rows(1000), **changes}, "holds": {}})


async def parts(kube: Kube, space: str) -> dict[str, dict[str, Any]]:
    """The record's ConfigMaps by name."""
    listed = await kube.list(CONFIG_MAPS, space, RECORD_LABEL)
    return {body["metadata"]["name"]: body for body in listed["items"]}


async def a_chunk(kube: Kube, space: str) -> str:
    return min(name for name in await parts(kube, space) if name != INDEX)


async def test_what_was_saved_is_loaded_by_the_next_process(store: Store, mine: Kube, space: str) -> None:
    assert await store.load() is None
    await store.save(stored(1))
    await store.save(stored(2, t1=b"1"))
    async with configmap_store(mine, namespace=space) as other:
        assert await other.load() == stored(2, t1=b"1")
        await other.save(stored(3))
    assert await configmap_store(mine, namespace=space).load() == stored(3)


async def test_chunks_no_longer_needed_are_deleted_and_one_that_is_needed_again_is_not(
    store: Store, kube: Kube, space: str
) -> None:
    for revision in range(1, 12):
        await store.save(stored(revision, t1=b"%d" % (revision % 3)))
    needed = len(await parts(kube, space))

    async def swept() -> bool:
        return len(await parts(kube, space)) == 1 + 8 + 1

    await eventually(swept, within=10, what=f"an index, 8 chunks and the one before are left of {needed}")
    assert await configmap_store(kube, namespace=space).load() == stored(11, t1=b"2")


async def test_a_chunk_that_is_there_already_is_touched_so_that_no_late_delete_takes_it_away(
    store: Store, kube: Kube, space: str
) -> None:
    await store.save(stored(1))
    name = await a_chunk(kube, space)
    there = await kube.get(CONFIG_MAPS, name, space)
    await kube.delete(CONFIG_MAPS, INDEX, space)
    await kube.merge_patch(CONFIG_MAPS, name, {"metadata": {"labels": {RECORD_LABEL: None}}}, space)
    await store.save(stored(2))
    after = await kube.get(CONFIG_MAPS, name, space)
    assert after["metadata"]["uid"] == there["metadata"]["uid"]
    assert after["metadata"]["labels"][RECORD_LABEL] == "chunk"
    assert await configmap_store(kube, namespace=space).load() == stored(2)


async def test_a_chunk_that_somebody_touched_since_is_not_deleted(store: Store, kube: Kube, space: str) -> None:
    await store.save(Stored(1, b"{}", {"rows": {"a": b"1"}}))
    name = await a_chunk(kube, space)
    await kube.merge_patch(CONFIG_MAPS, name, {"metadata": {"annotations": {"needed": "again"}}}, space)
    for revision in range(2, 6):
        await store.save(Stored(revision, b"{}", {"rows": {"a": b"%d" % revision}}))

    async def swept() -> bool:
        return len(await parts(kube, space)) == 1 + 1 + 1 + 1

    await eventually(swept, within=10, what="the index, its chunk, the one before and the touched one are left")
    assert name in await parts(kube, space)


async def test_something_else_under_a_chunk_s_name_gives_way(store: Store, kube: Kube, space: str) -> None:
    await store.save(stored(1))
    name = await a_chunk(kube, space)
    await kube.delete(CONFIG_MAPS, name, space)
    await kube.create(CONFIG_MAPS, {"metadata": {"name": name}, "data": {"content": "not ours"}}, space)
    await kube.delete(CONFIG_MAPS, INDEX, space)
    await store.save(stored(2))
    assert await configmap_store(kube, namespace=space).load() == stored(2)


async def test_of_two_writers_the_second_learns_of_the_first(store: Store, mine: Kube, space: str) -> None:
    await store.save(stored(1))
    async with configmap_store(mine, namespace=space) as other:
        await other.load()
        await store.save(stored(2))
        with pytest.raises(RecordConflict, match="another process"):
            await other.save(stored(3))
        with pytest.raises(RecordConflict, match="another process"):
            await configmap_store(mine, namespace=space).save(stored(3))
        assert await other.load() == stored(2)
        await other.save(stored(3))
        with pytest.raises(RecordConflict, match="another process"):
            await store.save(stored(4))


async def test_many_first_writers_at_once_make_one_record(mine: Kube, space: str) -> None:
    stores = [configmap_store(mine, namespace=space) for _ in range(5)]
    done = await asyncio.gather(
        *(store.save(stored(number)) for number, store in enumerate(stores)), return_exceptions=True
    )
    (winner,) = [number for number, result in enumerate(done) if result is None]
    assert all(isinstance(result, RecordConflict) for result in done if result is not None), done
    assert await configmap_store(mine, namespace=space).load() == stored(winner)
    for store in stores:
        await store.close()


async def test_a_deleted_index_is_written_anew_by_who_wrote_it_and_is_no_absence_to_others(
    store: Store, mine: Kube, kube: Kube, space: str
) -> None:
    await store.save(stored(1))
    await kube.delete(CONFIG_MAPS, INDEX, space)
    with pytest.raises(RecordCorrupt, match=f"{INDEX} is missing, and 8 chunks are there without it"):
        await configmap_store(mine, namespace=space).load()
    await store.save(stored(2))
    assert await configmap_store(mine, namespace=space).load() == stored(2)
    for name in await parts(kube, space):
        await kube.delete(CONFIG_MAPS, name, space)
    assert await configmap_store(mine, namespace=space).load() is None
    await store.save(stored(3))
    assert await configmap_store(mine, namespace=space).load() == stored(3)


async def test_a_chunk_that_was_deleted_or_replaced_makes_the_record_corrupt_and_names_it(
    store: Store, mine: Kube, kube: Kube, space: str
) -> None:
    await store.save(stored(1))
    name = await a_chunk(kube, space)
    body = await kube.get(CONFIG_MAPS, name, space)
    await kube.delete(CONFIG_MAPS, name, space)
    with pytest.raises(RecordCorrupt, match=f"{name} is missing"):
        await configmap_store(mine, namespace=space).load()
    labels = {"metadata": {"name": name, "labels": body["metadata"]["labels"]}}
    await kube.create(CONFIG_MAPS, {**labels, "data": {"content": "not ours"}}, space)
    with pytest.raises(RecordCorrupt, match=f"{name} is not what was written"):
        await configmap_store(mine, namespace=space).load()
    await kube.delete(CONFIG_MAPS, name, space)
    await kube.create(CONFIG_MAPS, {**labels, "binaryData": body["binaryData"]}, space)
    assert await configmap_store(mine, namespace=space).load() == stored(1)


async def test_an_edited_index_is_corrupt_to_a_reader_and_a_conflict_to_its_writer(
    store: Store, mine: Kube, kube: Kube, space: str
) -> None:
    await store.save(stored(1))
    await kube.merge_patch(CONFIG_MAPS, INDEX, {"metadata": {"labels": {"team": "sre"}}}, space)
    await store.save(stored(2))
    text = (await kube.get(CONFIG_MAPS, INDEX, space))["data"]["content"]
    await kube.merge_patch(CONFIG_MAPS, INDEX, {"data": {"content": text.replace("1", "2", 1)}}, space)
    with pytest.raises(RecordCorrupt, match=INDEX):
        await configmap_store(mine, namespace=space).load()
    with pytest.raises(RecordConflict, match="changed by somebody"):
        await store.save(stored(3))
    await kube.merge_patch(CONFIG_MAPS, INDEX, {"data": None}, space)
    with pytest.raises(RecordCorrupt, match=INDEX):
        await configmap_store(mine, namespace=space).load()


async def test_a_namespace_that_is_not_there_or_closed_is_no_absence(mine: Kube, kube: Kube) -> None:
    with pytest.raises(RecordUnavailable, match=r"reading the record in the namespace default.*forbidden"):
        await configmap_store(mine, namespace="default").load()
    with pytest.raises(RecordUnavailable, match="not found"):
        await configmap_store(kube, namespace="nowhere").save(stored(1))


@pytest.mark.parametrize("count", [10_000, 100_000])
async def test_many_tenants_fit_and_one_change_costs_little(
    store: Store, mine: Kube, kube: Kube, space: str, count: int
) -> None:
    tables = {"rows": rows(count)}
    began = time.perf_counter()
    await store.save(Stored(1, b"{}", tables))
    full = time.perf_counter() - began
    changed = {"rows": {**tables["rows"], "t77": b"{}"}}
    began, cpu = time.perf_counter(), time.process_time()
    await store.save(Stored(2, b"{}", changed))
    one, one_cpu = time.perf_counter() - began, time.process_time() - cpu
    began = time.perf_counter()
    found = await configmap_store(mine, namespace=space).load()
    load = time.perf_counter() - began
    assert found is not None
    assert found.tables == changed
    sizes = [len(json.dumps(body)) for body in (await parts(kube, space)).values()]
    print(f"{count} tenants: full {full:.2f} s, load {load:.2f} s")
    print(f"one change {one * 1000:.0f} ms, {one_cpu * 1000:.0f} ms of it CPU")
    print(f"{len(sizes)} ConfigMaps, the largest of {max(sizes)} bytes, {sum(sizes)} in all")
    assert len(sizes) < 600
    assert max(sizes) < 100_000
    assert one_cpu < 0.3
