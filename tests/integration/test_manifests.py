"""The manifests and samples as a newcomer applies them: a real API server takes them, and each part may do its work."""

import asyncio
import os
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from tenantry.classes import resolve
from tenantry.kube import Kube
from tenantry.model import parse_class, parse_tenant
from tenantry.names import ARGOCD_NAMESPACE
from tenantry.render import render_row, render_tenant
from tenantry.resources import APPLICATIONS
from tenantry_generator.role_label import ROLE_LABEL
from tests.support.argocd import ArgoCD
from tests.support.control_plane import ControlPlane, KubectlFailed
from tests.support.eventually import eventually

MANIFESTS = Path(__file__).parents[2] / "manifests"
OVERLAYS = sorted(path.parent for path in MANIFESTS.glob("overlays/*/kustomization.yaml"))
SAMPLES = sorted(MANIFESTS.glob("samples/*.yaml"))
NAMESPACE = "tenantry-system"


def documents(text: str) -> list[dict[str, Any]]:
    return [body for body in yaml.safe_load_all(text) if body]


@pytest.fixture(scope="session")
async def base(control_plane: ControlPlane) -> AsyncIterator[list[dict[str, Any]]]:
    """The objects of the base, applied; without a kubelet no pod starts."""
    argocd = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ARGOCD_NAMESPACE}}
    await control_plane.kubectl("apply", "--filename=-", stdin=yaml.safe_dump(argocd))
    await control_plane.kubectl("apply", "--kustomize", str(MANIFESTS / "base"))
    yield documents(await control_plane.kubectl("kustomize", str(MANIFESTS / "base")))
    await control_plane.kubectl("delete", "deployment", "--all", f"--namespace={NAMESPACE}", "--wait=false")


async def rendered(control_plane: ControlPlane, folder: Path) -> list[dict[str, Any]]:
    return documents(await control_plane.kubectl("kustomize", str(folder)))


def find(bodies: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (body for body in bodies if (body["kind"], body["metadata"]["name"]) == (kind, name))
    return found


def environment(deployment: dict[str, Any]) -> dict[str, str]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", "from a Secret") for entry in container["env"]}


async def test_the_base_applies_and_applying_it_again_changes_nothing(
    control_plane: ControlPlane, base: list[dict[str, Any]]
) -> None:
    said = await control_plane.kubectl("apply", "--kustomize", str(MANIFESTS / "base"))
    assert len(said.splitlines()) == len(base)
    assert [line for line in said.splitlines() if not line.endswith(" unchanged")] == []


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
@pytest.mark.usefixtures("base")
async def test_every_overlay_is_accepted(control_plane: ControlPlane, overlay: Path) -> None:
    said = await control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "--kustomize", str(overlay))
    assert len(said.splitlines()) == len(await rendered(control_plane, overlay))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
@pytest.mark.usefixtures("base", "argocd")
async def test_every_sample_is_accepted(control_plane: ControlPlane, sample: Path) -> None:
    said = await control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename", str(sample))
    assert len(said.splitlines()) == len(documents(sample.read_text()))


@pytest.mark.parametrize("name", ["tenantry-operator", "tenantry-generator"])
@pytest.mark.parametrize("folder", [MANIFESTS / "base", *OVERLAYS], ids=lambda path: path.name)
@pytest.mark.usefixtures("base")
async def test_a_pod_of_each_deployment_is_admitted_under_the_restricted_level(
    control_plane: ControlPlane, folder: Path, name: str
) -> None:
    bodies = await rendered(control_plane, folder)
    assert find(bodies, "Namespace", NAMESPACE)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == (
        "restricted"
    )
    template = find(bodies, "Deployment", name)["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]}
    pod["metadata"] = {**template["metadata"], "name": f"{name}-{uuid.uuid4().hex[:6]}", "namespace": NAMESPACE}
    create = ("create", "--dry-run=server", "--filename=-")
    assert "created" in await control_plane.kubectl(*create, stdin=yaml.safe_dump(pod))
    # The foil: were the level not enforced, the test above would say nothing.
    del pod["spec"]["containers"][0]["securityContext"]
    with pytest.raises(KubectlFailed, match='violates PodSecurity "restricted'):
        await control_plane.kubectl(*create, stdin=yaml.safe_dump(pod))


async def test_the_service_and_the_network_policy_lead_to_the_generator(base: list[dict[str, Any]]) -> None:
    deployment = find(base, "Deployment", "tenantry-generator")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    service, policy = find(base, "Service", "tenantry-generator"), find(base, "NetworkPolicy", "tenantry-generator")
    # The generator that answers gives itself the label that its template lacks.
    assert service["spec"]["selector"] == {**labels, ROLE_LABEL: "answering"}
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    (port,) = service["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (4355, container["ports"][0]["name"])
    assert environment(deployment)["TENANTRY_BIND"] == f"0.0.0.0:{container['ports'][0]['containerPort']}"
    (rule,) = policy["spec"]["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "argocd"}}}]


async def test_never_two_of_a_kind_at_a_time(base: list[dict[str, Any]]) -> None:
    for name in ("tenantry-operator", "tenantry-generator"):
        spec = find(base, "Deployment", name)["spec"]
        assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
        assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 30


OPERATOR_MAY = [
    ("list", "tenants.tenantry.dev"),
    ("watch", "tenants.tenantry.dev"),
    ("patch", "tenants.tenantry.dev"),
    ("patch", "tenants.tenantry.dev/status"),
    ("watch", "tenantclasses.tenantry.dev"),
    ("watch", "namespaces"),
    ("create", "namespaces"),
    ("patch", "namespaces"),
    ("delete", "namespaces"),
    ("create", "rolebindings.rbac.authorization.k8s.io"),
    ("delete", "serviceaccounts"),
    ("list", "applications.argoproj.io"),
]
GENERATOR_MAY = [
    ("list", "tenants.tenantry.dev"),
    ("watch", "tenants.tenantry.dev"),
    ("watch", "tenantclasses.tenantry.dev"),
    ("list", "namespaces"),
    ("watch", "namespaces"),
]
NOBODY_MAY = [
    ("get", "secrets"),
    ("create", "events"),
    ("list", "configmaps"),
    ("delete", "tenants.tenantry.dev"),
    ("create", "pods"),
    ("create", "appprojects.argoproj.io"),
    ("delete", "applications.argoproj.io"),
]


@pytest.mark.parametrize(
    ("account", "verb", "resource", "allowed"),
    [
        *[("operator", verb, resource, True) for verb, resource in OPERATOR_MAY],
        *[("generator", verb, resource, True) for verb, resource in GENERATOR_MAY],
        *[("operator", verb, resource, False) for verb, resource in NOBODY_MAY],
        *[("generator", verb, resource, False) for verb, resource in NOBODY_MAY],
        ("generator", "patch", "tenants.tenantry.dev", False),
        ("generator", "get", "namespaces", False),
        ("generator", "patch", "namespaces", False),
    ],
)
@pytest.mark.usefixtures("base")
async def test_each_part_may_do_its_work_and_no_more(
    control_plane: ControlPlane, account: str, verb: str, resource: str, allowed: bool
) -> None:
    kind, _, subresource = resource.partition("/")
    plural, _, group = kind.partition(".")
    attributes = {"verb": verb, "resource": plural, "group": group, "subresource": subresource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{NAMESPACE}:tenantry-{account}",
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": attributes,
        },
    }
    said = await control_plane.kubectl("create", "--output=json", "--filename=-", stdin=yaml.safe_dump(review))
    assert yaml.safe_load(said)["status"]["allowed"] is allowed


@pytest.mark.usefixtures("base")
async def test_events_are_written_by_the_operator_where_those_about_tenants_belong_and_nowhere_else(
    control_plane: ControlPlane,
) -> None:
    async def may(account: str, *request: str) -> bool:
        user = f"--as=system:serviceaccount:{NAMESPACE}:tenantry-{account}"
        try:
            return (await control_plane.kubectl("auth", "can-i", *request, user)).strip() == "yes"
        except KubectlFailed:
            return False

    assert await may("operator", "create", "events.events.k8s.io", "--namespace=default")
    assert not await may("operator", "create", "events.events.k8s.io", f"--namespace={NAMESPACE}")
    assert not await may("operator", "list", "events.events.k8s.io", "--namespace=default")
    assert not await may("generator", "create", "events.events.k8s.io", "--namespace=default")


async def test_the_health_check_gets_into_argo_cd_s_configmap_and_leaves_the_rest_of_it(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    component = MANIFESTS / "components/argocd"
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": {"url": "https://cd"}}
    whole = {"resources": ["theirs.yaml"], "components": [os.path.relpath(component, tmp_path.resolve())]}
    (tmp_path / "theirs.yaml").write_text(yaml.safe_dump(theirs))
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(whole))
    built = find(await rendered(control_plane, tmp_path), "ConfigMap", "argocd-cm")["data"]
    assert set(built) == {"url", "resource.customizations.health.tenantry.dev_Tenant"}
    try:
        await control_plane.kubectl("apply", "--namespace=default", "--filename", str(tmp_path / "theirs.yaml"))
        patch = ("patch", "configmap", "argocd-cm", "--patch-file", str(component / "argocd-cm.yaml"))
        await control_plane.kubectl("--namespace=default", *patch)
        stored = await control_plane.kubectl("get", "configmap", "argocd-cm", "--namespace=default", "--output=json")
        assert yaml.safe_load(stored)["data"] == built
    finally:
        await control_plane.kubectl("delete", "configmap", "argocd-cm", "--namespace=default", "--ignore-not-found")


async def test_only_the_postgres_component_asks_for_a_database(
    control_plane: ControlPlane, base: list[dict[str, Any]]
) -> None:
    plain = environment(find(base, "Deployment", "tenantry-generator"))
    assert plain["TENANTRY_SOURCES"] == "cluster"
    assert "TENANTRY_DATABASE_URL" not in plain
    production = await rendered(control_plane, MANIFESTS / "overlays/production")
    both = environment(find(production, "Deployment", "tenantry-generator"))
    assert (both["TENANTRY_SOURCES"], both["TENANTRY_DATABASE_URL"]) == ("cluster,postgres", "from a Secret")
    assert plain.items() - {("TENANTRY_SOURCES", "cluster")} <= both.items()


@pytest.mark.usefixtures("base")
async def test_the_component_tls_mounts_a_certificate_and_the_probes_speak_it(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    parts = {"resources": ["base"], "components": ["components/tls", "components/postgres"]}
    paths = {key: [os.path.relpath(MANIFESTS / each, tmp_path.resolve()) for each in parts[key]] for key in parts}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(paths))
    said = await control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "--kustomize", str(tmp_path))
    bodies = await rendered(control_plane, tmp_path)
    assert len(said.splitlines()) == len(bodies)
    deployment = find(bodies, "Deployment", "tenantry-generator")
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    probes = {container[name]["httpGet"]["scheme"] for name in ("livenessProbe", "readinessProbe")}
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert (probes, mounts["tls"]) == ({"HTTPS"}, environment(deployment)["TENANTRY_TLS_DIR"])
    secrets = {each["name"]: each["secret"]["secretName"] for each in spec["volumes"]}
    assert secrets["tls"] == "tenantry-generator-tls"
    assert {"tokens", "admin-tokens"} <= secrets.keys()


def test_the_tenants_of_the_samples_are_two_and_the_model_reads_them() -> None:
    tenants = [parse_tenant(body) for body in documents((MANIFESTS / "samples/tenants.yaml").read_text())]
    assert [tenant.name for tenant in tenants] == ["kilo-logistics", "lima-foods"]
    # The demo applies them without any class.
    assert {tenant.spec.tenant_class_name for tenant in tenants} == {None}
    (standard,) = documents((MANIFESTS / "samples/tenantclass.yaml").read_text())
    assert parse_class(standard).is_default


def test_the_samples_for_argo_cd_refer_to_each_other() -> None:
    (config,) = documents((MANIFESTS / "samples/plugin-configmap.yaml").read_text())
    argo, ours = documents((MANIFESTS / "samples/plugin-secret.yaml").read_text())
    (application_set,) = documents((MANIFESTS / "samples/applicationset.yaml").read_text())
    (generator,) = application_set["spec"]["generators"]
    assert generator["plugin"]["configMapRef"]["name"] == config["metadata"]["name"]
    (key,) = argo["stringData"]
    assert config["data"]["token"] == f"${argo['metadata']['name']}:{key}"
    assert list(argo["stringData"].values()) == list(ours["stringData"].values())
    spaces = {body["metadata"]["namespace"] for body in (config, argo, application_set)}
    assert (spaces, ours["metadata"]["namespace"]) == ({"argocd"}, NAMESPACE)
    assert config["data"]["baseUrl"] == f"http://tenantry-generator.{NAMESPACE}.svc:4355"


async def test_the_sample_makes_an_application_of_a_tenant_and_of_a_row(argocd: ArgoCD, kube: Kube) -> None:
    kilo, _ = (parse_tenant(body) for body in documents((MANIFESTS / "samples/tenants.yaml").read_text()))
    row = render_row("Acme Corp & Søn, the longest name of a company that anyone has ever seen", {"status": "trial"})
    answer = {"output": {"parameters": [render_tenant(resolve(kilo, {})).element, row]}}
    (application_set,) = documents((MANIFESTS / "samples/applicationset.yaml").read_text())
    name = application_set["metadata"]["name"]

    async def answers(request: web.Request) -> web.Response:
        return web.json_response(answer)

    application = web.Application()
    application.router.add_post("/api/v1/getparams.execute", answers)
    async with TestServer(application) as server:
        await argocd.configure_plugin("tenantry", url=str(server.make_url("")).rstrip("/"), token="sample")
        await argocd.apply_application_set(application_set)
        try:

            async def made() -> bool:
                return len(await argocd.applications(name)) == 2

            await eventually(made, within=30, what="both Applications of the sample exist")
            of_tenant = (await kube.get(APPLICATIONS, "tenant-kilo-logistics", "argocd"))["spec"]
            of_row = (await kube.get(APPLICATIONS, f"tenant-{row['name']}", "argocd"))["spec"]
        finally:
            await argocd.delete_application_set(name)
    destinations = [spec["destination"]["namespace"] for spec in (of_tenant, of_row)]
    assert destinations == ["kilo-logistics", row["name"]]
    assert [spec["project"] for spec in (of_tenant, of_row)] == ["default", "default"]
    assert len(of_row["source"]["helm"]["releaseName"]) <= 53
    assert {"name": "status", "value": "trial"} in of_row["source"]["helm"]["parameters"]


def test_the_token_of_the_sample_is_none_that_the_generator_would_take() -> None:
    argo, _ = documents((MANIFESTS / "samples/plugin-secret.yaml").read_text())
    assert re.search(r"\s", argo["stringData"]["token"])


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO organization VALUES ('kilo', 'trial')",
        "UPDATE organization SET status = 'active'",
        "DELETE FROM organization WHERE tenant = 'acme_corp'",
        "TRUNCATE organization",
    ],
    ids=lambda change: change.split()[0].lower(),
)
async def test_the_trigger_tells_of_every_kind_of_change_and_can_be_installed_twice(database: str, change: str) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    script = (MANIFESTS / "postgres/notify.sql").read_text()
    listener, writer = await asyncpg.connect(database), await asyncpg.connect(database)
    try:
        await listener.add_listener("tenantry", lambda *arguments: heard.put_nowait(arguments[2]))
        await writer.execute(script)
        await writer.execute(script)
        await writer.execute(change)
        assert await asyncio.wait_for(heard.get(), timeout=10) == "tenantry"
        await writer.execute("NOTIFY tenantry, 'the last one'")
        await asyncio.wait_for(heard.get(), timeout=10)
        assert heard.empty(), "one change, told more than once"
    finally:
        await listener.close()
        await writer.close()


async def test_the_role_of_the_example_reads_the_two_columns_and_writes_nothing(database: str) -> None:
    script = (MANIFESTS / "postgres/notify.sql").read_text()
    role = f"reader_{uuid.uuid4().hex[:8]}"
    example = [line[3:] for line in script.splitlines() if re.match(r"-- (CREATE|ALTER|GRANT) ", line)]
    assert len(example) == 4
    admin = await asyncpg.connect(database)
    try:
        await admin.execute("\n".join(example).replace("tenantry_reader", role))
        await admin.execute("ALTER TABLE organization ADD COLUMN password_hash text")
        await admin.execute(f"SET ROLE {role}")
        assert len(await admin.fetch("SELECT tenant, status FROM organization")) == 10
        for forbidden in ("SELECT password_hash FROM organization", "DELETE FROM organization"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await admin.execute(forbidden)
    finally:
        await admin.execute("RESET ROLE")
        await admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await admin.close()
