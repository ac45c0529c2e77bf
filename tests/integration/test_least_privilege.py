"""Each service has the rights that it uses, and no other: what the manifests grant against the audit log."""

import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tenantry.credentials import load_credentials
from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.resources import APPLICATION_SETS, CONFIG_MAPS, NAMESPACES, PODS, RESOURCE_QUOTAS, TENANTS, Resource
from tenantry_generator.events import announcer
from tenantry_generator.record import Stored
from tenantry_generator.record.configmaps import configmap_store
from tenantry_generator.record.index import INDEX
from tenantry_operator.events import EVENTS_NAMESPACE
from tests.integration.test_operator import absent, apply, ready
from tests.integration.test_operator_children import EVERYTHING
from tests.integration.test_push_rights import application_set
from tests.support.argocd import NAMESPACE as ARGOCD
from tests.support.argocd import ArgoCD
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.identities import Identities, generator_pod, requests_of
from tests.support.record import forget_record
from tests.support.tenantry import Generator, Operator

CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")

Right = tuple[str, str, str]
"""(API group, resource with its subresource, verb)"""


@pytest.fixture
async def generator(identities: Identities, kube: Kube, tmp_path: Path) -> AsyncIterator[Generator]:
    """A generator of Tenants only, under its own ServiceAccount."""
    await forget_record(kube, identities.namespace)
    env = {
        "KUBECONFIG": str(identities.generator),
        "TENANTRY_SOURCES": "cluster",
        "TENANTRY_LEASE_NAMESPACE": identities.namespace,
        "TENANTRY_POD_NAME": "the-generator",
    }
    running = Generator(token="token-of-the-test", directory=tmp_path, env=env)
    yield running
    await running.stop()
    await forget_record(kube, identities.namespace)


async def granted(kube: Kube, name: str, namespace: str) -> set[Right]:
    """Return every right that the manifests give to a service."""
    rules = list((await kube.get(CLUSTER_ROLES, name))["rules"])
    for role, space in ((name, namespace), (name, ARGOCD), (f"{name}-events", EVENTS_NAMESPACE)):
        with contextlib.suppress(NotFound):
            rules += (await kube.get(ROLES, role, space))["rules"]
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(control_plane: ControlPlane, account: str) -> set[Right]:
    """Return every right that a service has used."""
    rights = set()
    for event in requests_of(control_plane, account):
        target: dict[str, Any] = event.get("objectRef", {})
        if "resource" in target:
            subresource = f"/{target['subresource']}" if "subresource" in target else ""
            right = target.get("apiGroup", ""), target["resource"] + subresource
            rights.add((*right, event["verb"]))
            if event["verb"] == "patch" and event["responseStatus"]["code"] == 201:
                rights.add((*right, "create"))  # an apply that creates needs both
    return rights


@pytest.mark.usefixtures("argocd_kinds")
async def test_the_operator_uses_every_right_that_it_has(
    control_plane: ControlPlane, identities: Identities, operator: Operator, kube: Kube
) -> None:
    name = f"l{secrets.token_hex(4)}"
    project = {"argocd": {"enabled": True, "impersonation": True}}
    await apply(kube, name, deletionPolicy="Delete", **EVERYTHING, **project)
    await ready(kube, name)
    await kube.merge_patch(NAMESPACES, name, {"metadata": {"labels": {"tenantry.dev/tenant": None}}})
    await kube.merge_patch(RESOURCE_QUOTAS, "tenantry", {"spec": {"hard": {"configmaps": "99"}}}, name)
    await apply(kube, name, deletionPolicy="Delete")  # takes every child away
    await ready(kube, name)
    await kube.delete(TENANTS, name)
    await absent(kube, TENANTS, name)

    rights = await granted(kube, "tenantry-operator", identities.namespace)
    # Binding a role is checked while a RoleBinding is written, and makes no request of its own.
    rights -= {("rbac.authorization.k8s.io", "clusterroles", "bind")}

    async def all_used() -> bool:
        return rights <= used(control_plane, "tenantry-operator")

    try:
        await eventually(all_used, within=15, what="every right is used")
    except AssertionError as error:
        raise AssertionError(f"{error}; never used: {rights - used(control_plane, 'tenantry-operator')}") from None


async def test_the_generator_uses_every_right_that_it_has(
    control_plane: ControlPlane, identities: Identities, generator: Generator, kube: Kube, argocd: ArgoCD
) -> None:
    await kube.create(PODS, generator_pod("the-generator"), identities.namespace)
    await kube.create(APPLICATION_SETS, application_set("least-privilege"), ARGOCD)
    await use_the_record(identities)
    await generator.start()
    async with Kube(await load_credentials(str(identities.generator))) as own:
        await announcer(own, identities.namespace)("acknowledged")
    rights = await granted(kube, "tenantry-generator", identities.namespace)

    async def all_used() -> bool:
        return rights == used(control_plane, "tenantry-generator")

    try:
        await eventually(all_used, within=30, what="exactly the rights granted are used")
    except AssertionError as error:
        differing = sorted(rights ^ used(control_plane, "tenantry-generator"))
        raise AssertionError(f"{error}; differing: {differing}") from None
    await kube.delete(PODS, "the-generator", identities.namespace)
    await argocd.delete_application_set("least-privilege")


async def use_the_record(identities: Identities) -> None:
    """Keep a record, lose its index, keep it again, and have old chunks deleted, all as the generator."""
    async with Kube(await load_credentials(str(identities.generator))) as kube:
        async with configmap_store(kube, namespace=identities.namespace) as store:
            await store.save(Stored(1, b"{}", {"rows": {"a": b"1"}}))
            await kube.delete(CONFIG_MAPS, INDEX, identities.namespace)
            for revision in range(2, 5):
                await store.save(Stored(revision, b"{}", {"rows": {"a": b"%d" % revision}}))
        await forget_record(kube, identities.namespace)


async def test_no_right_is_a_wildcard_or_a_way_to_more(kube: Kube, identities: Identities) -> None:
    for account in ("tenantry-operator", "tenantry-generator"):
        for group, resource, verb in await granted(kube, account, identities.namespace):
            assert "*" not in (group, resource, verb)
            assert verb not in ("escalate", "impersonate")
            assert resource != "secrets"
        for rule in (await kube.get(CLUSTER_ROLES, account))["rules"]:
            assert "bind" not in rule["verbs"] or rule.get("resourceNames"), rule
