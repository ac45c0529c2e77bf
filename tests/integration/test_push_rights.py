"""The right to patch ApplicationSets: what it allows, and what happens without it."""

import secrets
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tenantry.credentials import load_credentials
from tenantry.errors import Invalid
from tenantry.kube import Kube
from tenantry.resources import APPLICATION_SETS, TENANTS
from tenantry_generator.applicationsets import REFRESH
from tests.support.argocd import NAMESPACE
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.identities import Identities
from tests.support.tenantry import Generator

ANOTHER = "tenantry-without-patch"
ANNOTATED = {"metadata": {"annotations": {REFRESH: "now"}}}


def application_set(name: str) -> dict[str, Any]:
    template = {
        "metadata": {"name": "{{ .name }}"},
        "spec": {
            "project": "default",
            "destination": {"name": "in-cluster", "namespace": "default"},
            "source": {"repoURL": "https://git.example.com/x.git", "path": "x"},
        },
    }
    generators = [{"plugin": {"configMapRef": {"name": "tenantry"}}}]
    return {"metadata": {"name": name}, "spec": {"goTemplate": True, "generators": generators, "template": template}}


@pytest.fixture
async def apps(argocd_kinds: None, identities: Identities, kube: Kube) -> AsyncIterator[str]:
    """An ApplicationSet that names a ConfigMap of ours, without any controller that looks at it."""
    name = f"rights-{secrets.token_hex(3)}"
    body = application_set(name)
    body["metadata"]["labels"] = {"a": "b"}
    body["metadata"]["annotations"] = {"somebody.example/wrote": "this"}
    body["metadata"]["finalizers"] = ["somebody.example/keep"]
    await kube.create(APPLICATION_SETS, body, NAMESPACE)
    yield name
    await kube.merge_patch(APPLICATION_SETS, name, {"metadata": {"finalizers": None}}, NAMESPACE)
    await kube.delete(APPLICATION_SETS, name, NAMESPACE)


async def refused(kube: Kube, name: str, patch: dict[str, Any]) -> str:
    try:
        await kube.merge_patch(APPLICATION_SETS, name, patch, NAMESPACE)
    except Invalid as error:
        return str(error)
    return "not refused"


async def test_the_generator_can_change_nothing_of_an_application_set_but_the_one_annotation(
    identities: Identities, kube: Kube, apps: str
) -> None:
    said = "nothing of an ApplicationSet but the annotation"
    async with Kube(await load_credentials(str(identities.generator))) as mine:

        async def in_force() -> bool:
            return said in await refused(mine, apps, {"metadata": {"labels": {"a": "c"}}})

        await eventually(in_force, within=15, what="the policy is in force")
        elsewhere = {"spec": {"source": {"repoURL": "https://evil.example.com/x.git"}}}
        changes: list[dict[str, Any]] = [
            {"spec": {"template": elsewhere}},
            {"spec": {"generators": []}},
            {"spec": {"syncPolicy": {"applicationsSync": "sync"}}},
            {"metadata": {"labels": {"another": "one"}}},
            {"metadata": {"labels": {"a": None}}},
            {"metadata": {"annotations": {"another": "one"}}},
            {"metadata": {"annotations": {"somebody.example/wrote": "that"}}},
            {"metadata": {"annotations": {"somebody.example/wrote": None}}},
            {"metadata": {"annotations": None}},
            {"metadata": {"finalizers": None}},
            {"metadata": {"ownerReferences": [_reference()]}},
            {**ANNOTATED, "spec": {"template": elsewhere}},
        ]
        for change in changes:
            assert said in await refused(mine, apps, change), change
        await mine.merge_patch(APPLICATION_SETS, apps, ANNOTATED, NAMESPACE)
        await mine.merge_patch(APPLICATION_SETS, apps, {"metadata": {"annotations": {REFRESH: None}}}, NAMESPACE)
    assert await refused(kube, apps, {"metadata": {"labels": {"a": "c"}}}) == "not refused"


def _reference() -> dict[str, str]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "6f2b8a0e-0000-0000-0000-000000000000"}


def rights(namespace: str, *verbs: str) -> str:
    """A ServiceAccount with the generator's rights, but in Argo CD's namespace only with these verbs."""
    role = "rbac.authorization.k8s.io/v1"
    subject = {"kind": "ServiceAccount", "name": ANOTHER, "namespace": namespace}

    def bound(kind: str, to: str, ref: str, space: str | None) -> dict[str, Any]:
        metadata = {"name": ANOTHER, **({} if space is None else {"namespace": space})}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": to, "name": ref}
        return {"apiVersion": role, "kind": kind, "metadata": metadata, "roleRef": reference, "subjects": [subject]}

    rules = [
        {"apiGroups": ["argoproj.io"], "resources": ["applicationsets"], "verbs": list(verbs)},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]},
    ]
    return yaml.safe_dump_all(
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ANOTHER, "namespace": namespace}},
            bound("ClusterRoleBinding", "ClusterRole", "tenantry-generator", None),
            bound("RoleBinding", "Role", "tenantry-generator", namespace),
            {
                "apiVersion": role,
                "kind": "Role",
                "metadata": {"name": ANOTHER, "namespace": NAMESPACE},
                "rules": rules,
            },
            bound("RoleBinding", "Role", ANOTHER, NAMESPACE),
        ]
    )


@pytest.mark.parametrize("verbs", [("list", "watch"), ("get",)], ids=["no patch", "not even list"])
async def test_without_the_right_it_answers_all_the_same_and_says_once_what_to_apply(
    control_plane: ControlPlane, identities: Identities, kube: Kube, apps: str, tmp_path: Path, verbs: tuple[str, ...]
) -> None:
    await control_plane.kubectl("apply", "--filename=-", stdin=rights(identities.namespace, *verbs))
    kubeconfig = await control_plane.service_account_kubeconfig(identities.namespace, ANOTHER)
    env = {"KUBECONFIG": str(kubeconfig), "TENANTRY_SOURCES": "cluster"}
    generator = Generator(token="s3cret", directory=tmp_path, env=env)
    tenants = [f"{apps}-{number}" for number in range(3)]
    log = tmp_path / "tenantry-generator.log"

    def warnings() -> int:
        return log.read_text().count("apply the Role of manifests/base/generator-rbac.yaml")

    async def served(tenant: str) -> bool:
        status, answer = await generator.getparams()
        return status == 200 and any(row["name"] == tenant for row in answer["output"]["parameters"])

    async def annotated() -> bool:
        body = await kube.get(APPLICATION_SETS, apps, NAMESPACE)
        return REFRESH in body["metadata"]["annotations"]

    try:
        await generator.start(until="/healthz")
        for tenant in tenants:
            await kube.create(TENANTS, {"metadata": {"name": tenant}, "spec": {}})
            await eventually(partial(served, tenant), within=10, what=f"{tenant} is served")
        await eventually(warnings, within=10, what="it says what is missing")
        assert not await annotated()
        assert warnings() == 1
    finally:
        await generator.stop()
        for tenant in tenants:
            await kube.delete(TENANTS, tenant)
        await control_plane.kubectl("delete", "--filename=-", stdin=rights(identities.namespace, *verbs))
