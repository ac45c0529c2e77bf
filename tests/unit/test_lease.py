"""The elector keeps client-go's rules whatever the API server answers, and never makes two holders."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tenantry.errors import Forbidden, NotFound
from tenantry.identity import process_identity
from tenantry.kube import Kube
from tenantry.lease import Elector, LeaseTiming
from tests.support.background import background
from tests.support.eventually import eventually

QUICK = LeaseTiming(duration=1, renew_deadline=0.6, retry_period=0.1)
PATH = "/apis/coordination.k8s.io/v1/namespaces/home/leases"
_FAULTS: list[int | str] = [500, 409, 429, "hang", "lost"]
SKEWS = ["1970-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z", "when the cows come home", None]


class LeaseApi:
    """One Lease. `faults` are taken by the requests in turn: a status to answer, "hang", "lost": done and not told,
    "slow": told late.
    """

    def __init__(self) -> None:
        self.spec: Any = None
        self.version = 0
        self.exists = False
        self.written_at = 0.0
        self.faults: list[int | str | None] = []
        self.luck: random.Random | None = None
        self.seen: list[tuple[str, Any]] = []

    def put(self, **spec: Any) -> None:
        """Write as somebody else does."""
        self.put_spec(spec)

    def put_spec(self, spec: Any) -> None:
        self.exists, self.spec, self.version = True, spec, self.version + 1
        self.written_at = time.monotonic()

    def body(self) -> dict[str, Any]:
        return {"metadata": {"name": "it", "resourceVersion": str(self.version)}, "spec": self.spec}

    async def handle(self, request: web.Request) -> web.Response:
        sent = await request.json() if request.can_read_body else None
        assert request.path == (PATH if request.method == "POST" else f"{PATH}/it")
        self.seen.append((request.method, sent))
        fault = self._fault()
        if fault == "hang":
            await asyncio.Event().wait()
        if isinstance(fault, int):
            return web.json_response({"message": "on purpose", "reason": "Test"}, status=fault)
        response = getattr(self, f"_{request.method.lower()}")(sent)
        if fault == "lost":
            await asyncio.Event().wait()
        if fault == "slow":
            await asyncio.sleep(QUICK.renew_deadline / 3)
        assert isinstance(response, web.Response)
        return response

    def _fault(self) -> int | str | None:
        if self.luck is not None and self.luck.random() < 0.25:
            return self.luck.choice(_FAULTS)
        return self.faults.pop(0) if self.faults else None

    def _get(self, _: Any) -> web.Response:
        return web.json_response(self.body()) if self.exists else web.json_response({}, status=404)

    def _post(self, sent: Any) -> web.Response:
        if self.exists:
            return web.json_response({}, status=409)
        self.put_spec(sent["spec"])
        return web.json_response(self.body(), status=201)

    def _patch(self, sent: Any) -> web.Response:
        if not self.exists:
            return web.json_response({}, status=404)
        if sent["metadata"]["resourceVersion"] != str(self.version):
            return web.json_response({}, status=409)
        kept = self.spec if isinstance(self.spec, dict) else {}
        self.put_spec({key: value for key, value in {**kept, **sent["spec"]}.items() if value is not None})
        return web.json_response(self.body())


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[tuple[LeaseApi, Kube]]:
    lease = LeaseApi()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", lease.handle)
    server = TestServer(application)
    await server.start_server(shutdown_timeout=0.1)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": str(server.make_url("/"))}}],
        "users": [{"name": "test", "user": {"token": "secret"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    async with await Kube.connect(str(path)) as kube:
        yield lease, kube
    await server.close()


Api = tuple[LeaseApi, Kube]


def elector(kube: Kube, identity: str = "me", timing: LeaseTiming = QUICK) -> Elector:
    return Elector(kube, namespace="home", name="it", identity=identity, timing=timing)


def never(why: str) -> None:
    raise AssertionError(f"lost: {why}")


async def acquired(one: Elector, within: float = 3.0) -> float:
    """Acquire; return the seconds that it took."""
    started = time.monotonic()
    async with asyncio.timeout(within):
        await one.acquire()
    assert one.valid
    return time.monotonic() - started


@asynccontextmanager
async def lost_when_held(one: Elector) -> AsyncIterator["asyncio.Future[tuple[float, str]]"]:
    """Hold the Lease; the future gets when and why it is lost."""
    lost: asyncio.Future[tuple[float, str]] = asyncio.get_running_loop().create_future()
    async with one.holding(lambda why: lost.set_result((time.monotonic(), why))):
        yield lost


async def test_a_lease_that_nobody_made_yet_is_made_with_times_that_kubernetes_takes(api: Api) -> None:
    lease, kube = api
    assert await acquired(elector(kube)) < 1
    assert lease.spec["holderIdentity"] == "me"
    assert (lease.spec["leaseDurationSeconds"], lease.spec["leaseTransitions"]) == (1, 0)
    assert lease.spec["acquireTime"] == lease.spec["renewTime"]
    time.strptime(lease.spec["renewTime"], "%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.mark.parametrize("skew", SKEWS)
async def test_another_s_lease_is_taken_over_a_duration_after_it_was_seen_whatever_time_it_shows(
    api: Api, skew: str | None
) -> None:
    lease, kube = api
    lease.put(holderIdentity="other", leaseDurationSeconds=1, renewTime=skew, acquireTime=skew, leaseTransitions=4)
    assert 1.0 <= await acquired(elector(kube)) < 1.0 + QUICK.retry_period + 0.3
    assert (lease.spec["holderIdentity"], lease.spec["leaseTransitions"]) == ("me", 5)


async def test_a_lease_is_respected_for_as_long_as_its_holder_asked_for(api: Api) -> None:
    lease, kube = api
    lease.put(holderIdentity="other", leaseDurationSeconds=2)
    assert await acquired(elector(kube)) >= 2.0


async def test_whoever_renews_keeps_the_lease(api: Api) -> None:
    lease, kube = api

    async def renew() -> None:
        for number in itertools.count():
            lease.put(holderIdentity="other", leaseDurationSeconds=1, renewTime=str(number))
            await asyncio.sleep(0.3)

    one = elector(kube)
    async with background(renew()):
        with pytest.raises(TimeoutError):
            await acquired(one, within=2.5)
    assert lease.spec["holderIdentity"] == "other"
    assert await acquired(one) > 0.5, "the last renewal counts from when it was seen"


async def test_a_label_is_no_sign_of_life(api: Api) -> None:
    lease, kube = api

    async def touch() -> None:
        while True:
            lease.put(holderIdentity="other", leaseDurationSeconds=1, renewTime="once")
            await asyncio.sleep(0.05)

    one = elector(kube)
    async with background(touch()):
        # Whether the swap meets a version that is still the newest is a matter of luck, so of some tries.
        assert await acquired(one, within=10) >= 1.0


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        [],
        "nonsense",
        {"holderIdentity": None, "leaseTransitions": "x"},
        {"holderIdentity": "", "leaseDurationSeconds": 1000},
    ],
    ids=repr,
)
async def test_a_lease_without_a_holder_is_taken_at_once(api: Api, spec: Any) -> None:
    lease, kube = api
    lease.put_spec(spec)
    assert await acquired(elector(kube)) < 0.5
    assert lease.spec["leaseTransitions"] == 1


@pytest.mark.parametrize("duration", [None, 0, -5, "soon", 1.5], ids=repr)
async def test_a_duration_that_is_none_counts_as_ours(api: Api, duration: Any) -> None:
    lease, kube = api
    lease.put(holderIdentity="other", leaseDurationSeconds=duration)
    assert 1.0 <= await acquired(elector(kube)) < 1.5


async def test_its_own_name_from_a_former_life_is_taken_up_at_once_and_is_no_transition(api: Api) -> None:
    lease, kube = api
    lease.put(holderIdentity="me", leaseDurationSeconds=1000, acquireTime="long ago", leaseTransitions=7)
    assert await acquired(elector(kube)) < 0.5
    assert (lease.spec["acquireTime"], lease.spec["leaseTransitions"]) == ("long ago", 7)
    assert lease.spec["leaseDurationSeconds"] == 1


async def test_of_two_that_want_a_free_lease_one_gets_it(api: Api) -> None:
    _, kube = api
    electors = [elector(kube, name) for name in ("a", "b")]
    waiting = [asyncio.create_task(one.acquire()) for one in electors]
    done, pending = await asyncio.wait(waiting, timeout=0.4)
    assert [len(done), len(pending)] == [1, 1]
    assert [one.valid for one in electors].count(True) == 1
    for task in pending:
        task.cancel()


async def test_the_loser_of_a_race_stands_by(api: Api) -> None:
    lease, kube = api
    lease.faults = [404, 409]
    lease.put(holderIdentity="other", leaseDurationSeconds=1)
    assert await acquired(elector(kube)) >= 1.0


@pytest.mark.parametrize("faults", [[None, "lost"], [None, 500, 429], ["hang"], [None, "hang"]], ids=repr)
async def test_what_goes_wrong_while_acquiring_is_waited_out(api: Api, faults: list[Any]) -> None:
    lease, kube = api
    lease.faults = faults
    await acquired(elector(kube))
    assert lease.spec["holderIdentity"] == "me"
    assert lease.spec["leaseTransitions"] == 0


async def test_while_held_it_is_renewed_and_stays_valid(api: Api) -> None:
    lease, kube = api
    one = elector(kube)
    await acquired(one)
    first = dict(lease.spec)
    async with one.holding(never):
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            assert one.valid
            await asyncio.sleep(0.01)
        assert lease.spec["renewTime"] > first["renewTime"]
        assert lease.spec["acquireTime"] == first["acquireTime"]
        assert lease.spec["leaseTransitions"] == 0


async def test_a_holder_s_time_begins_before_it_asks_and_not_with_a_late_answer(api: Api) -> None:
    lease, kube = api
    one = elector(kube)
    lease.faults = [None, "slow"]
    await acquired(one)
    assert one.valid_until <= lease.written_at + QUICK.renew_deadline
    async with one.holding(never):
        before, lease.faults = one.valid_until, ["slow"]
        await eventually(lambda: one.valid_until > before, within=2, what="the Lease is renewed")
        assert one.valid_until <= lease.written_at + QUICK.renew_deadline


@pytest.mark.parametrize("fault", [500, 409, 429, 403, "hang", "lost"])
async def test_a_failed_renewal_is_tried_again(api: Api, fault: int | str) -> None:
    lease, kube = api
    one = elector(kube)
    await acquired(one)
    async with one.holding(never):
        lease.faults = [fault]
        await eventually(lambda: not lease.faults, within=2, what="the fault has struck")
        before = one.valid_until
        await eventually(lambda: one.valid_until > before, within=2, what="the Lease is renewed")


@pytest.mark.parametrize("fault", [500, 409, "hang"])
async def test_renewals_that_keep_failing_lose_the_lease_before_anybody_else_may_have_it(
    api: Api, fault: int | str
) -> None:
    lease, kube = api
    one = elector(kube)
    await acquired(one)
    async with lost_when_held(one) as lost:
        until = one.valid_until
        lease.faults = [fault] * 1000
        at, why = await asyncio.wait_for(lost, 3)
        assert why == "it could not be renewed in time"
        assert until <= at < until + 0.2
        assert not one.valid
    assert lease.faults, "nothing is released that is lost"


async def test_the_holder_stops_the_margin_before_another_starts(api: Api) -> None:
    _, kube = api
    one, other = elector(kube, "one"), elector(kube, "other")
    await acquired(one)
    async with lost_when_held(one) as lost:
        until = one.valid_until
        # Its renewals stop, as if this process had been cut off; the other is not.
        next(task for task in asyncio.all_tasks() if task.get_name() == "Lease it").cancel()
        waiting = asyncio.create_task(acquired(other))
        at, _ = await asyncio.wait_for(lost, 3)
        assert until <= at < until + 0.1
        assert not waiting.done()
        await waiting
        assert time.monotonic() - at >= QUICK.duration - QUICK.renew_deadline - 0.05


async def test_a_deleted_lease_is_made_anew_by_its_holder(api: Api) -> None:
    lease, kube = api
    lease.put(holderIdentity="", leaseTransitions=3)
    one = elector(kube)
    await acquired(one)
    async with one.holding(never):
        lease.exists = False
        await eventually(lambda: lease.exists, within=2, what="the Lease is back")
        assert (lease.spec["holderIdentity"], lease.spec["leaseTransitions"]) == ("me", 4)


async def test_a_deleted_lease_is_not_free_until_its_holder_has_had_the_time_to_find_out(api: Api) -> None:
    lease, kube = api
    lease.put(holderIdentity="other", leaseDurationSeconds=1)
    one = elector(kube)
    waiting = asyncio.create_task(acquired(one))
    await eventually(lambda: lease.seen, within=2, what="the Lease has been looked at")
    lease.exists = False
    assert await waiting >= 1.0
    assert lease.spec["holderIdentity"] == "me"


@pytest.mark.parametrize("thief", ["other", ""])
async def test_a_lease_taken_away_is_lost_at_the_next_renewal_and_left_alone(api: Api, thief: str) -> None:
    lease, kube = api
    one = elector(kube)
    await acquired(one)
    async with lost_when_held(one) as lost:
        lease.put(holderIdentity=thief, leaseDurationSeconds=1)
        taken = time.monotonic()
        at, why = await asyncio.wait_for(lost, 3)
        assert at - taken < QUICK.retry_period + 0.2
        assert why == f"{thief or 'nobody'} holds it"
        assert not one.valid
    assert lease.spec == {"holderIdentity": thief, "leaseDurationSeconds": 1}


async def test_a_touched_lease_is_not_lost(api: Api) -> None:
    lease, kube = api
    one = elector(kube)
    await acquired(one)
    async with one.holding(never):
        touched = lease.version = lease.version + 10
        await eventually(lambda: lease.version > touched, within=2, what="it is renewed over the new version")


async def test_time_that_ran_out_unnoticed_is_told_before_any_waiting_task_goes_on(api: Api) -> None:
    _, kube = api
    one = elector(kube)
    await acquired(one)
    order: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0.05)
        order.append("work")

    async with one.holding(lambda why: order.append(f"lost: {why}")):
        await asyncio.sleep(0.01)
        working = asyncio.create_task(work())
        await asyncio.sleep(0)
        time.sleep(QUICK.renew_deadline + 0.1)  # noqa: ASYNC251 - what a stopped process looks like from within
        await working
    assert order == ["lost: it could not be renewed in time", "work"]


async def test_a_released_lease_shows_no_holder_and_the_next_needs_not_wait_for_its_end(api: Api) -> None:
    lease, kube = api
    slow = LeaseTiming(duration=1000, renew_deadline=100, retry_period=0.1)
    first, second = elector(kube, "first", slow), elector(kube, "second", slow)
    await acquired(first)
    async with first.holding(never):
        waiting = asyncio.create_task(acquired(second))
        await asyncio.sleep(0.3)
        assert not waiting.done()
    assert (lease.spec["holderIdentity"], lease.spec["leaseDurationSeconds"]) in (("", 1), ("second", 1000))
    assert not first.valid
    await waiting
    assert (lease.spec["holderIdentity"], lease.spec["leaseTransitions"]) == ("second", 1)


async def test_a_release_goes_through_although_a_last_renewal_arrives_in_between(api: Api) -> None:
    lease, kube = api
    one = elector(kube)
    await acquired(one)
    async with one.holding(never):
        lease.faults = ["lost", None, 409]
        await eventually(lambda: len(lease.faults) == 2, within=2, what="a renewal has been committed and not told")
    assert (lease.spec["holderIdentity"], lease.spec["leaseDurationSeconds"]) == ("", 1)


async def test_an_api_server_that_is_gone_does_not_keep_a_process_from_ending(api: Api) -> None:
    lease, kube = api
    one = elector(kube)
    await acquired(one)
    started = 0.0
    async with asyncio.timeout(3), one.holding(never):
        lease.faults = ["hang"] * 10
        started = time.monotonic()
    assert time.monotonic() - started < QUICK.renew_deadline


async def test_what_only_a_person_can_mend_is_said_at_once(api: Api) -> None:
    lease, kube = api
    lease.faults = [403]
    with pytest.raises(Forbidden):
        await elector(kube).acquire()
    lease.faults = [404, 404]
    with pytest.raises(NotFound, match="the Lease it has no place"):
        await elector(kube).acquire()


async def test_a_standby_outlives_a_server_that_refuses_for_a_while(api: Api) -> None:
    lease, kube = api
    lease.put(holderIdentity="other", leaseDurationSeconds=1)
    one = elector(kube)
    waiting = asyncio.create_task(acquired(one))
    await eventually(lambda: lease.seen, within=2, what="the Lease has been looked at")
    lease.faults = [403, 404, 500]
    await waiting
    assert not lease.faults


@pytest.mark.parametrize(
    ("duration", "renew_deadline", "retry_period"), [(10, 10, 2), (15, 10, 5), (15, 10, 0), (0, -1, -2)]
)
def test_times_that_leave_no_room_are_refused(duration: int, renew_deadline: float, retry_period: float) -> None:
    with pytest.raises(ValueError, match="duration > renew_deadline > 2"):
        LeaseTiming(duration=duration, renew_deadline=renew_deadline, retry_period=retry_period)


async def test_among_electors_that_fail_and_are_failed_no_two_are_ever_valid(api: Api) -> None:
    lease, kube = api
    seed = random.randrange(10**6)  # noqa: S311
    print("seed", seed)
    lease.luck = luck = random.Random(seed)  # noqa: S311
    held: list[str] = []
    electors: dict[str, Elector] = {}

    async def live(name: str) -> None:
        for life in itertools.count():
            one = electors[name] = elector(kube, f"{name}-{life}")
            await one.acquire()
            held.append(name)
            over = asyncio.Event()
            crash = luck.random() < 0.5
            with suppress(TimeoutError):
                async with one.holding(lambda why, over=over: over.set()):  # type: ignore[misc]
                    async with asyncio.timeout(luck.random()):
                        await over.wait()
                    if crash:
                        one.valid_until = float("-inf")  # dead: nothing is given back

    async def look() -> None:
        while True:
            valid = [name for name, one in electors.items() if one.valid]
            assert len(valid) <= 1, f"seed {seed}: {valid} at once, {held}"
            await asyncio.sleep(0)

    async with background(live("a")), background(live("b")), background(live("c")), background(look()) as looking:
        await asyncio.wait([looking], timeout=6)
    assert len(set(held)) > 1, f"seed {seed}: {held}"


def test_an_identity_is_that_of_whoever_listens_on_an_address() -> None:
    first = process_identity(("127.0.0.1", 8080))
    assert first == process_identity(("127.0.0.1", 8080))
    assert first != process_identity(("127.0.0.1", 8081))
