"""Elements for namespaces against a real API server: our own cluster's, and those of clusters named by kubeconfigs."""

import asyncio
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tenantry.kube import Kube
from tenantry.resources import NAMESPACES, TENANTS
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.identities import Identities
from tests.support.tenantry import Generator, Operator

ONE = "one-of-the-others"
ADMIN = "admin-of-the-test"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of kubeconfigs."""
    found = tmp_path / "clusters"
    found.mkdir()
    return found


async def apply(kube: Kube, name: str, *items: str) -> None:
    """Apply a Tenant with these namespaces."""
    spec = {"namespaces": {"items": [{"name": item} for item in items]}, "parameters": {"size": 3}}
    await kube.apply(TENANTS, {"metadata": {"name": name}, "spec": spec}, field_manager="test")


@pytest.fixture
async def tenant(kube: Kube, operator: Operator) -> AsyncIterator[str]:
    """A Tenant with two namespaces that the operator made, and one that somebody else labelled as its."""
    name = f"n{secrets.token_hex(4)}"
    labels = {"tenantry.dev/tenant": name, "env": "prod"}
    await kube.apply(NAMESPACES, {"metadata": {"name": f"{name}-copied", "labels": labels}}, field_manager="somebody")
    await apply(kube, name, "given", "spare")

    async def made() -> bool:
        return all([await kube.get(NAMESPACES, f"{name}-{item}") for item in ("given", "spare")])

    await eventually(made, within=20, what="the operator has made the namespaces")
    await kube.merge_patch(NAMESPACES, f"{name}-given", {"metadata": {"labels": {"env": "prod"}}})
    yield name
    await kube.delete(TENANTS, name)
    await kube.merge_patch(NAMESPACES, f"{name}-copied", {"metadata": {"labels": {"tenantry.dev/tenant": None}}})


@pytest.fixture
async def generator(
    control_plane: ControlPlane, identities: Identities, tenant: str, directory: Path, tmp_path: Path
) -> AsyncIterator[Generator]:
    admins = tmp_path / "admins"
    admins.mkdir()
    (admins / "on-call").write_text(ADMIN)
    env = {
        "KUBECONFIG": str(identities.generator),
        "TENANTRY_SOURCES": "cluster",
        "TENANTRY_CLUSTERS_DIR": str(directory),
        "TENANTRY_ADMIN_TOKEN_DIR": str(admins),
    }
    running = Generator(token="token-of-the-test", directory=tmp_path / "generator", env=env)
    await running.start()
    yield running
    await running.stop()


async def elements(generator: Generator, **parameters: object) -> list[dict[str, Any]]:
    status, answer = await generator.getparams(parameters)
    assert status == 200, answer
    found: list[dict[str, Any]] = answer["output"]["parameters"]
    return found


async def message(generator: Generator, **parameters: object) -> tuple[int, str]:
    status, answer = await generator.getparams(parameters)
    return status, answer.get("message", "")


async def test_only_what_the_operator_labelled_is_a_tenant_s_namespace(generator: Generator, tenant: str) -> None:
    async def seen() -> list[dict[str, Any]]:
        return await elements(generator, tenant=tenant, expand="namespace", labelSelector="env in (prod,test)")

    (element,) = await eventually(seen, within=20, what="the tenant's namespace")
    (whole,) = await elements(generator, tenant=tenant)
    assert element == {**whole, "namespace": f"{tenant}-given", "cluster": "in-cluster"}
    assert element["parameters"] == {"size": "3"}
    assert await elements(generator, tenant=tenant, labelSelector={"env": "test"}) == []


async def test_a_namespace_follows_its_labels_and_leaves_with_them(
    generator: Generator, tenant: str, kube: Kube
) -> None:
    name, spare = f"{tenant}-given", f"{tenant}-spare"

    async def shown() -> bool:
        found = await elements(generator, tenant=tenant, labelSelector="env=test")
        return [each["namespace"] for each in found] == [name]

    async def gone() -> bool:
        return [each["namespace"] for each in await elements(generator, tenant=tenant, expand="namespace")] == [spare]

    await kube.merge_patch(NAMESPACES, name, {"metadata": {"labels": {"env": "test"}}})
    await eventually(shown, within=10, what="the changed label is followed")
    await apply(kube, tenant, "spare")  # the operator lets go of the other one
    await eventually(gone, within=10, what="the namespace has left")


async def test_a_tenant_that_is_deleted_with_many_namespaces_leaves_no_hold(
    generator: Generator, tenant: str, kube: Kube
) -> None:
    other = f"{tenant}x"
    names = [f"{other}-{number}" for number in range(6)]
    await apply(kube, other, *map(str, range(6)))

    async def seen() -> list[str]:
        found = await elements(generator, expand="namespace")
        return [each["namespace"] for each in found if each["tenant"] in (tenant, other)]

    async def all_seen() -> bool:
        return await seen() == [f"{tenant}-given", f"{tenant}-spare", *names]

    async def gone() -> bool:
        return await seen() == [f"{tenant}-given"]

    await eventually(all_seen, within=20, what="the namespaces of both")
    await kube.delete(TENANTS, other)
    await apply(kube, tenant, "given")  # the other one of its namespaces leaves by itself, and is not held along
    await eventually(gone, within=20, what="only what is left")
    assert await generator.holds() == []


async def test_another_cluster_is_asked_for_by_the_name_of_its_kubeconfig(
    generator: Generator, tenant: str, directory: Path, control_plane: ControlPlane
) -> None:
    known = "input.parameters: no such cluster; known are in-cluster"
    assert await message(generator, cluster=ONE) == (400, known)
    shutil.copy(control_plane.kubeconfig, directory / ONE)

    async def both() -> bool:
        # There is no operator in another cluster: the label is taken at its word.
        found = await elements(generator, tenant=tenant, cluster=ONE)
        assert [(each["namespace"], each["cluster"]) for each in found] == [
            (f"{tenant}-copied", ONE),
            (f"{tenant}-given", ONE),
            (f"{tenant}-spare", ONE),
        ]
        return True

    await eventually(both, within=20, what="the other cluster's namespaces")


async def test_a_cluster_that_can_t_be_reached_freezes_only_the_answers_that_name_it(
    generator: Generator, tenant: str, directory: Path, control_plane: ControlPlane
) -> None:
    unreachable = re.sub(r"https://[^\s\"]+", "https://127.0.0.1:9", control_plane.kubeconfig.read_text())
    (directory / "down").write_text(unreachable)
    (directory / "nonsense").write_text("[]")

    async def told() -> bool:
        status, text = await message(generator, cluster="down")
        assert status == 503, text
        assert text.startswith("no complete read yet of the namespaces of the cluster down (")
        assert "still reading" not in text
        status, text = await message(generator, cluster="nonsense")
        assert status == 503, text
        assert "(the kubeconfig nonsense can't be used: " in text
        return True

    await eventually(told, within=30, what="the reasons are told")
    assert [each["tenant"] for each in await elements(generator, tenant=tenant)] == [tenant]
    (directory / "down").write_text(control_plane.kubeconfig.read_text())

    async def mended() -> bool:
        return len(await elements(generator, tenant=tenant, cluster="down")) == 3

    await eventually(mended, within=30, what="the mended kubeconfig is used")


@pytest.fixture
async def many(kube: Kube, tenant: str) -> AsyncIterator[list[str]]:
    """Ten namespaces that somebody has labelled as the tenant's."""
    names = [f"{tenant}-many{number}" for number in range(10)]
    await label(kube, names, tenant)
    yield names
    await label(kube, names, None)


async def label(kube: Kube, names: list[str], tenant: str | None) -> None:
    bodies = [
        {"metadata": {"name": name, "labels": {"tenantry.dev/tenant": tenant} if tenant else {}}} for name in names
    ]
    await asyncio.gather(*(kube.apply(NAMESPACES, body, field_manager="somebody") for body in bodies))


async def test_labels_taken_off_many_namespaces_are_held_over_a_restart_until_that_is_acknowledged(
    generator: Generator, tenant: str, many: list[str], kube: Kube, directory: Path, control_plane: ControlPlane
) -> None:
    everything = {*many, f"{tenant}-copied", f"{tenant}-given", f"{tenant}-spare"}
    kubeconfig = control_plane.kubeconfig.read_text()
    (directory / ONE).write_text(kubeconfig)

    async def seen() -> set[str]:
        status, answer = await generator.getparams({"tenant": tenant, "cluster": ONE})
        return {each["namespace"] for each in answer["output"]["parameters"]} if status == 200 else set()

    async def all_seen() -> bool:
        return await seen() == everything

    async def held() -> list[dict[str, Any]]:
        assert await all_seen()
        return await generator.holds()

    await eventually(all_seen, within=20, what="the other cluster's namespaces")
    await label(kube, many, None)
    (hold,) = await eventually(held, within=20, what="a hold")
    assert (hold["set"], hold["tenants"]) == (f"namespaces of {ONE}", sorted(many))

    await generator.stop()
    (directory / ONE).write_text(re.sub(r"https://[^\s\"]+", "https://127.0.0.1:9", kubeconfig))
    await generator.start()
    assert [each["hash"] for each in await held()] == [hold["hash"]], "while the cluster can't be reached"
    (directory / ONE).write_text(kubeconfig)

    async def released() -> bool:
        # 202 until the cluster has been read again; then it is followed.
        status, answer = await generator.acknowledge(hold["hash"], token=ADMIN)
        assert status in (200, 202, 409), answer
        return await seen() == everything - set(many)

    await eventually(released, within=20, what="what was acknowledged is gone")
    assert await generator.holds() == []
