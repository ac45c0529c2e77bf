"""What a plan rests on is looked at again before it is carried out, since each cache may be behind by its own."""

from typing import Any, cast

import pytest

from tenantry.errors import Conflict, NotFound
from tenantry.kube import Kube
from tenantry.names import FIELD_MANAGER
from tenantry.resources import RESOURCE_QUOTAS, Resource
from tenantry_operator.actions import (
    Action,
    AddFinalizer,
    ApplyChild,
    ApplyNamespace,
    CreateNamespace,
    DeleteChild,
    DeleteNamespace,
    RemoveFinalizer,
)
from tenantry_operator.children.child import Child
from tenantry_operator.children.namespace import Namespace, observe
from tenantry_operator.entry import entry_of
from tenantry_operator.live import Live

KEY = ("ResourceQuota", "acme-dev", "tenantry")
DELETES = DeleteChild(RESOURCE_QUOTAS, KEY, "q", "1")
CREATES = ApplyChild(Child(RESOURCE_QUOTAS, {"metadata": {"namespace": KEY[1], "name": KEY[2]}}, "digest"), first=True)
NAMESPACE = {"metadata": {"name": "acme-dev"}}


def tenant(uid: str = "t", generation: int = 3, *, deleting: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "acme", "uid": uid, "resourceVersion": "7", "generation": generation}
    return {"metadata": {**metadata, "deletionTimestamp": "now"} if deleting else metadata, "spec": {}}


def namespace(uid: str = "n", owner: str = "acme", *, terminating: bool = False) -> dict[str, Any]:
    ours: dict[str, Any] = {"f:labels": {"f:tenantry.dev/tenant": {}}}
    metadata: dict[str, Any] = {
        "name": "acme-dev",
        "uid": uid,
        "resourceVersion": "9",
        "labels": {"tenantry.dev/tenant": owner},
        "managedFields": [{"manager": FIELD_MANAGER, "fieldsV1": {"f:metadata": ours}}],
    }
    return {"metadata": {**metadata, "deletionTimestamp": "now"} if terminating else metadata}


class Server:
    """The API server as it is; `asked` for what. It is also what is known: `known`, and what is taken in."""

    def __init__(self, *objects: dict[str, Any], known: dict[str, Any] | None = None) -> None:
        self.objects = {each["metadata"]["name"]: each for each in objects}
        self.known = known
        self.asked: list[str] = []

    async def get(self, resource: Resource, name: str) -> dict[str, Any]:
        self.asked.append(f"{resource.kind} {name}")
        if name not in self.objects:
            raise NotFound(name)
        return self.objects[name]

    def namespace(self, _: str) -> Namespace | None:
        return None if self.known is None else observe(self.known)

    def absorb(self, _: str, body: dict[str, Any]) -> None:
        self.known = body


async def confirm(server: Server, *actions: Action) -> None:
    live = Live(cast(Kube, server), server)
    live.planned(actions)
    for action in actions:
        await live.confirm(entry_of(tenant()), action)
        live.done(entry_of(tenant()), action)


@pytest.mark.parametrize("now", [tenant("another"), tenant(generation=4), tenant(deleting=True)])
async def test_nothing_is_done_for_a_tenant_that_is_no_longer_as_it_was_seen(now: dict[str, Any]) -> None:
    with pytest.raises(Conflict, match="tenant acme has changed"):
        await confirm(Server(now), DeleteNamespace("acme-dev", "n"))


async def test_nothing_is_made_for_a_tenant_that_is_gone() -> None:
    with pytest.raises(Conflict, match="tenant acme is gone"):
        await confirm(Server(), CreateNamespace(NAMESPACE))


async def test_a_tenant_is_looked_at_once() -> None:
    server = Server(tenant())
    await confirm(server, CreateNamespace(NAMESPACE), DeleteNamespace("acme-dev", "n"))
    assert server.asked == ["Tenant acme"]


async def test_the_finalizer_s_writes_need_no_look_and_one_that_was_added_is_one() -> None:
    server = Server(tenant())
    await confirm(server, RemoveFinalizer(), AddFinalizer(), CreateNamespace(NAMESPACE))
    assert server.asked == []


@pytest.mark.parametrize("action", [DELETES, CREATES])
@pytest.mark.parametrize("known", [None, namespace("before"), namespace(owner="other"), namespace(terminating=True)])
async def test_nothing_is_deleted_or_made_in_a_namespace_that_is_not_as_it_was_known(
    known: dict[str, Any] | None, action: Action
) -> None:
    server = Server(tenant(), namespace(), known=known)
    with pytest.raises(Conflict, match="namespace acme-dev was not what it was taken for"):
        await confirm(server, action)
    assert server.known == namespace(), "the next look knows it"


async def test_what_a_watch_tells_after_the_plan_was_made_does_not_hide_what_the_plan_rests_on() -> None:
    server = Server(tenant(), namespace(), known=namespace(owner="other"))
    live = Live(cast(Kube, server), server)
    live.planned([DELETES])
    server.known = namespace()
    with pytest.raises(Conflict, match="namespace acme-dev was not what it was taken for"):
        await live.confirm(entry_of(tenant()), DELETES)


async def test_nothing_is_deleted_in_a_namespace_that_is_gone() -> None:
    with pytest.raises(Conflict, match="namespace acme-dev is gone"):
        await confirm(Server(tenant(), known=namespace()), DELETES)


async def test_a_namespace_is_looked_at_once_and_one_that_was_just_written_not_at_all() -> None:
    server = Server(tenant(), namespace(), known=namespace())
    await confirm(server, DELETES, CREATES)
    assert server.asked == ["Tenant acme", "Namespace acme-dev"]
    server.asked.clear()
    await confirm(server, ApplyNamespace(NAMESPACE, "n", None), DELETES)
    assert server.asked == ["Tenant acme"]
