"""Changes reach the Applications at once, with the real ApplicationSet controller and nobody asking it to refresh."""

import secrets
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tenantry.kube import Kube
from tenantry.resources import APPLICATION_SETS, CONFIG_MAPS, NAMESPACES, TENANTS
from tenantry_generator.applicationsets import REFRESH
from tenantry_generator.argocd import GENERATOR_LABEL
from tests.e2e.conftest import SET, TWO, World
from tests.e2e.test_contract import elements, plugin
from tests.e2e.test_faults import start_again
from tests.support import article
from tests.support.argocd import NAMESPACE, ArgoCD
from tests.support.background import background
from tests.support.eventually import eventually
from tests.support.identities import requests_of

EVERYONE = {*article.TENANTS, *TWO}
AT_ONCE = 5
"""Seconds; far less than the 120 after which Argo CD asks by itself. How fast it is, the benchmark measures."""


@pytest.fixture
async def labelled(argocd: ArgoCD, kube: Kube) -> AsyncIterator[None]:
    """The ConfigMap of the article says that it leads to us."""
    body = {"metadata": {"name": article.CONFIG_MAP, "namespace": NAMESPACE, "labels": {GENERATOR_LABEL: "true"}}}
    await kube.apply(CONFIG_MAPS, body, field_manager="test-push")
    yield
    await kube.delete(CONFIG_MAPS, article.CONFIG_MAP, NAMESPACE)


@pytest.fixture
async def pushing(labelled: None, world: World) -> World:
    """The whole product, with everyone told that it has begun to answer."""
    await world.metric_reaches(0, "tenantry_push_pending")
    return world


async def annotation(world: World, name: str = SET) -> str | None:
    body = await world.kube.get(APPLICATION_SETS, name, NAMESPACE)
    value: str | None = (body["metadata"].get("annotations") or {}).get(REFRESH)
    return value


async def annotated(world: World, *, other_than: str | None = None, within: float = AT_ONCE) -> str:
    """Wait until the article's ApplicationSet is annotated, with another value; return that."""

    async def there() -> str | None:
        value = await annotation(world)
        return None if value == other_than else value

    return await eventually(there, within=within, what="the ApplicationSet is annotated anew")


def pushes(world: World, name: str) -> int:
    """Return how often the generator has tried to annotate an ApplicationSet."""
    found = (
        each["objectRef"] for each in requests_of(world.control_plane, "tenantry-generator") if each["verb"] == "patch"
    )
    return sum(each.get("resource") == "applicationsets" and each["name"] == name for each in found)


async def settled(world: World, *names: str) -> None:
    """Wait until everybody has fetched what is served, and Argo CD is done with it."""
    await world.metric_reaches(0, "tenantry_push_pending")

    async def gone() -> bool:
        return not any([await annotation(world, name) for name in (SET, *names)])

    await eventually(gone, within=10, what="no refresh is waited for")


@asynccontextmanager
async def another(world: World, name: str, generator: Mapping[str, Any], app: str = "") -> AsyncIterator[None]:
    """An ApplicationSet besides the article's, whose Applications are called like itself and the tenant."""
    template = {
        "metadata": {"name": app or f"{name}-{{{{ .name }}}}"},
        "spec": {
            "project": "default",
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"},
            "source": {"repoURL": "https://git.example.com/x.git", "targetRevision": "main", "path": "x"},
        },
    }
    options = {"goTemplate": True, "goTemplateOptions": ["missingkey=error"]}
    spec = {**options, "generators": [generator], "template": template}
    try:
        await world.argocd.apply_application_set({"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
        assert (await world.argocd.refresh(name)).ok
        await settled(world, name)
        yield
    finally:
        await world.argocd.delete_application_set(name)


async def has(world: World, name: str, *applications: str, within: float = AT_ONCE) -> None:
    """Wait until an ApplicationSet has exactly these Applications."""

    async def same() -> bool:
        return set(await world.argocd.applications(name)) == set(applications)

    await eventually(same, within=within, what=f"{name} has {applications}")


async def test_a_row_and_a_tenant_become_applications_at_once_and_go_at_once(pushing: World) -> None:
    world = pushing
    await world.sql(article.rows(("pied_piper", "trial")))
    await world.has_applications(*EVERYONE, "pied_piper", within=AT_ONCE)
    await world.kube.apply(TENANTS, {"metadata": {"name": "hooli"}, "spec": {}}, field_manager="test")
    await world.has_applications(*EVERYONE, "pied_piper", "hooli", within=AT_ONCE)
    await world.sql("DELETE FROM organization WHERE tenant = 'pied_piper'")
    await world.has_applications(*EVERYONE, "hooli", within=AT_ONCE)
    await settled(world)
    assert await world.metric("tenantry_push_total", result="patched") >= 3
    assert await world.metric("tenantry_push_delivery_seconds_count") >= 3


async def test_only_those_are_woken_whose_answer_changes(pushing: World) -> None:
    world = pushing
    by_input = plugin(status="trial")
    by_selector = {**plugin(), "selector": {"matchLabels": {"status": "trial"}}}
    by_fields = plugin(fields=["source"])
    async with (
        another(world, "by-input", by_input),
        another(world, "by-selector", by_selector),
        another(world, "by-fields", by_fields),
    ):
        names = ("by-input", "by-selector", "by-fields")
        await settled(world, *names)
        before = {name: pushes(world, name) for name in names}
        await world.sql("UPDATE organization SET status = 'special' WHERE tenant = 'acme_corp'")

        async def fetched() -> bool:
            status, answer = await world.generator.look("explain/acme_corp")
            return status == 200 and answer["element"]["status"] == "special"

        await eventually(fetched, within=AT_ONCE, what="the change is served")
        await settled(world, *names)
        assert {name: pushes(world, name) for name in names} == before
        await world.sql("UPDATE organization SET status = 'trial' WHERE tenant = 'acme_corp'")
        apps = list(await world.argocd.applications("by-input"))
        assert len(apps) == sum(status == "trial" for status in article.TENANTS.values())
        for name in ("by-input", "by-selector"):
            acme = f"{name}-acme-corp-cca8c7"
            await has(world, name, acme, *(app.replace("by-input", name) for app in apps))
        await settled(world, *names)
        assert pushes(world, "by-fields") == before["by-fields"]


async def test_a_hold_that_is_acknowledged_is_followed_at_once(pushing: World) -> None:
    world = pushing
    await world.sql("TRUNCATE organization")
    hold = await world.only_hold()
    await world.acknowledge(hold)
    await world.has_applications(*TWO, within=AT_ONCE)


async def test_an_acknowledged_first_contact_is_answered_soon(pushing: World) -> None:
    world = pushing
    world.generator.kill()
    await world.forget()
    await world.sql("DELETE FROM organization WHERE tenant < 'e'")
    await start_again(world)
    hold = await world.only_hold()
    assert hold["set"] == f"first contact of ApplicationSet {SET}"
    status, answer = await world.generator.acknowledge(hold["hash"], token=world.admin)
    assert status in (200, 202), answer
    left = {tenant for tenant in EVERYONE if tenant in TWO or tenant >= "e"}
    # The annotation of the refused try is still there, and what it might still bring is waited for.
    await world.has_applications(*left, within=2 * AT_ONCE)


async def test_a_namespace_that_comes_or_goes_wakes_who_asks_for_namespaces(pushing: World) -> None:
    world, name = pushing, f"h{secrets.token_hex(4)}"
    spec = {"namespaces": {"items": [{"name": "prod"}]}}
    await world.kube.apply(TENANTS, {"metadata": {"name": name}, "spec": spec}, field_manager="test")

    async def made() -> bool:
        status, answer = await world.generator.getparams({"expand": "namespace", "tenant": name})
        return status == 200 and len(answer["output"]["parameters"]) == 1

    await eventually(made, within=20, what="the namespace is served")
    generator = plugin(tenant=name, expand="namespace", labelSelector="stage=live")
    async with another(world, "spaces", generator, app="spaces-{{ .namespace }}"):
        await has(world, "spaces")
        live: dict[str, Any] = {"metadata": {"labels": {"stage": "live"}}}
        await world.kube.merge_patch(NAMESPACES, f"{name}-prod", live, field_manager="somebody")
        await has(world, "spaces", f"spaces-{name}-prod")
        live["metadata"]["labels"]["stage"] = None
        await world.kube.merge_patch(NAMESPACES, f"{name}-prod", live, field_manager="somebody")
        await has(world, "spaces", within=AT_ONCE + 3)  # what has gone from a cluster is looked for once more


async def test_an_input_that_another_generator_makes_is_woken_by_any_change(pushing: World) -> None:
    world = pushing
    wanted = elements({"wanted": "trial"}, {"wanted": "gone"})
    matrix = {"matrix": {"generators": [wanted, plugin(status="{{ .wanted }}", source="postgres")]}}
    trial = [f"m-{name}" for name in await trials(world)]
    async with another(world, "templated", matrix, app="m-{{ .name }}"):
        await has(world, "templated", *trial)
        await world.sql("INSERT INTO organization VALUES ('newcomer', 'gone')")
        await has(world, "templated", *trial, "m-newcomer")
        await settled(world, "templated")


async def trials(world: World) -> list[str]:
    """Return the names of the tenants of status trial."""
    _, answer = await world.generator.getparams({"status": "trial", "source": "postgres"})
    return [row["name"] for row in answer["output"]["parameters"]]


async def test_a_controller_that_does_not_ask_is_told_again_with_another_value(pushing: World) -> None:
    world = pushing
    with world.argocd.paused():
        await world.sql(article.rows(("pied_piper", "trial")))
        first = await annotated(world)
        await world.metric_reaches(1, "tenantry_push_pending")
        second = await annotated(world, other_than=first, within=10)
        await world.sql(article.rows(("aviato", "trial")))
        third = await annotated(world, other_than=second, within=10)
        assert len({first, second, third}) == 3
    await world.has_applications(*EVERYONE, "pied_piper", "aviato", within=AT_ONCE)
    await settled(world)


async def test_a_wake_up_that_was_lost_is_noticed(pushing: World) -> None:
    world = pushing
    with world.argocd.paused():
        await world.sql(article.rows(("pied_piper", "trial")))
        first = await annotated(world)
        # As a reconcile does at its end that had asked before the change.
        await world.kube.merge_patch(APPLICATION_SETS, SET, {"metadata": {"annotations": {REFRESH: None}}}, NAMESPACE)
        await annotated(world, other_than=first)
    await world.has_applications(*EVERYONE, "pied_piper", within=AT_ONCE)


async def test_an_annotation_that_stays_keeps_no_change_from_being_fetched(pushing: World) -> None:
    world = pushing
    async with another(world, "broken", plugin(source="postgres")):
        patch = {"spec": {"template": {"metadata": {"name": "broken-{{ .name }}{{ .nowhere }}"}}}}
        await world.kube.merge_patch(APPLICATION_SETS, "broken", patch, NAMESPACE)

        async def broken() -> bool:
            # A reconcile that began before the patch takes the annotation off once more.
            return not (await world.argocd.refresh("broken")).ok

        await eventually(broken, within=30, what="the controller fails with the template")
        values = set()
        for number in range(3):
            before = await world.metric("tenantry_getparams_requests_total", applicationset="broken", code="200")
            await world.sql(article.rows((f"tenant_{number}", "trial")))

            async def asked(before: float = before) -> bool:
                name = "tenantry_getparams_requests_total"
                return await world.metric(name, applicationset="broken", code="200") > before

            await eventually(asked, within=8, what="it asks anew although the last refresh is still there")
            await world.metric_reaches(0, "tenantry_push_pending")
            values.add(await annotation(world, "broken"))
        assert len(values - {None}) == 3


async def test_somebody_who_writes_all_the_time_keeps_no_change_back(pushing: World) -> None:
    world = pushing

    async def write() -> None:
        while True:
            annotations = {REFRESH: uuid.uuid4().hex, "somebody.example/wrote": uuid.uuid4().hex}
            await world.kube.merge_patch(APPLICATION_SETS, SET, {"metadata": {"annotations": annotations}}, NAMESPACE)

    added = [f"tenant-{number}" for number in range(5)]
    async with background(write()):
        for number, name in enumerate(added):
            await world.sql(article.rows((name, "trial")))
            await world.has_applications(*EVERYONE, *added[: number + 1], within=2 * AT_ONCE)
    await settled(world)


async def test_an_application_set_that_is_deleted_is_left_alone(pushing: World) -> None:
    world = pushing
    async with another(world, "doomed", plugin(source="postgres")):
        with world.argocd.paused():
            await world.sql(article.rows(("pied_piper", "trial")))
            await world.metric_reaches(2, "tenantry_push_pending")
            await world.kube.delete(APPLICATION_SETS, "doomed", NAMESPACE)
            await world.metric_reaches(1, "tenantry_push_pending")
            before = pushes(world, "doomed")
        await world.has_applications(*EVERYONE, "pied_piper", within=AT_ONCE)
        await settled(world)
        assert pushes(world, "doomed") == before


async def test_what_changed_while_nobody_answered_arrives_without_waiting_for_argo_cd(pushing: World) -> None:
    world = pushing
    world.generator.kill()
    await world.sql(article.rows(("pied_piper", "trial")))
    assert not (await world.argocd.refresh(SET)).ok  # Argo CD tries again after three minutes
    await start_again(world)
    await world.has_applications(*EVERYONE, "pied_piper", within=AT_ONCE)
