"""Answers with namespaces: recorded before they are served, held, and there after a restart without the cluster."""

import asyncio
import json
from typing import Any

from tenantry_generator.applicationsets import Use
from tenantry_generator.expand import Place
from tenantry_generator.sources import Read
from tests.support.eventually import eventually
from tests.unit.test_generator_record import Memory, Owners, Service, admins, owners, running, store

__all__ = ["admins", "owners", "store"]

FAR: dict[str, Any] = {"cluster": "far"}


def publish(service: Service, count: int, **labels: str) -> None:
    names = [f"n{number:02}" for number in range(count)]
    service.far.publish(Read({name: Place(name, f"t{name[1:]}", labels, True) for name in names}))


async def serving(service: Service, count: int) -> None:
    service.rows(20)
    await service.answers_with(20)
    publish(service, count)
    await service.answers_with(count, **FAR)


async def test_a_cluster_that_nobody_with_a_name_asks_for_is_not_recorded(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        service.rows(20)
        await service.answers_with(20)
        saves = store.saves
        publish(service, 10)
        await service.answers_with(10, name="", **FAR)
        publish(service, 0)
        await service.answers_with(0, name="", **FAR)
        assert store.saves == saves
        assert service.publisher.membership.namespaces == {}


async def test_what_is_asked_for_first_is_recorded_before_it_is_answered(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        service.rows(20)
        await service.answers_with(20)  # the same view, so only the namespaces are to be recorded
        publish(service, 10)
        await service.answers_with(10, name="", **FAR)
        store.gate.clear()
        asking = asyncio.create_task(service.ask(**FAR))
        assert not (await asyncio.wait([asking], timeout=0.3))[0]
        store.gate.set()
        assert await asking == (200, 10)
        assert store.kept is not None
        assert json.loads(store.kept.meta)["namespaces"].keys() == service.publisher.membership.namespaces.keys()


async def test_what_leaves_a_cluster_together_is_held_over_restarts_until_it_is_acknowledged(
    store: Memory, owners: Owners, admins: Any
) -> None:
    async with running(store, owners, admins) as service:
        await serving(service, 20)
        publish(service, 4)
        await eventually(service.holds, within=5, what="a hold")
        await service.answers_with(20, **FAR)
        assert 'tenantry_guard_held_tenants{source="namespaces/far"} 16.0' in await service.text("/metrics")
        assert 'tenantry_guard_holds{set="namespaces of far"} 1.0' in await service.text("/metrics")
    async with running(store, owners, admins) as service:
        service.rows(20)
        await service.answers_with(20, **FAR)
        (hold,) = service.holds()
        assert (hold["set"], len(hold["tenants"])) == ("namespaces of far", 16)
        status, answer = await service.acknowledge({"hash": hold["hash"]})
        assert (status, answer["released"]) == (202, []), "the cluster has not been read"
        await service.answers_with(20, **FAR)
        publish(service, 5)
        await service.answers_with(5, **FAR)
        assert service.holds() == []
        publish(service, 5, stage="prod")
        publish(service, 1, stage="prod")
        await eventually(service.holds, within=5, what="another hold")
        (hold,) = service.holds()
        status, answer = await service.acknowledge({"hash": hold["hash"]})
        assert (status, answer["released"]) == (200, ["n01", "n02", "n03", "n04"])
        assert await service.ask(**FAR) == (200, 1)


async def test_a_restart_compares_a_cluster_with_the_record(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        await serving(service, 20)
    async with running(store, owners) as service:
        publish(service, 0)
        service.rows(20)
        await service.answers_with(20, **FAR)
        assert [len(hold["tenants"]) for hold in service.holds()] == [20]


async def test_tenants_that_left_during_a_restart_hold_no_namespace_of_another_tenant(
    store: Memory, owners: Owners
) -> None:
    names = [f"n{number:02}" for number in range(30)]
    everything = {name: Place(name, "t19" if name > "n19" else f"t{name[1:]}", {}, True) for name in names}
    async with running(store, owners) as service:
        await serving(service, 20)
        service.far.publish(Read(everything))
        await service.answers_with(30, **FAR)
    async with running(store, owners) as service:
        remaining = {name: place for name, place in everything.items() if place.tenant not in ("t00", "t19")}
        service.far.publish(Read(remaining))  # before it is known that t19 has left
        assert (await service.ask(**FAR))[0] == 503
        service.rows(19)
        await service.answers_with(18, **FAR)
        assert service.holds() == []


async def test_a_replica_that_takes_over_reads_the_clusters_anew(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        await serving(service, 20)
        publish(service, 19)
        await service.answers_with(19, **FAR)
        runs = service.far.runs
        await service.publisher.take_over()
        await eventually(lambda: service.far.runs > runs, within=5, what="the cluster is read anew")
        service.rows(20)
        await service.answers_with(19, **FAR)
        assert service.far.started_over == 1
        publish(service, 18)
        await service.answers_with(18, **FAR)


async def test_while_a_cluster_has_not_been_read_no_application_may_go(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        await serving(service, 20)
    owners.own("apps", 21, Use("tenantry", FAR, None))
    async with running(store, owners) as service:
        service.rows(20)
        await service.answers_with(20, name="")
        status, message = await service.ask(**FAR)
        assert status == 503
        assert "owns 21 Applications and the answer has only 20 elements" in message
        publish(service, 20)
        await service.answers_with(20, **FAR)


async def test_a_cluster_that_is_no_longer_configured_is_refused(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        await serving(service, 20)
        del service.clusters.feeds["far"]
        message = "input.parameters: no such cluster; there is none: add cluster to TENANTRY_SOURCES, or set"
        status, told = await service.ask(**FAR)
        assert (status, told[: len(message)]) == (400, message)
