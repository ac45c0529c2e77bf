"""Generators in twos, under their own ServiceAccount: one answers, one stands by, and no accident makes both answer."""

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tenantry.credentials import load_credentials
from tenantry.errors import Invalid, NotFound
from tenantry.kube import Kube
from tenantry.resources import LEASES, PODS, TENANTS
from tenantry_generator.role import LEASE
from tenantry_generator.role_label import ROLE_LABEL
from tests.support.background import background
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.identities import Identities, generator_pod, refusals
from tests.support.record import forget_record
from tests.support.tenantry import Generator

DURATION, RETRY = 15.0, 2.0
Start = Callable[[str], Awaitable[Generator]]


@pytest.fixture
async def start(
    control_plane: ControlPlane, identities: Identities, kube: Kube, tmp_path: Path
) -> AsyncIterator[Start]:
    """Starts generators with a Pod each; they must never ask in vain."""
    started: dict[str, Generator] = {}
    await forget_record(kube, identities.namespace)
    # Without any tenant it would refuse to answer for that.
    tenant = f"role{uuid.uuid4().hex[:6]}"
    await kube.create(TENANTS, {"metadata": {"name": tenant}, "spec": {}})

    async def one(name: str) -> Generator:
        env = {
            "KUBECONFIG": str(identities.generator),
            "TENANTRY_SOURCES": "cluster",
            "TENANTRY_LEASE_NAMESPACE": identities.namespace,
            "TENANTRY_POD_NAME": name,
        }
        await kube.create(PODS, generator_pod(name), identities.namespace)
        started[name] = Generator(token="s3cret", directory=tmp_path / name, env=env)
        await started[name].start()
        return started[name]

    yield one
    for name, generator in started.items():
        generator.process.send(signal.SIGCONT)
        await generator.stop()
        await kube.delete(PODS, name, identities.namespace)
    await kube.delete(TENANTS, tenant)
    await forget_record(kube, identities.namespace)
    with suppress(NotFound):
        await kube.delete(LEASES, LEASE, identities.namespace)
    assert refusals(control_plane) == []


async def status(generator: Generator) -> int:
    return (await generator.getparams())[0]


async def answers(generator: Generator, within: float = 5) -> None:
    said: dict[str, Any] = {}

    async def look() -> bool:
        nonlocal said
        generator.process.check()
        code, said = await generator.getparams()
        return code == 200

    try:
        await eventually(look, within=within, what="it answers")
    except AssertionError as error:
        raise AssertionError(f"{error}; it said {said}") from None


async def labelled(kube: Kube, identities: Identities) -> list[str]:
    selector = f"app.kubernetes.io/name=tenantry-generator,{ROLE_LABEL}=answering"
    listed = await kube.list(PODS, identities.namespace, selector)
    return [body["metadata"]["name"] for body in listed["items"]]


async def label_is_on(kube: Kube, identities: Identities, name: str, within: float = 5) -> None:
    async def look() -> bool:
        return await labelled(kube, identities) == [name]

    await eventually(look, within=within, what=f"{name} alone has the label")


@asynccontextmanager
async def never_both(*generators: Generator) -> AsyncIterator[None]:
    """Ask all of them all the time: at most one may answer with a success."""
    seen: set[tuple[int, ...]] = set()

    async def ask(generator: Generator) -> int:
        try:
            async with asyncio.timeout(0.5):
                return await status(generator)
        except (aiohttp.ClientError, TimeoutError):
            return 0

    async def watch() -> None:
        while True:
            answered = await asyncio.gather(*map(ask, generators))
            assert answered.count(200) <= 1
            assert set(answered) <= {200, 503, 0}
            seen.add(tuple(answered))
            await asyncio.sleep(0.02)

    async with background(watch()):
        yield
    print(f"answers at the same time: {sorted(seen)}")


async def test_one_answers_and_the_other_stands_by_ready_and_the_label_shows_it(
    start: Start, kube: Kube, identities: Identities
) -> None:
    first = await start("first")
    await answers(first)
    await label_is_on(kube, identities, "first")
    second = await start("second")  # until it is ready
    code, answer = await second.getparams()
    assert code == 503
    assert answer["message"].startswith("this replica stands by: it does not hold the Lease tenantry-generator")
    await kube.merge_patch(PODS, "second", {"metadata": {"labels": {ROLE_LABEL: "answering"}}}, identities.namespace)
    await label_is_on(kube, identities, "first", within=15)
    async with never_both(first, second):
        stopping = asyncio.create_task(first.stop())
        await answers(second, within=RETRY + 5)
        assert await stopping == 0
    await label_is_on(kube, identities, "second")


async def test_after_a_kill_the_standby_answers_when_the_lease_has_expired(
    start: Start, kube: Kube, identities: Identities
) -> None:
    first = await start("first")
    await answers(first)
    second = await start("second")
    await asyncio.sleep(RETRY)
    first.kill()
    killed = time.monotonic()
    await answers(second, within=DURATION + RETRY + 1)
    took = time.monotonic() - killed
    print(f"after SIGKILL: answers within {took:.1f} s")
    assert took >= DURATION - 2 * RETRY, "the dead one could still have been alive"
    await label_is_on(kube, identities, "second")


async def test_one_that_slept_through_its_lease_answers_none_of_what_waited_and_nothing_after(
    start: Start, kube: Kube, identities: Identities
) -> None:
    first = await start("first")
    await answers(first)
    second = await start("second")
    first.process.send(signal.SIGSTOP)
    asked = [asyncio.create_task(status(first)) for _ in range(20)]
    await answers(second, within=DURATION + RETRY + 2)
    await label_is_on(kube, identities, "second")
    async with never_both(first, second):
        first.process.send(signal.SIGCONT)
        assert await asyncio.gather(*asked) == [503] * 20
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert await status(first) == 503
    assert await status(second) == 200
    first.process.check()
    second.kill()
    await answers(first, within=DURATION + RETRY + 2)
    await label_is_on(kube, identities, "first")


async def test_while_the_api_server_is_away_it_stops_answering_in_time_and_goes_on_when_it_is_back(
    start: Start, control_plane: ControlPlane, kube: Kube, identities: Identities
) -> None:
    generator = await start("only")
    await answers(generator)
    control_plane.stop_apiserver()
    stopped = time.monotonic()
    try:

        async def refuses() -> bool:
            return await status(generator) == 503

        assert await status(generator) == 200
        await eventually(refuses, within=DURATION, what="it stops answering")
        print(f"answers for {time.monotonic() - stopped:.1f} s without an API server")
    finally:
        await control_plane.start_apiserver()
    await answers(generator, within=10)
    await label_is_on(kube, identities, "only", within=15)


async def refused(kube: Kube, name: str, body: dict[str, Any], namespace: str) -> str:
    try:
        await kube.merge_patch(PODS, name, body, namespace)
    except Invalid as error:
        return str(error)
    return "not refused"


async def test_the_generator_can_change_no_pod_but_for_the_label_of_its_own(kube: Kube, identities: Identities) -> None:
    space = identities.namespace
    own, other = generator_pod("own"), generator_pod("other")
    other["metadata"]["labels"] = {"app.kubernetes.io/name": "tenantry-operator"}
    for body in (own, other):
        await kube.create(PODS, body, space)
    (container,) = (await kube.get(PODS, "own", space))["spec"]["containers"]
    try:
        async with Kube(await load_credentials(str(identities.generator))) as mine:
            label: dict[str, Any] = {"metadata": {"labels": {ROLE_LABEL: "answering"}}}
            await mine.merge_patch(PODS, "own", label, space)

            async def in_force() -> bool:
                return "its own Pods only" in await refused(mine, "other", label, space)

            await eventually(in_force, within=15, what="the policy is in force")
            said = "nothing of a Pod but the label"
            image = {"spec": {"containers": [{**container, "image": f"{container['image']}-evil"}]}}
            assert said in await refused(mine, "own", image, space)
            for change in (
                {"labels": {"app.kubernetes.io/name": "tenantry-operator"}},
                {"labels": {"app.kubernetes.io/name": None}},
                {"labels": {"another": "one"}},
                {"annotations": {"a": "b"}},
                {"finalizers": ["a.example/b"]},
            ):
                assert said in await refused(mine, "own", {"metadata": change}, space), change
            await mine.merge_patch(PODS, "own", {"metadata": {"labels": {ROLE_LABEL: None}}}, space)
    finally:
        for name in ("own", "other"):
            await kube.delete(PODS, name, space)
