"""The cluster source with an API server that does as it is told, for what a real one won't do on demand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from tenantry.errors import KubeError, NotFound
from tenantry.kube import Kube
from tenantry.render import ClusterRow, Row
from tenantry.resources import TENANT_CLASSES, TENANTS, Resource
from tenantry_generator.sources import Read
from tenantry_generator.sources.cluster import ClusterSource
from tests.support.background import background
from tests.support.eventually import eventually

Body = dict[str, Any]


class ToldServer:
    """Lists `objects` and streams what is put in; `error` is raised instead while it is set."""

    def __init__(self) -> None:
        self.objects: dict[Resource, list[Body]] = {TENANTS: [], TENANT_CLASSES: []}
        self.error: KubeError | None = None
        self.streams: dict[Resource, asyncio.Queue[Body]] = {TENANTS: asyncio.Queue(), TENANT_CLASSES: asyncio.Queue()}
        self.version = 100

    async def pages(self, resource: Resource, **_: object) -> AsyncIterator[Body]:
        if self.error is not None:
            raise self.error
        yield {"metadata": {"resourceVersion": str(self.version)}, "items": self.objects[resource]}

    @contextlib.asynccontextmanager
    async def watch(self, resource: Resource, **_: object) -> AsyncIterator[AsyncIterator[Body]]:
        async def events() -> AsyncIterator[Body]:
            while True:
                yield await self.streams[resource].get()

        yield events()

    def made(self, name: str, spec: Body | None = None, **metadata: object) -> Body:
        self.version += 1
        return {"metadata": {"name": name, "resourceVersion": str(self.version), **metadata}, "spec": spec or {}}

    def send(self, resource: Resource, kind: str, name: str, spec: Body | None = None, **metadata: object) -> None:
        self.streams[resource].put_nowait({"type": kind, "object": self.made(name, spec, **metadata)})


class Follower:
    def __init__(self, server: ToldServer) -> None:
        self.reads: list[Read[ClusterRow]] = []
        self.source = ClusterSource(cast(Kube, server), columns=("status",))

    def element(self, name: str) -> Row | None:
        row = self.reads[-1].rows.get(name) if self.reads else None
        return None if row is None else row.element

    async def sees(self, name: str, **expected: object) -> None:
        def matches() -> bool:
            element = self.element(name)
            assert element is not None
            assert {key: element[key] for key in expected} == expected
            return True

        await eventually(matches, within=5, what=f"{name} is published with {expected}")

    async def loses(self, name: str) -> None:
        await eventually(lambda: self.reads and self.element(name) is None, within=5, what=f"{name} leaves")

    def rejected(self, reason: str) -> int:
        return sum(read.rejected.get(reason, 0) for read in self.reads)


@pytest.fixture
def server() -> ToldServer:
    return ToldServer()


@contextlib.asynccontextmanager
async def following(server: ToldServer) -> AsyncIterator[Follower]:
    follower = Follower(server)
    async with background(follower.source.run(follower.reads.append)) as task:
        yield follower
        assert not task.done(), task


async def test_a_tenant_is_published_changed_and_taken_out_as_soon_as_its_deletion_is_asked_for(
    server: ToldServer,
) -> None:
    server.objects[TENANTS] = [server.made("acme", {"displayName": "Acme"})]
    async with following(server) as follower:
        await follower.sees("acme", displayName="Acme", status="active", source="cluster")
        server.send(TENANTS, "MODIFIED", "acme", {"lifecycle": {"state": "Suspended"}})
        await follower.sees("acme", displayName="acme", status="suspended")
        server.send(TENANTS, "MODIFIED", "acme", deletionTimestamp="2024-01-01T00:00:00Z", finalizers=["x/y"])
        await follower.loses("acme")


async def test_nothing_is_published_before_both_kinds_are_listed(server: ToldServer) -> None:
    server.objects[TENANTS] = [server.made("acme")]
    server.error = NotFound("GET /apis/tenantry.dev/v1alpha1/tenants: 404 page not found", status=404)
    async with following(server) as follower:
        await eventually(lambda: follower.source.problem, within=5, what="the source says why it can't read")
        assert follower.source.problem == (
            "GET /apis/tenantry.dev/v1alpha1/tenants: 404 page not found; apply Tenantry's CRDs"
        )
        assert (follower.reads, follower.source.read_at) == ([], None)
        server.error = None
        await follower.sees("acme")
        assert follower.source.problem is None
        assert follower.source.read_at is not None


async def test_an_object_that_the_model_refuses_keeps_its_last_row(server: ToldServer) -> None:
    server.objects[TENANTS] = [server.made("acme", {"displayName": "Acme"}), server.made("beta")]
    async with following(server) as follower:
        await follower.sees("acme", displayName="Acme")
        server.send(TENANTS, "MODIFIED", "acme", {"lifecycle": {"state": "Asleep"}})
        server.send(TENANTS, "MODIFIED", "beta", {"displayName": "Beta"})
        await follower.sees("beta", displayName="Beta")
        await follower.sees("acme", displayName="Acme")
        assert follower.rejected("invalid") == 1
        server.send(TENANTS, "MODIFIED", "acme", {"displayName": "Acme again"})
        await follower.sees("acme", displayName="Acme again")


async def test_what_is_quarantined_is_told_with_its_reason_until_it_is_in_order(server: ToldServer) -> None:
    server.objects[TENANTS] = [server.made("acme"), server.made("never", {"lifecycle": {"state": "Asleep"}})]
    async with following(server) as follower:
        await follower.sees("acme")
        assert follower.element("never") is None
        assert "spec.lifecycle.state" in follower.reads[-1].quarantined["never"]
        server.send(TENANTS, "MODIFIED", "acme", {"tenantClassName": "gold"})
        await eventually(lambda: "acme" in follower.reads[-1].quarantined, within=5, what="the class is missed")
        server.send(TENANTS, "MODIFIED", "acme")
        server.send(TENANTS, "DELETED", "never")
        await eventually(lambda: follower.reads[-1].quarantined == {}, within=5, what="all is in order")


async def test_deletions_that_follow_each_other_leave_together_and_nothing_else_waits(server: ToldServer) -> None:
    names = [f"t{number}" for number in range(6)]
    server.objects[TENANTS] = [server.made(name) for name in names]
    async with following(server) as follower:
        await follower.sees("t5")
        for name in names[:5]:
            server.send(TENANTS, "DELETED", name)
            server.send(TENANTS, "ADDED", f"new-{name}")
            await follower.sees(f"new-{name}")
        await follower.loses("t0")
        assert set(follower.reads[-1].rows) == {"t5", *(f"new-{name}" for name in names[:5])}
        left = [read for read in follower.reads if "t5" in read.rows and "t0" not in read.rows]
        assert all("t4" not in read.rows for read in left)


async def test_deletions_that_never_pause_are_not_put_off_for_long(server: ToldServer) -> None:
    names = [f"t{number}" for number in range(30)]
    server.objects[TENANTS] = [server.made(name) for name in [*names, "stays"]]
    async with following(server) as follower:
        await follower.sees("stays")
        for name in names:
            server.send(TENANTS, "DELETED", name)
            await asyncio.sleep(0.15)
        assert 1 < len(follower.reads[-1].rows) < 31, "some have left while others go on leaving"


async def test_a_tenant_that_is_back_before_it_has_left_never_left(server: ToldServer) -> None:
    server.objects[TENANTS] = [server.made("acme"), server.made("beta")]
    async with following(server) as follower:
        await follower.sees("acme")
        server.send(TENANTS, "DELETED", "acme")
        server.send(TENANTS, "ADDED", "acme", {"displayName": "Again"})
        await follower.sees("acme", displayName="Again")
        server.send(TENANTS, "DELETED", "beta")
        await follower.loses("beta")
        assert all("acme" in read.rows for read in follower.reads)


async def test_a_refused_object_leaves_like_any_other(server: ToldServer) -> None:
    server.objects[TENANTS] = [server.made("acme"), server.made("beta")]
    bad = {"lifecycle": {"state": "Asleep"}}
    async with following(server) as follower:
        await follower.sees("acme")
        server.send(TENANTS, "MODIFIED", "acme", bad)
        server.send(TENANTS, "MODIFIED", "acme", bad, deletionTimestamp="2024-01-01T00:00:00Z")
        await follower.loses("acme")
        server.send(TENANTS, "DELETED", "beta", bad)
        await follower.loses("beta")


async def test_a_class_lends_to_its_tenants_and_a_change_of_it_reaches_them(server: ToldServer) -> None:
    gold = {"defaults": {"parameters": {"status": "gold"}, "argocd": {"project": {"name": "premium"}}}}
    server.objects[TENANT_CLASSES] = [server.made("gold", gold)]
    server.objects[TENANTS] = [server.made("acme", {"tenantClassName": "gold"}), server.made("beta")]
    async with following(server) as follower:
        await follower.sees("acme", status="gold", project="premium")
        server.send(TENANT_CLASSES, "MODIFIED", "gold", {"defaults": {"parameters": {"status": "silver"}}})
        await follower.sees("acme", status="silver", project="")
        await follower.sees("beta", status="active")


async def test_a_class_that_vanishes_or_breaks_moves_nobody(server: ToldServer) -> None:
    gold = {"defaults": {"argocd": {"project": {"name": "premium"}}}}
    server.objects[TENANT_CLASSES] = [server.made("gold", gold)]
    server.objects[TENANTS] = [server.made("acme", {"tenantClassName": "gold"})]
    async with following(server) as follower:
        await follower.sees("acme", project="premium")
        server.send(TENANT_CLASSES, "MODIFIED", "gold", {"defaults": {"deletionPolicy": "Burn"}})
        await eventually(lambda: follower.rejected("invalid_class"), within=5, what="the class is refused")
        await follower.sees("acme", project="premium")
        server.send(TENANT_CLASSES, "DELETED", "gold")
        await eventually(lambda: follower.rejected("class_not_found"), within=5, what="the class is missed")
        await follower.sees("acme", project="premium")


async def test_a_tenant_whose_class_never_was_is_published_without_it(server: ToldServer) -> None:
    server.objects[TENANTS] = [server.made("acme", {"tenantClassName": "gold"})]
    async with following(server) as follower:
        await follower.sees("acme", **{"class": "", "project": ""})
        assert follower.rejected("class_not_found") == 1


SIZED = {"parametersSchema": {"openAPIV3Schema": {"type": "object", "properties": {"size": {"type": "integer"}}}}}


def sized(size: object) -> Body:
    return {"tenantClassName": "gold", "parameters": {"size": size}}


async def test_parameters_that_the_class_does_not_accept_keep_the_last_row(server: ToldServer) -> None:
    server.objects[TENANT_CLASSES] = [server.made("gold", SIZED)]
    server.objects[TENANTS] = [server.made("acme", sized(1)), server.made("beta")]
    async with following(server) as follower:
        await follower.sees("acme", parameters={"size": "1"})
        server.send(TENANTS, "MODIFIED", "acme", {**sized("big"), "displayName": "Acme"})
        await eventually(lambda: follower.rejected("invalid_parameters"), within=5, what="the parameters are refused")
        await follower.sees("acme", parameters={"size": "1"}, displayName="acme")
        server.send(TENANTS, "MODIFIED", "acme", sized(2))
        await follower.sees("acme", parameters={"size": "2"})


async def test_a_tenant_that_comes_with_such_parameters_is_listed_once_they_are_accepted(server: ToldServer) -> None:
    server.objects[TENANT_CLASSES] = [server.made("gold", SIZED)]
    async with following(server) as follower:
        await eventually(lambda: follower.reads, within=5, what="a first read")
        server.send(TENANTS, "ADDED", "acme", sized("big"))
        await eventually(lambda: follower.rejected("invalid_parameters"), within=5, what="the parameters are refused")
        assert follower.element("acme") is None
        server.send(TENANTS, "MODIFIED", "acme", sized(1))
        await follower.sees("acme", parameters={"size": "1"})


async def test_a_tenant_that_has_such_parameters_at_the_start_is_not_left_out(server: ToldServer) -> None:
    server.objects[TENANT_CLASSES] = [server.made("gold", SIZED)]
    server.objects[TENANTS] = [server.made("acme", sized("big"))]
    async with following(server) as follower:
        await follower.sees("acme", parameters={"size": "big"})
        assert follower.rejected("invalid_parameters") == 1


async def test_a_class_whose_schema_can_t_be_used_is_no_absent_class(server: ToldServer) -> None:
    broken = {"parametersSchema": {"openAPIV3Schema": {"type": "object", "oneOf": []}}}
    annotations = {"tenantry.dev/is-default-class": "true"}
    lent = {"defaults": {"argocd": {"project": {"name": "premium"}}}}
    server.objects[TENANT_CLASSES] = [server.made("gold", lent, annotations=annotations)]
    server.objects[TENANTS] = [server.made("acme")]
    async with following(server) as follower:
        await follower.sees("acme", project="premium")
        server.send(TENANT_CLASSES, "MODIFIED", "gold", broken, annotations=annotations)
        await eventually(lambda: follower.rejected("invalid_class"), within=5, what="the class is refused")
        server.send(TENANTS, "MODIFIED", "acme", {"displayName": "Acme"})
        await follower.sees("acme", displayName="Acme", project="premium")


async def test_at_the_start_the_tenants_of_a_class_that_can_t_be_used_are_not_left_out(server: ToldServer) -> None:
    broken = {"parametersSchema": {"openAPIV3Schema": {"type": "object", "oneOf": []}}}
    server.objects[TENANT_CLASSES] = [server.made("gold", broken)]
    server.objects[TENANTS] = [server.made("acme", sized(1))]
    async with following(server) as follower:
        await follower.sees("acme", **{"class": ""})
        assert follower.rejected("class_unusable") == 1


async def test_what_the_schemas_of_usable_classes_describe_is_published_as_keys(server: ToldServer) -> None:
    def schema(*names: str, **more: object) -> Body:
        described = {"type": "object", "properties": {name: {"type": "string"} for name in names}, **more}
        return {"parametersSchema": {"openAPIV3Schema": described}}

    server.objects[TENANT_CLASSES] = [server.made("gold", schema("size", "namespace"))]
    async with following(server) as follower:

        async def keys(*expected: str) -> None:
            await eventually(
                lambda: bool(follower.reads) and follower.reads[-1].keys == expected, within=5, what=f"keys {expected}"
            )

        await keys("size")
        server.send(TENANT_CLASSES, "ADDED", "silver", schema("plan"))
        await keys("plan", "size")
        server.send(TENANT_CLASSES, "MODIFIED", "silver", schema("other", allOf=[]))
        server.send(TENANT_CLASSES, "ADDED", "bronze", schema("tier"))
        await keys("plan", "size", "tier")
