"""A tenant's AppProject on a real API server with Argo CD's kinds: made, kept, not taken from others, left in time."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tenantry.classes import resolve
from tenantry.errors import Conflict, Invalid, NotFound
from tenantry.kube import Kube
from tenantry.model import parse_tenant
from tenantry.names import ARGOCD_NAMESPACE
from tenantry.resources import (
    APP_PROJECTS,
    APPLICATIONS,
    NAMESPACES,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    TENANT_CLASSES,
    TENANTS,
)
from tenantry_operator.actions import ApplyProject, CreateProject, DeleteChild, DeleteProject
from tenantry_operator.children import project as project_children
from tenantry_operator.entry import Entry, entry_of
from tenantry_operator.execute import execute
from tests.integration.test_operator import absent, apply, condition, namespace, ready
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("operator", "argocd_kinds")

CORPUS = Path(__file__).parents[1] / "data/tenants/valid"
SERVER = "https://kubernetes.default.svc"


@pytest.fixture
def name() -> str:
    """A tenant name of the test's own."""
    return f"p{secrets.token_hex(4)}"


@pytest.fixture
async def application(kube: Kube, name: str) -> AsyncIterator[str]:
    """An Application that names the AppProject `name`, in a namespace that is not Argo CD's."""
    elsewhere = f"{name}-apps"
    await kube.create(NAMESPACES, {"metadata": {"name": elsewhere}})
    spec = {"project": name, "destination": {"server": SERVER, "namespace": name}}
    await kube.create(APPLICATIONS, {"metadata": {"name": "web"}, "spec": spec}, elsewhere)
    yield elsewhere
    await kube.delete(NAMESPACES, elsewhere)


def project(**fields: Any) -> dict[str, Any]:
    return {"enabled": True, **({"project": fields} if fields else {})}


async def stored(kube: Kube, name: str) -> dict[str, Any]:
    return await kube.get(APP_PROJECTS, name, ARGOCD_NAMESPACE)


async def missing(kube: Kube, name: str) -> bool:
    try:
        await stored(kube, name)
    except NotFound:
        return True
    return False


async def says(kube: Kube, name: str, reason: str) -> str:
    """Wait until ProjectReady has that reason; return its message."""

    async def look() -> str | None:
        seen.append((await kube.get(TENANTS, name)).get("status", {}))
        found = [each for each in seen[-1].get("conditions", ()) if each["type"] == "ProjectReady"]
        return found[0]["message"] if found and found[0]["reason"] == reason else None

    seen: list[Any] = []
    try:
        return await eventually(look, within=15, what=f"ProjectReady of {name} says {reason}")
    except AssertionError as error:
        raise AssertionError(f"{error}; {seen[-1:]}") from None


async def test_a_tenant_gets_a_project_for_exactly_its_namespaces(kube: Kube, name: str) -> None:
    owners = [
        {"kind": "Group", "name": "cn=admins,o=acme", "role": "owner"},
        {"kind": "Group", "name": "oidc:readers", "role": "viewer"},
        {"kind": "User", "name": "jane", "role": "editor"},
    ]
    items = {"items": [{"name": "dev"}, {"name": "prod"}]}
    window = {"kind": "deny", "schedule": "0 22 * * *", "duration": "1h", "applications": ["*"]}
    repos = ["https://git.example.com/acme/*"]
    await apply(kube, name, namespaces=items, owners=owners, argocd=project(sourceRepos=repos, syncWindows=[window]))
    tenant = await ready(kube, name)
    assert condition(tenant, "ProjectReady")["status"] == "True"
    assert tenant["status"]["argocd"] == {"project": {"name": name, "namespace": ARGOCD_NAMESPACE}}
    body = await stored(kube, name)
    assert body["metadata"]["labels"]["tenantry.dev/tenant"] == name
    spec = body["spec"]
    assert spec["destinations"] == [{"server": SERVER, "namespace": f"{name}-{each}"} for each in ("dev", "prod")]
    assert (spec["sourceRepos"], spec["syncWindows"]) == (repos, [window])
    assert spec["clusterResourceWhitelist"] == []
    assert "destinationServiceAccounts" not in spec
    assert {"group": "", "kind": "ResourceQuota"} in spec["namespaceResourceBlacklist"]
    assert [(role["name"], role["groups"]) for role in spec["roles"]] == [
        ("owner", ['"cn=admins,o=acme"']),
        ("viewer", ["oidc:readers"]),
    ]
    for role in spec["roles"]:
        for policy in role["policies"]:
            subject, _, _, target, effect = policy.removeprefix("p, ").split(", ")
            assert (subject, target, effect) == (f"proj:{name}:{role['name']}", f"{name}/*", "allow")


async def test_what_leaves_the_spec_leaves_the_project(kube: Kube, name: str) -> None:
    window = {"kind": "deny", "schedule": "0 22 * * *", "duration": "1h", "applications": ["*"]}
    kinds = [{"group": "apps", "kind": "Deployment"}]
    full = project(sourceRepos=["*"], syncWindows=[window], namespaceResourceWhitelist=kinds)
    await apply(kube, name, namespaces={"items": [{"name": "a"}, {"name": "b"}]}, argocd=full)
    await ready(kube, name)
    assert (await stored(kube, name))["spec"]["namespaceResourceWhitelist"] == kinds
    await apply(kube, name, namespaces={"items": [{"name": "b"}]}, argocd=project())
    await ready(kube, name)
    spec = (await stored(kube, name))["spec"]
    assert (spec["sourceRepos"], spec["syncWindows"]) == ([], [])
    assert spec["destinations"] == [{"server": SERVER, "namespace": f"{name}-b"}]
    assert "namespaceResourceWhitelist" not in spec


async def test_a_project_that_exists_is_refused_and_untouched_until_it_is_gone(kube: Kube, name: str) -> None:
    theirs = {"metadata": {"name": name, "labels": {"tenantry.dev/tenant": name}}, "spec": {"sourceRepos": ["theirs"]}}
    before = await kube.create(APP_PROJECTS, theirs, ARGOCD_NAMESPACE)
    await apply(kube, name, argocd=project(sourceRepos=["ours"]))
    message = await says(kube, name, "Refused")
    assert "it exists and is not Tenantry's" in message
    tenant = await ready(kube, name, status="False")
    assert condition(tenant, "NamespacesReady")["status"] == "True", "the rest goes on"
    assert "argocd" not in tenant["status"]
    assert (await stored(kube, name))["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    await kube.delete(APP_PROJECTS, name, ARGOCD_NAMESPACE)
    await ready(kube, name)
    assert (await stored(kube, name))["spec"]["sourceRepos"] == ["ours"]


async def test_a_tenant_that_was_refused_a_project_does_not_delete_it_when_it_goes(kube: Kube, name: str) -> None:
    await kube.create(APP_PROJECTS, {"metadata": {"name": name}, "spec": {}}, ARGOCD_NAMESPACE)
    await apply(kube, name, deletionPolicy="Delete", argocd=project())
    await says(kube, name, "Refused")
    await kube.delete(TENANTS, name)
    await absent(kube, TENANTS, name)
    assert not await missing(kube, name)


async def test_the_first_of_two_tenants_has_the_project_and_the_other_is_told_whose_it_is(
    kube: Kube, name: str
) -> None:
    await apply(kube, name, argocd=project(name=f"{name}-shared"))
    await ready(kube, name)
    await apply(kube, f"{name}x", argocd=project(name=f"{name}-shared"))
    assert f"it belongs to the tenant {name}" in await says(kube, f"{name}x", "Refused")
    body = await stored(kube, f"{name}-shared")
    assert [each["namespace"] for each in body["spec"]["destinations"]] == [name]
    await kube.delete(TENANTS, name)
    await absent(kube, TENANTS, name)
    await ready(kube, f"{name}x")  # without being asked to look again


async def test_a_project_changed_by_hand_is_put_back_and_additions_stay(kube: Kube, name: str) -> None:
    await apply(kube, name, argocd=project(sourceRepos=["ours"]))
    await ready(kube, name)
    widened = [{"server": "*", "namespace": "*"}]
    patch = {
        "metadata": {
            "labels": {"tenantry.dev/tenant": "mallory", "app.kubernetes.io/managed-by": None},
            "annotations": {"theirs": "x"},
        },
        "spec": {"sourceRepos": ["*"], "destinations": widened, "orphanedResources": {"warn": True}},
    }
    await kube.merge_patch(APP_PROJECTS, name, patch, ARGOCD_NAMESPACE, field_manager="somebody")

    async def repaired() -> bool:
        body = await stored(kube, name)
        return bool(
            body["spec"]["sourceRepos"] == ["ours"]
            and [each["namespace"] for each in body["spec"]["destinations"]] == [name]
            and body["metadata"]["labels"]["tenantry.dev/tenant"] == name
        )

    await eventually(repaired, within=10, what="the AppProject is put back")
    body = await stored(kube, name)
    assert (body["metadata"]["annotations"]["theirs"], body["spec"]["orphanedResources"]) == ("x", {"warn": True})


async def test_a_project_deleted_by_hand_comes_back(kube: Kube, name: str) -> None:
    await apply(kube, name, argocd=project())
    await ready(kube, name)
    uid = (await stored(kube, name))["metadata"]["uid"]
    await kube.delete(APP_PROJECTS, name, ARGOCD_NAMESPACE)

    async def recreated() -> bool:
        return not await missing(kube, name) and (await stored(kube, name))["metadata"]["uid"] != uid

    await eventually(recreated, within=10, what="the AppProject is created again")


async def test_a_settled_tenant_with_a_project_costs_no_write(kube: Kube, name: str) -> None:
    await apply(kube, name, argocd={"enabled": True, "impersonation": True})
    settled = await ready(kube, name)
    before = (await stored(kube, name))["metadata"]["resourceVersion"]
    await kube.merge_patch(TENANTS, name, {"metadata": {"annotations": {"touched": "1"}}})
    await apply(kube, f"{name}x")
    await ready(kube, f"{name}x")  # the queue is in order, so by now the look is over
    assert (await kube.get(TENANTS, name))["status"] == settled["status"]
    assert (await stored(kube, name))["metadata"]["resourceVersion"] == before


@pytest.mark.parametrize("policy", ["Delete", "Orphan"])
async def test_the_project_outlives_the_applications_of_a_deleted_tenant(
    kube: Kube, name: str, application: str, policy: str
) -> None:
    await apply(kube, name, deletionPolicy=policy, argocd=project())
    await ready(kube, name)
    await kube.delete(TENANTS, name)
    assert f"still used by the Applications {application}/web;" in await says(kube, name, "InUse")
    tenant = await kube.get(TENANTS, name)
    assert tenant["status"]["phase"] == "Terminating"
    assert f"{application}/web" in condition(tenant, "Ready")["message"]
    assert not await missing(kube, name)
    if policy == "Delete":
        await absent(kube, NAMESPACES, name)  # the AppProject comes after them
        assert not await missing(kube, name)
    else:
        assert (await namespace(kube, name))["labels"]["tenantry.dev/orphaned-from"] == name
    await kube.delete(APPLICATIONS, "web", application)
    await absent(kube, TENANTS, name)
    assert await missing(kube, name)


async def test_retain_keeps_the_project_for_a_new_tenant_of_the_name(kube: Kube, name: str, application: str) -> None:
    await apply(kube, name, deletionPolicy="Retain", argocd=project())
    await ready(kube, name)
    uid = (await stored(kube, name))["metadata"]["uid"]
    await kube.delete(TENANTS, name)
    await absent(kube, TENANTS, name)
    assert not await missing(kube, name)
    await apply(kube, name, deletionPolicy="Delete", argocd=project(sourceRepos=["new"]))
    await ready(kube, name)
    body = await stored(kube, name)
    assert (body["metadata"]["uid"], body["spec"]["sourceRepos"]) == (uid, ["new"])


async def test_a_project_that_is_not_wanted_any_more_goes_when_nothing_uses_it(
    kube: Kube, name: str, application: str
) -> None:
    await apply(kube, name, argocd=project())
    await ready(kube, name)
    await apply(kube, name)
    assert f"{application}/web" in await says(kube, name, "InUse")
    assert not await missing(kube, name)
    await kube.delete(APPLICATIONS, "web", application)
    tenant = await ready(kube, name)
    assert await missing(kube, name)
    assert "argocd" not in tenant["status"]
    assert "ProjectReady" not in {each["type"] for each in tenant["status"]["conditions"]}


async def test_a_project_that_is_leaving_goes_although_somebody_took_its_labels_off(
    kube: Kube, name: str, application: str
) -> None:
    await apply(kube, name, argocd=project())
    await ready(kube, name)
    await apply(kube, name)
    await says(kube, name, "InUse")
    stripped = {"metadata": {"labels": dict.fromkeys(("tenantry.dev/tenant", "app.kubernetes.io/managed-by"))}}
    await kube.merge_patch(APP_PROJECTS, name, stripped, ARGOCD_NAMESPACE)
    await kube.delete(APPLICATIONS, "web", application)
    await eventually(lambda: missing(kube, name), within=45, what=f"the AppProject {name} is gone")
    await ready(kube, name)


async def test_with_impersonation_each_namespace_has_a_deployer_that_the_project_names(kube: Kube, name: str) -> None:
    items = {"items": [{"name": "a"}, {"name": "b"}]}
    await apply(kube, name, namespaces=items, argocd={"enabled": True, "impersonation": True})
    await ready(kube, name)
    deployer = "tenantry-deployer"
    assert (await stored(kube, name))["spec"]["destinationServiceAccounts"] == [
        {"server": SERVER, "namespace": f"{name}-{each}", "defaultServiceAccount": deployer} for each in ("a", "b")
    ]
    for space in (f"{name}-a", f"{name}-b"):
        account = await kube.get(SERVICE_ACCOUNTS, deployer, space)
        assert account["automountServiceAccountToken"] is False
        binding = await kube.get(ROLE_BINDINGS, deployer, space)
        assert binding["roleRef"]["name"] == "admin"
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": deployer, "namespace": space}]
    await apply(kube, name, namespaces=items, argocd={"enabled": True})
    await ready(kube, name)
    assert "destinationServiceAccounts" not in (await stored(kube, name))["spec"]
    for resource in (SERVICE_ACCOUNTS, ROLE_BINDINGS):
        with pytest.raises(NotFound):
            await kube.get(resource, deployer, f"{name}-a")


async def test_argo_cds_own_project_is_never_taken(kube: Kube, name: str) -> None:
    body = {"metadata": {"name": f"{name}-class"}, "spec": {"defaults": {"argocd": {"enabled": True}}}}
    await kube.create(TENANT_CLASSES, body)
    await apply(kube, name, tenantClassName=f"{name}-class", argocd={"project": {"name": "default"}})
    assert "it is Argo CD's own" in await says(kube, name, "Refused")


@pytest.mark.parametrize("file", ["project-of-its-own", "most-of-a-project", "project-of-nothing"])
async def test_what_is_built_is_what_is_stored(kube: Kube, name: str, file: str) -> None:
    argocd = yaml.safe_load((CORPUS / f"{file}.yaml").read_text())["spec"]["argocd"]
    wanted = {key: value for key, value in argocd["project"].items() if key != "name"}
    await apply(kube, name, deletionPolicy="Delete", argocd={**argocd, "enabled": True, "project": wanted})
    await ready(kube, name)
    spec = (await stored(kube, name))["spec"]
    assert {key: spec[key] for key in wanted} == wanted


class Nothing:
    """Remembers nothing of what was written."""

    def absorb(self, entry: Entry, body: dict[str, Any]) -> None:
        pass

    def discard(self, entry: Entry, action: DeleteChild | DeleteProject) -> None:
        pass


async def test_a_write_never_hits_a_project_that_came_since_the_plan_was_made(kube: Kube, name: str) -> None:
    """What the operator's cache would show a moment later: somebody else's AppProject has the name now."""
    body: dict[str, Any] = {"metadata": {"name": name, "uid": "u", "resourceVersion": "1"}, "spec": {}}
    entry = entry_of(body)
    resolved = resolve(parse_tenant({**body, "spec": {"argocd": {"enabled": True}}}), {})
    assert resolved.spec.app_project is not None
    child = project_children.build(
        resolved.spec.app_project, (), tenant=name, name=name, argocd=ARGOCD_NAMESPACE, namespaces=()
    )
    labels = {"tenantry.dev/tenant": name, "app.kubernetes.io/managed-by": "tenantry"}
    theirs = {"metadata": {"name": name, "labels": labels}, "spec": {}}
    before = await kube.create(APP_PROJECTS, theirs, ARGOCD_NAMESPACE, field_manager="somebody")
    seed = project_children.seed(name, name, argocd=ARGOCD_NAMESPACE)
    for action in (
        CreateProject(child.key, seed),
        ApplyProject(child, "00000000-0000-0000-0000-000000000000"),
        DeleteProject(child.key, before["metadata"]["uid"], before["metadata"]["resourceVersion"]),
    ):
        with pytest.raises((Conflict, Invalid)):
            await execute(kube, entry, action, Nothing())
    assert await stored(kube, name) == before
