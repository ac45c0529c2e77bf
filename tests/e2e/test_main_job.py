"""The main job, end to end: tenants of both sources become Applications, and follow their sources."""

from tenantry.names import slug
from tenantry.resources import APPLICATION_SETS, APPLICATIONS, NAMESPACES, TENANTS
from tests.e2e.conftest import SET, TWO, World
from tests.support import article
from tests.support.argocd import NAMESPACE


async def test_ten_rows_and_two_tenants_are_twelve_applications(world: World) -> None:
    found = await world.has_applications(*article.TENANTS, *TWO)
    assert len(found) == 12
    assert set(found) > article.APPLICATIONS
    for name in TWO:
        await world.kube.get(NAMESPACES, name)


async def test_a_tenant_applied_and_a_row_inserted_each_become_an_application(world: World) -> None:
    before = await world.applications()
    await world.kube.apply(TENANTS, {"metadata": {"name": "hooli"}, "spec": {}}, field_manager="test")
    await world.sql(article.rows(("pied_piper", "trial")))
    everyone = (*article.TENANTS, *TWO, "hooli", "pied_piper")
    await world.serves(*everyone)
    assert (await world.argocd.refresh(SET)).ok
    after = await world.has_applications(*everyone)
    assert before.items() <= after.items(), "the Applications of the others are still the same ones"


async def test_one_row_of_ten_deleted_takes_one_application(world: World) -> None:
    before = await world.applications()
    await world.sql("DELETE FROM organization WHERE tenant = 'acme_corp'")
    others = [tenant for tenant in (*article.TENANTS, *TWO) if tenant != "acme_corp"]
    await world.serves(*others)
    assert (await world.argocd.refresh(SET)).ok
    after = await world.has_applications(*others)
    assert after.items() <= before.items()


async def test_one_tenant_of_two_deleted_takes_one_application(world: World) -> None:
    await world.kube.delete(TENANTS, "umbrella")
    others = (*article.TENANTS, "initech")
    await world.serves(*others)
    assert (await world.argocd.refresh(SET)).ok
    await world.has_applications(*others)


async def test_a_row_that_is_no_dns_name_works_through_its_slug_and_blocks_nobody(world: World) -> None:
    body = article.application_set()
    template = body["spec"]["template"]
    template["metadata"]["name"] = "app-{{ .name }}"
    template["metadata"]["labels"] = {"tenant": "{{ .name }}"}
    template["metadata"]["annotations"] = {"raw": "{{ .tenant }}"}
    body["metadata"]["name"] = "by-name"
    body["spec"]["goTemplateOptions"] = ["missingkey=error"]
    await world.sql("INSERT INTO organization VALUES ('Acme Corp', 'trial')")
    await world.serves(*article.TENANTS, *TWO, "Acme Corp")
    try:
        await world.argocd.apply_application_set(body)
        assert (await world.argocd.refresh("by-name")).ok
        found = await world.argocd.applications("by-name")
        expected = {f"app-{slug(tenant)}" for tenant in (*article.TENANTS, *TWO, "Acme Corp")}
        assert set(found) == expected
        acme = await world.kube.get(APPLICATIONS, f"app-{slug('Acme Corp')}", NAMESPACE)
        assert acme["metadata"]["annotations"]["raw"] == "Acme Corp"
    finally:
        await world.argocd.delete_application_set("by-name")


async def test_selecting_by_status_works_in_argo_cd_and_in_the_generator_alike(world: World) -> None:
    active = {
        f"foobar-app-{tenant.replace('_', '-')}" for tenant, status in article.TENANTS.items() if status == "active"
    }
    active |= {f"foobar-app-{tenant}" for tenant in TWO}
    plugin = article.application_set()["spec"]["generators"][0]["plugin"]
    is_active = {"key": "status", "operator": "In", "values": ["active"]}
    generators = {
        "by-selector": {"plugin": plugin, "selector": {"matchExpressions": [is_active]}},
        "by-input": {"plugin": {**plugin, "input": {"parameters": {"status": "active"}}}},
    }
    await world.argocd.delete_application_set(SET)  # its Applications have the same names
    for name, generator in generators.items():
        body = article.application_set()
        body["metadata"]["name"] = name
        body["spec"]["generators"] = [generator]
        try:
            await world.argocd.apply_application_set(body)
            assert (await world.argocd.refresh(name)).ok
            assert set(await world.argocd.applications(name)) == active
        finally:
            await world.argocd.delete_application_set(name)


async def test_requests_are_counted_by_application_set_and_code(world: World) -> None:
    labels = {"applicationset": SET, "code": "200"}
    before = await world.metric("tenantry_getparams_requests_total", **labels)
    assert (await world.argocd.refresh(SET)).ok
    assert await world.metric("tenantry_getparams_requests_total", **labels) > before


async def test_the_reason_of_a_refusal_reaches_the_application_set(world: World) -> None:
    await world.argocd.configure_plugin(article.CONFIG_MAP, url=world.generator.url, token="not-the-token")
    refreshed = await world.argocd.refresh(SET)
    assert not refreshed.ok
    assert "the token is not valid" in refreshed.message
    conditions = (await world.kube.get(APPLICATION_SETS, SET, NAMESPACE))["status"]["conditions"]
    assert any(each["type"] == "ErrorOccurred" and each["status"] == "True" for each in conditions)
    await world.has_applications(*article.TENANTS, *TWO)


async def test_a_tenant_that_nobody_can_read_blocks_nobody_else(world: World) -> None:
    kind = '"apiVersion":"tenantry.dev/v1alpha1","kind":"Tenant"'
    deep = '{"a":' * 9000 + "1" + "}" * 9000
    body = f'{{{kind},"metadata":{{"name":"abyss"}},"spec":{{"parameters":{deep}}}}}'
    await world.control_plane.kubectl("create", "-f", "-", stdin=body)
    try:
        await world.kube.apply(TENANTS, {"metadata": {"name": "hooli"}, "spec": {}}, field_manager="test")
        await world.serves(*article.TENANTS, *TWO, "hooli")
        assert (await world.argocd.refresh(SET)).ok
        await world.has_applications(*article.TENANTS, *TWO, "hooli")
    finally:
        await world.control_plane.kubectl("delete", "tenant", "abyss")
