"""The elector on a real API server: what a scripted one takes, Kubernetes takes too."""

import asyncio
import time
import uuid
from contextlib import suppress

import pytest

from tenantry.kube import Kube
from tenantry.lease import Elector, LeaseTiming
from tenantry.resources import LEASES
from tests.support.background import background

QUICK = LeaseTiming(duration=2, renew_deadline=1.2, retry_period=0.3)


@pytest.fixture
def name() -> str:
    return f"lease-{uuid.uuid4().hex[:6]}"


def elector(kube: Kube, name: str, identity: str, timing: LeaseTiming = QUICK) -> Elector:
    return Elector(kube, namespace="default", name=name, identity=identity, timing=timing)


def never(why: str) -> None:
    raise AssertionError(f"lost: {why}")


async def keep(one: Elector, *, give_up: asyncio.Event) -> None:
    """Hold the Lease until told to die, which gives nothing back."""
    async with one.holding(never):
        await give_up.wait()
        one.valid_until = float("-inf")


async def test_kubernetes_takes_every_write_and_shows_who_holds(kube: Kube, name: str) -> None:
    one = elector(kube, name, "one")
    await one.acquire()
    taken = (await kube.get(LEASES, name, "default"))["spec"]
    assert (taken["holderIdentity"], taken["leaseDurationSeconds"], taken["leaseTransitions"]) == ("one", 2, 0)
    async with one.holding(never):
        await asyncio.sleep(1)
        renewed = (await kube.get(LEASES, name, "default"))["spec"]
    assert renewed["renewTime"] > taken["renewTime"]
    assert renewed["acquireTime"] == taken["acquireTime"]
    released = (await kube.get(LEASES, name, "default"))["spec"]
    assert (released["holderIdentity"], released["leaseDurationSeconds"]) == ("", 1)
    other = elector(kube, name, "other")
    await other.acquire()
    assert (await kube.get(LEASES, name, "default"))["spec"]["leaseTransitions"] == 1


async def test_a_dead_holder_is_followed_within_duration_and_retry_and_a_living_one_sooner(
    kube: Kube, name: str
) -> None:
    one, other = elector(kube, name, "one"), elector(kube, name, "other")
    await one.acquire()
    dead = asyncio.Event()
    async with background(keep(one, give_up=dead)):
        waiting = asyncio.create_task(other.acquire())
        await asyncio.sleep(1)
        assert not other.valid
        dead.set()
        died = time.monotonic()
        await waiting
        after_death = time.monotonic() - died
    assert QUICK.duration - QUICK.retry_period - 0.2 <= after_death <= QUICK.duration + QUICK.retry_period + 0.3
    async with other.holding(never):
        third = elector(kube, name, "third")
        waiting = asyncio.create_task(third.acquire())
        await asyncio.sleep(1)
        assert not third.valid
    left = time.monotonic()
    await waiting
    after_release = time.monotonic() - left
    print(f"after death {after_death:.2f} s, after a release {after_release:.2f} s")
    assert after_release <= QUICK.retry_period + 0.3


async def test_many_that_come_and_go_never_hold_at_the_same_time(kube: Kube, name: str) -> None:
    electors: dict[str, Elector] = {}
    order: list[str] = []

    async def live(who: str, seconds: float) -> None:
        while True:
            one = electors[who] = elector(kube, name, who)
            await one.acquire()
            order.append(who)
            async with one.holding(never):
                await asyncio.sleep(seconds)
            # The Lease knows no queue: who gives it back and asks again at once would be first each time.
            await asyncio.sleep(2 * QUICK.retry_period)

    async def look() -> None:
        while True:
            valid = [who for who, one in electors.items() if one.valid]
            assert len(valid) <= 1, f"{valid} at once; {order}"
            await asyncio.sleep(0)

    lives = [asyncio.create_task(live(f"e{number}", 0.1 * number)) for number in range(5)]
    async with background(look()) as looking:
        await asyncio.wait([looking, *lives], timeout=6, return_when=asyncio.FIRST_COMPLETED)
        for task in lives:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    assert len(set(order)) >= 3, order


async def test_a_lease_that_was_deleted_or_edited_by_hand_is_taken_back_or_given_up(kube: Kube, name: str) -> None:
    one = elector(kube, name, "one")
    await one.acquire()
    lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with one.holding(lost.set_result):
        await kube.delete(LEASES, name, "default")
        await asyncio.sleep(1)
        assert one.valid
        assert (await kube.get(LEASES, name, "default"))["spec"]["holderIdentity"] == "one"
        await kube.merge_patch(LEASES, name, {"spec": {"holderIdentity": "thief"}}, "default")
        assert await asyncio.wait_for(lost, 2) == "thief holds it"
    assert (await kube.get(LEASES, name, "default"))["spec"]["holderIdentity"] == "thief"
