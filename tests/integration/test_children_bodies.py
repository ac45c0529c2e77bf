"""What is built for a tenant's namespaces, on a real API server: stored as built, and the second time without a write.

Repairing drift compares what should be with what is there, so a body that the server stores differently would be
written for ever.
"""

import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tenantry.classes import Resolved, namespaces_of, resolve
from tenantry.kube import Kube
from tenantry.model import parse_class, parse_tenant
from tenantry.names import FIELD_MANAGER
from tenantry.quantities import parse
from tenantry.resources import NAMESPACES, RESOURCE_QUOTAS
from tenantry_operator.children.child import Child, agrees, complete, observe
from tenantry_operator.children.wanted import wanted_children
from tests.data.quantities import CANONICAL
from tests.support.eventually import eventually

CORPUS = Path(__file__).parents[1] / "data/tenants/valid"


@pytest.fixture
async def tenant(kube: Kube) -> AsyncIterator[str]:
    """The name of a tenant that has the namespaces `dev` and `prod`."""
    chosen = f"bodies-{uuid.uuid4().hex[:8]}"
    names = [f"{chosen}-dev", f"{chosen}-prod"]
    for name in names:
        await kube.apply(NAMESPACES, {"metadata": {"name": name}}, field_manager="test")
    yield chosen
    for name in names:
        await kube.delete(NAMESPACES, name)


def from_corpus(name: str, file: str) -> Resolved:
    """Return a file of the corpus under the name of a tenant whose namespaces exist."""
    body = yaml.safe_load((CORPUS / f"{file}.yaml").read_text().replace(f"{file}-dev", f"{name}-dev"))
    spec: dict[str, Any] = body["spec"]
    if body["kind"] == "TenantClass":
        lending = parse_class(body)
        bare = {"metadata": {"name": name}, "spec": {"tenantClassName": lending.name}}
        return resolve(parse_tenant(bare), {lending.name: lending})
    if file not in ("policies", "full"):
        spec["namespaces"] = {"items": [{"name": "dev"}, {"name": "prod"}]}
    return resolve(parse_tenant({"metadata": {"name": name}, "spec": {**spec, "tenantClassName": None}}), {})


async def settle(kube: Kube, resolved: Resolved) -> set[str]:
    """Apply everything; return the kinds. Fails where the server has stored something else, or goes on writing."""
    wanted = wanted_children(resolved, [namespace.name for namespace in namespaces_of(resolved)])
    assert wanted.problems == ()
    for resource, body in wanted.bodies:
        child = complete(resolved.tenant.name, resource, body)
        await kube.apply(resource, child.body, field_manager=FIELD_MANAGER)
        stored = await kube.get(resource, body["metadata"]["name"], body["metadata"]["namespace"])
        assert agrees(child, observe(resource, stored)), f"built {child.body}, stored {stored}"
        await eventually(partial(writes_nothing, kube, child), within=10, what=f"applying {child.key} writes nothing")
    return {resource.kind for resource, _ in wanted.bodies}


async def writes_nothing(kube: Kube, child: Child) -> bool:
    # More than once, since the controllers write a quota's status in between.
    _, namespace, name = child.key
    before = await kube.get(child.resource, name, namespace)
    after = (await kube.apply(child.resource, child.body, field_manager=FIELD_MANAGER)).object
    return bool(before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"])


ALL = {"ResourceQuota", "LimitRange", "NetworkPolicy", "RoleBinding"}


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        ("policies", ALL),
        ("class-policies", ALL),
        ("full", {"RoleBinding"}),
        ("most-owners", {"RoleBinding"}),
        ("most-quotas", {"ResourceQuota"}),
        ("most-limit-ranges", {"LimitRange"}),
        ("most-network-policies", {"NetworkPolicy"}),
        ("most-role-bindings", {"RoleBinding"}),
        ("quantities-of-every-form", {"ResourceQuota"}),
        ("project-of-its-own", {"ServiceAccount", "RoleBinding"}),
    ],
)
async def test_what_is_built_is_what_is_stored(kube: Kube, tenant: str, file: str, kinds: set[str]) -> None:
    assert await settle(kube, from_corpus(tenant, file)) == kinds


async def test_every_amount_is_the_api_servers_own_and_stays_as_it_is_written(kube: Kube, tenant: str) -> None:
    async def stored(amount: int | str) -> str:
        metadata = {"name": "amount", "namespace": f"{tenant}-dev"}
        body = {"metadata": metadata, "spec": {"hard": {"requests.cpu": amount}}}
        await kube.apply(RESOURCE_QUOTAS, body, field_manager="test")
        found = await kube.get(RESOURCE_QUOTAS, metadata["name"], metadata["namespace"])
        return str(found["spec"]["hard"]["requests.cpu"])

    for written, canonical in CANONICAL.items():
        assert await stored(canonical) == canonical
        assert str(parse(await stored(written))) == canonical, f"{written!r}"


async def test_a_binding_with_another_role_is_another_object(kube: Kube, tenant: str) -> None:
    for role in ("view", "edit"):
        subjects = [{"kind": "User", "name": "jane"}]
        spec = {
            "namespaces": {"items": [{"name": "dev"}]},
            "additionalRoleBindings": [{"name": "helpers", "clusterRoleName": role, "subjects": subjects}],
        }
        body = {"metadata": {"name": tenant}, "spec": spec}
        assert await settle(kube, resolve(parse_tenant(body), {})) == {"RoleBinding"}
