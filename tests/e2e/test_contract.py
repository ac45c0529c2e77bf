"""What templates make of an answer: every way to use a plugin generator, with Argo CD's own ApplicationSet controller.

Each test makes an ApplicationSet as a user would write it and looks at the fields of its Applications.
"""

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tenantry.resources import APPLICATION_SETS, APPLICATIONS, NAMESPACES, TENANT_CLASSES, TENANTS
from tests.e2e.conftest import SET, TWO, World
from tests.support import article
from tests.support.argocd import NAMESPACE
from tests.support.eventually import eventually

Body = dict[str, Any]

ACTIVE = {tenant for tenant, status in article.TENANTS.items() if status == "active"}
TRIAL = set(article.TENANTS) - ACTIVE


def plugin(**parameters: object) -> Body:
    """A plugin generator with input parameters."""
    generator: Body = {"configMapRef": {"name": article.CONFIG_MAP}}
    if parameters:
        generator["input"] = {"parameters": parameters}
    return {"plugin": generator}


def elements(*each: Mapping[str, str]) -> Body:
    """A list generator."""
    return {"list": {"elements": [dict(element) for element in each]}}


@asynccontextmanager
async def application_set(
    world: World,
    generator: Body,
    *,
    name: str,
    go: bool = True,
    namespace: str = "default",
    annotations: Mapping[str, str] | None = None,
    **spec: object,
) -> AsyncIterator[dict[str, Body]]:
    """Give the Applications, by name, of an ApplicationSet "contract" whose template has these fields."""
    template = {
        "metadata": {"name": name, "annotations": dict(annotations or {})},
        "spec": {
            "project": "default",
            "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
            "source": {"repoURL": "https://git.example.com/x.git", "targetRevision": "main", "path": "x"},
        },
    }
    options = {"goTemplate": go, "goTemplateOptions": ["missingkey=error"] if go else []}
    whole = {**options, "generators": [generator], "template": template, **spec}
    try:
        body = {"metadata": {"name": "contract", "namespace": NAMESPACE}, "spec": whole}
        await world.argocd.apply_application_set(body)
        refreshed = await world.argocd.refresh("contract")
        assert refreshed.ok, refreshed
        yield await applications(world)
    finally:
        await world.argocd.delete_application_set("contract")


async def applications(world: World) -> dict[str, Body]:
    """The Applications of the ApplicationSet "contract", by name."""
    owned = await world.argocd.applications("contract")
    items = (await world.kube.list(APPLICATIONS, NAMESPACE))["items"]
    return {item["metadata"]["name"]: item for item in items if item["metadata"]["name"] in owned}


async def hooli(world: World, name: str = "hooli") -> None:
    """Add a Tenant with a bit of everything. Its namespaces outlive it, and no other test's Tenant gets them."""
    spec = {
        "displayName": "Hooli Inc.",
        "namespaces": {"items": [{"name": "prod"}, {"name": "test"}]},
        "owners": [{"kind": "User", "name": "gavin", "role": "owner"}],
        "parameters": {
            "status": "trial",
            "account": 9007199254740993,
            "beta": True,
            "none": None,
            "chart": {"replicas": 30000000, "hosts": ["a.example", "b.example"]},
        },
    }
    body = {"metadata": {"name": name, "labels": {"tier": "gold", "ring": "1"}}, "spec": spec}
    await world.kube.apply(TENANTS, body, field_manager="test")
    await world.serves(*article.TENANTS, *TWO, name)


GO = {
    "tenant": "{{ .tenant }}",
    "displayName": "{{ .displayName }}",
    "status": "{{ .status }}/{{ .state }}/{{ .source }}",
    "empty": "[{{ .class }}{{ .project }}]",
    "namespaces": "{{ .namespace }} of {{ .namespaces | toJson }}",
    "labels": "{{ .labels.tier }}/{{ .labels.ring }}",
    "owner": "{{ (index .owners 0).name }}",
    "account": "{{ .parameters.account }}",
    "replicas": "{{ .parameters.chart.replicas }}",
    "hosts": '{{ .parameters.chart.hosts | join "," }}',
    "beta": "{{ if .parameters.beta }}yes{{ end }}",
    "none": "[{{ .parameters.none }}]",
}
PLAIN = {
    "tenant": "{{tenant}}",
    "displayName": "{{displayName}}",
    "status": "{{status}}/{{state}}/{{source}}",
    "empty": "[{{class}}{{project}}]",
    "namespaces": '{{namespace}} of ["{{namespaces.0}}","{{namespaces.1}}"]',
    "labels": "{{labels.tier}}/{{labels.ring}}",
    "owner": "{{owners.0.name}}",
    "account": "{{parameters.account}}",
    "replicas": "{{parameters.chart.replicas}}",
    "hosts": "{{parameters.chart.hosts.0}},{{parameters.chart.hosts.1}}",
    "beta": "{{parameters.beta}}",
    "none": "[{{parameters.none}}]",
}
RENDERED = {
    "tenant": "hooli",
    "displayName": "Hooli Inc.",
    "status": "trial/Active/cluster",
    "empty": "[]",
    "namespaces": 'hooli-prod of ["hooli-prod","hooli-test"]',
    "labels": "gold/1",
    "owner": "gavin",
    "account": "9007199254740993",
    "replicas": "30000000",
    "hosts": "a.example,b.example",
    "none": "[]",
}


@pytest.mark.parametrize(
    ("go", "name", "annotations", "beta"),
    [(True, "c-{{ .name }}", GO, "yes"), (False, "c-{{name}}", PLAIN, "true")],
    ids=["goTemplate", "fasttemplate"],
)
async def test_both_kinds_of_template_render_every_key(
    world: World, go: bool, name: str, annotations: Mapping[str, str], beta: str
) -> None:
    await hooli(world)
    async with application_set(world, plugin(name="hooli"), name=name, go=go, annotations=annotations) as found:
        assert set(found) == {"c-hooli"}
        assert found["c-hooli"]["metadata"]["annotations"] == {**RENDERED, "beta": beta}


async def test_a_row_has_every_key_that_a_tenant_has(world: World) -> None:
    strict = {
        key: GO[key] for key in ("tenant", "displayName", "status", "empty", "namespaces")
    }  # no key of theirs is missing, or missingkey=error would fail the whole set
    async with application_set(world, plugin(), name="c-{{ .name }}", annotations=strict) as found:
        assert len(found) == len(article.TENANTS) + len(TWO)
        (acme,) = (each for name, each in found.items() if name.startswith("c-acme-corp-"))
        assert acme["metadata"]["annotations"] == {
            "tenant": "acme_corp",
            "displayName": "acme_corp",
            "status": "active/Active/postgres",
            "empty": "[]",
            "namespaces": " of []",
        }


@pytest.mark.parametrize("go", [True, False], ids=["goTemplate", "fasttemplate"])
async def test_a_matrix_takes_the_plugin_as_its_first_or_second_child(world: World, go: bool) -> None:
    dot = "." if go else ""
    stages = elements({"stage": "dev"}, {"stage": "live"})
    name = f"c-{{{{ {dot}name }}}}-{{{{ {dot}stage }}}}" if go else "c-{{name}}-{{stage}}"
    expected = {f"c-{tenant}-{stage}" for tenant in TWO for stage in ("dev", "live")}
    for children in ([plugin(source="cluster"), stages], [stages, plugin(source="cluster")]):
        async with application_set(world, {"matrix": {"generators": children}}, name=name, go=go) as found:
            assert set(found) == expected


@pytest.mark.parametrize("go", [True, False], ids=["goTemplate", "fasttemplate"])
async def test_a_matrix_templates_the_input_of_the_plugin_from_its_first_child(world: World, go: bool) -> None:
    wanted = elements({"wanted": "trial"}, {"wanted": "active"})
    asked = plugin(status="{{ .wanted }}" if go else "{{wanted}}", source="postgres", fields=["status"])
    annotations = {"status": "{{ .status }}" if go else "{{status}}", "raw": "{{ .tenant }}" if go else "{{tenant}}"}
    async with application_set(
        world,
        {"matrix": {"generators": [wanted, asked]}},
        name="c-{{ .wanted }}-{{ .name }}" if go else "c-{{wanted}}-{{name}}",
        go=go,
        annotations=annotations,
    ) as found:
        by_status: dict[str, set[str]] = {"trial": set(), "active": set()}
        for name, each in found.items():
            status = each["metadata"]["annotations"]["status"]
            assert name.startswith(f"c-{status}-")
            by_status[status].add(each["metadata"]["annotations"]["raw"])
        assert by_status == {"trial": TRIAL, "active": ACTIVE}


@pytest.mark.parametrize("go", [True, False], ids=["goTemplate", "fasttemplate"])
async def test_a_merge_overrides_keys_of_the_tenants_that_it_names(world: World, go: bool) -> None:
    override = elements({"tenant": TWO[0], "status": "x"})
    merge = {"mergeKeys": ["tenant"], "generators": [plugin(source="cluster"), override]}
    async with application_set(
        world,
        {"merge": merge},
        name="c-{{ .name }}" if go else "c-{{name}}",
        go=go,
        annotations={"status": "{{ .status }}" if go else "{{status}}"},
    ) as found:
        statuses = {name: each["metadata"]["annotations"]["status"] for name, each in found.items()}
        assert statuses == {f"c-{TWO[0]}": "x", f"c-{TWO[1]}": "active"}


@pytest.mark.parametrize("go", [True, False], ids=["goTemplate", "fasttemplate"])
async def test_selector_values_and_template_patch_work_on_the_answer(world: World, go: bool) -> None:
    await hooli(world)
    generator = plugin(source="cluster")
    dot = "{{ .tenant }}" if go else "{{tenant}}"
    generator["plugin"]["values"] = {"release": f"{dot}-1"}
    generator["selector"] = {
        "matchExpressions": [
            {"key": "labels.ring", "operator": "NotIn", "values": ["2"]},
            {"key": "parameters.account", "operator": "Exists"},
        ]
    }
    spec: Body = {}
    if go:
        spec["templatePatch"] = (
            "{{- if .parameters.beta }}\nspec:\n  syncPolicy:\n    automated:\n      prune: {{ .parameters.beta }}\n"
            "  info:\n{{- range .namespaces }}\n    - name: namespace\n      value: {{ . }}\n{{- end }}\n{{- end }}\n"
        )
    async with application_set(
        world,
        generator,
        name="c-{{ .name }}" if go else "c-{{name}}",
        go=go,
        annotations={"release": "{{ .values.release }}" if go else "{{values.release}}"},
        **spec,
    ) as found:
        assert set(found) == {"c-hooli"}
        assert found["c-hooli"]["metadata"]["annotations"] == {"release": "hooli-1"}
        if go:
            assert found["c-hooli"]["spec"]["syncPolicy"] == {"automated": {"prune": True}}
            info = found["c-hooli"]["spec"]["info"]
            assert [each["value"] for each in info] == ["hooli-prod", "hooli-test"]


async def test_tenants_are_chosen_by_their_labels_and_divided_into_shards(world: World) -> None:
    await hooli(world)
    gold = {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["gold", "silver"]}]}
    async with application_set(world, plugin(selector=gold), name="c-{{ .name }}") as found:
        assert set(found) == {"c-hooli"}
    everybody: list[str] = []
    for index in range(2):
        generator = plugin(shard={"index": index, "count": 2}, fields=["status"])
        async with application_set(world, generator, name="c-{{ .name }}") as found:
            everybody += found
    assert len(everybody) == len(set(everybody)) == len(article.TENANTS) + len(TWO) + 1


async def test_each_namespace_of_a_tenant_becomes_an_application_and_follows_it(world: World) -> None:
    name = f"h{secrets.token_hex(4)}"
    await hooli(world, name)
    copied = {"metadata": {"name": f"{name}-copied", "labels": {"tenantry.dev/tenant": name, "stage": "prod"}}}
    await world.kube.apply(NAMESPACES, copied, field_manager="somebody")

    async def expanded(**parameters: object) -> list[str]:
        status, answer = await world.generator.getparams({"expand": "namespace", "tenant": name, **parameters})
        assert status == 200, answer
        return [each["namespace"] for each in answer["output"]["parameters"]]

    async def both() -> bool:
        assert await expanded() == [f"{name}-prod", f"{name}-test"]
        return True

    async def labelled() -> bool:
        return await expanded(labelSelector="stage in (prod)") == [f"{name}-prod"]

    await eventually(both, within=20, what="the operator has made both namespaces, and the copied label counts nothing")
    labels = {"metadata": {"name": f"{name}-prod", "labels": {"stage": "prod"}}}
    await world.kube.apply(NAMESPACES, labels, field_manager="somebody")
    await eventually(labelled, within=10, what="the label is seen")
    generator = plugin(tenant=name, expand="namespace", labelSelector={"matchLabels": {"stage": "prod"}})
    async with application_set(
        world,
        generator,
        name="c-{{ .namespace }}",
        namespace="{{ .namespace }}",
        annotations={"of": "{{ .name }}@{{ .cluster }}/{{ .parameters.account }}"},
    ) as found:
        assert set(found) == {f"c-{name}-prod"}
        assert found[f"c-{name}-prod"]["spec"]["destination"]["namespace"] == f"{name}-prod"
        assert found[f"c-{name}-prod"]["metadata"]["annotations"]["of"] == f"{name}@in-cluster/9007199254740993"


async def test_an_empty_answer_deletes_nothing_where_it_is_asked_to_fail(world: World) -> None:
    last = min(TRIAL)  # several that leave at once would be held, and the answer not be empty
    generator = plugin(status="trial", tenant=last, failOnEmpty=True)
    async with application_set(world, generator, name="c-{{ .name }}") as before:
        assert len(before) == 1
        await world.sql(f"UPDATE organization SET status = 'gone' WHERE tenant = '{last}'", "NOTIFY tenantry")

        async def failed() -> bool:
            refreshed = await world.argocd.refresh("contract")
            return not refreshed.ok and "failOnEmpty asks for an error then" in refreshed.message

        await eventually(failed, within=40, what="the answer is an error")
        after = await applications(world)
        assert {name: each["metadata"]["uid"] for name, each in after.items()} == {
            name: each["metadata"]["uid"] for name, each in before.items()
        }


async def test_a_mistyped_input_is_an_error_that_names_what_is_accepted(world: World) -> None:
    async with application_set(world, plugin(source="cluster"), name="c-{{ .name }}") as before:
        patch = {"spec": {"generators": [plugin(sourc="cluster")]}}
        await world.kube.merge_patch(APPLICATION_SETS, "contract", patch, NAMESPACE)
        message = 'API error with status code 400: input.parameters: unknown parameter "sourc"; accepted are tenant, '

        async def refused() -> bool:
            # A reconcile that began before the patch may answer to the first refresh.
            return message in (await world.argocd.refresh("contract")).message

        await eventually(refused, within=40, what="the ApplicationSet says what is wrong")
        assert set(await applications(world)) == set(before)


async def test_a_change_is_found_by_asking_again_after_the_requeue_time(world: World) -> None:
    generator = plugin(source="postgres")
    generator["plugin"]["requeueAfterSeconds"] = 2
    async with application_set(world, generator, name="c-{{ .name }}") as found:
        assert len(found) == len(article.TENANTS)
        await world.sql(article.rows(("pied_piper", "trial")))

        async def there() -> bool:
            return any(name.startswith("c-pied-piper-") for name in await applications(world))

        await eventually(there, within=20, what="the new tenant's Application, without a refresh")


async def test_the_article_s_own_requests_and_application_sets_work_to_the_letter(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.generator.token}", "Content-Type": "application/json"}
    filtered = {"applicationSetName": "fake-appset", "input": {"parameters": {"status": "active"}}}
    async with aiohttp.ClientSession(headers=headers) as http:
        url = f"{world.generator.url}/api/v1/getparams.execute"
        async with http.post(url) as response:
            rows = (await response.json())["output"]["parameters"]
        assert {(row["tenant"], row["status"]) for row in rows} >= set(article.TENANTS.items())
        async with http.post(url, data=json.dumps(filtered)) as response:
            rows = (await response.json())["output"]["parameters"]
        assert {row["tenant"] for row in rows} == ACTIVE | set(TWO)
    found = await world.has_applications(*article.TENANTS, *TWO)
    assert set(found) > article.APPLICATIONS
    example = await world.kube.get(APPLICATIONS, "foobar-app-acme-corp", NAMESPACE)
    assert example["metadata"]["labels"] == {"org": "acme_corp"}
    assert example["spec"]["source"]["helm"]["parameters"][0]["value"] == "foobar-app-acme-corp"
    selective = article.application_set()
    selective["spec"]["generators"][0]["selector"] = {
        "matchExpressions": [{"key": "status", "operator": "In", "values": ["active"]}]
    }
    await world.argocd.apply_application_set(selective)
    assert (await world.argocd.refresh(SET)).ok
    await world.has_applications(*ACTIVE, *TWO)


async def test_a_key_of_a_class_s_schema_is_one_of_every_element_and_stays_when_the_class_goes(world: World) -> None:
    properties = {"ring": {"type": "string", "default": "slow"}, "size": {"type": "integer"}}
    schema = {"parametersSchema": {"openAPIV3Schema": {"type": "object", "properties": properties}}}
    await world.kube.apply(TENANT_CLASSES, {"metadata": {"name": "keyed"}, "spec": schema}, field_manager="test")
    for name, parameters in (("sets", {"ring": "fast", "size": 3}), ("inherits", {})):
        spec = {"tenantClassName": "keyed", "parameters": parameters}
        await world.kube.apply(TENANTS, {"metadata": {"name": name}, "spec": spec}, field_manager="test")
    await world.serves(*article.TENANTS, *TWO, "sets", "inherits")
    wanted = {**dict.fromkeys((*article.TENANTS, *TWO), "[][]"), "sets": "[fast][3]", "inherits": "[slow][]"}

    def rendered(found: Mapping[str, Body]) -> dict[str, str]:
        annotations = [body["metadata"]["annotations"] for body in found.values()]
        return {each["tenant"]: each["keys"] for each in annotations}

    said = {"tenant": "{{ .tenant }}", "keys": "[{{ .ring }}][{{ .size }}]"}
    async with application_set(world, plugin(), name="key-{{ .name }}", annotations=said) as found:
        assert rendered(found) == wanted
        await world.kube.delete(TENANT_CLASSES, "keyed")
        await world.sql("INSERT INTO organization VALUES ('Newcomer', 'active')")
        await world.serves(*article.TENANTS, *TWO, "sets", "inherits", "Newcomer")
        refreshed = await world.argocd.refresh("contract")
        assert refreshed.ok, refreshed
        assert rendered(await applications(world)) == {**wanted, "Newcomer": "[][]"}
