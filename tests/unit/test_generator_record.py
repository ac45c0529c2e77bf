"""Recorded before served: what a service answers while its record can't be read or written, and after a restart."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tenantry.render import ClusterRow, Row, render_row
from tenantry_generator.acknowledging import describe
from tenantry_generator.answers import Answers
from tenantry_generator.app import GETPARAMS, make_app
from tenantry_generator.applicationsets import ApplicationSet, Use
from tenantry_generator.auth import Tokens
from tenantry_generator.binding import Binding
from tenantry_generator.contacts import HOLDS
from tenantry_generator.errors import RecordConflict, RecordCorrupt, RecordUnavailable
from tenantry_generator.expand import Place
from tenantry_generator.feed import Feed
from tenantry_generator.generator_selector import read_selector
from tenantry_generator.metrics import Metrics
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.publisher import Publisher
from tenantry_generator.received import Receipt
from tenantry_generator.record import RecordStore, Stored
from tenantry_generator.record.store import Store
from tenantry_generator.sources import Read
from tenantry_generator.sources.clusters import Clusters
from tests.support.eventually import eventually
from tests.unit import test_record_store
from tests.unit.test_generator_app import ToldSource

T0 = 1_700_000_000.0


class Memory:
    """A RecordStore that outlives the services of a test, and fails as it is told."""

    def __init__(self) -> None:
        self.kept: Stored | None = None
        self.failure: Exception | None = None
        self.saves = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> Stored | None:
        if self.failure is not None:
            raise self.failure
        return self.kept

    async def is_current(self) -> bool:
        return False

    def adopt(self, tables: Mapping[str, Mapping[str, bytes]]) -> None:
        """Nothing is compared here."""

    async def save(self, stored: Stored) -> None:
        await self.gate.wait()
        if self.failure is not None:
            failure = self.failure
            if isinstance(failure, RecordConflict):
                self.failure = None
            raise failure
        assert self.kept is None or stored.revision > self.kept.revision
        self.saves += 1
        self.kept = stored


class Owners:
    """A Directory of what a test says."""

    def __init__(self) -> None:
        self.sets: dict[str, ApplicationSet] = {}
        self.settled = True
        self.behind = False

    def own(self, name: str, count: int, *uses: Use, plain: bool = True) -> None:
        self.sets[name] = ApplicationSet(name, "uid", count, uses or (Use("tenantry", {}, None),), plain)

    def names(self) -> list[str]:
        return sorted(self.sets)

    def find(self, name: str) -> tuple[ApplicationSet, tuple[Use, ...]] | None:
        found = self.sets.get(name)
        return None if found is None else (found, found.uses)


class Service:
    """A generator with one source, which says what the test makes it say."""

    def __init__(self, store: RecordStore | None, owners: Owners, admins: Path | None, *, cluster: bool) -> None:
        self.database: ToldSource[Row] = ToldSource("postgres")
        self.cluster: ToldSource[ClusterRow] | None = ToldSource("cluster") if cluster else None
        self.events: list[str] = []
        self.now = T0
        self.answering = True
        self.not_answering: Callable[[], str] = lambda: ""
        self.far: ToldSource[Place] = ToldSource("namespaces/far")
        metrics = Metrics()
        clusters = self.clusters = Clusters(own=None, directory=None, metrics=metrics)
        self.publisher = Publisher(
            cluster=self.cluster,
            database=self.database,
            metrics=metrics,
            columns=("status",),
            store=store,
            clock=lambda: self.now,
            may_write=lambda: self.answering,
            clusters=clusters.feeds,
        )
        clusters.feeds["far"] = Feed(self.far, metrics, self.publisher.wake)
        self.answers = Answers(
            self.publisher,
            owners,
            parse=lambda given: parse_query(
                given, accepted_parameters(("status",), self.publisher.membership.merged.keys)
            ),
            binding=Binding(self.publisher, clusters),
            metrics=metrics,
        )

        async def announce(message: str) -> None:
            self.events.append(message)

        app = make_app(
            publisher=self.publisher,
            clusters=clusters,
            answers=self.answers,
            tokens=Tokens(literal="s3cret", directory=None),
            admins=Tokens(literal=None, directory=admins, required=False),
            announce=announce,
            metrics=metrics,
            why_not=lambda: self.not_answering(),
        )
        self.client: TestClient[Any, Any] = TestClient(TestServer(app))

    def rows(self, count: int, *, status: str = "active", confirmed: bool = True) -> None:
        rows = {f"t{n:02}": render_row(f"t{n:02}", {"status": status}) for n in range(count)}
        self.database.publish(Read(rows, confirmed=confirmed))

    async def ask(self, applicationset: str = "apps", **parameters: Any) -> tuple[int, Any]:
        body = {"applicationSetName": applicationset, "input": {"parameters": parameters}}
        async with self.client.post(GETPARAMS, json=body, headers={"Authorization": "Bearer s3cret"}) as response:
            answer = await response.json()
            return response.status, len(answer["output"]["parameters"]) if response.ok else answer["message"]

    async def answers_with(self, count: int, *, name: str = "apps", **parameters: Any) -> None:
        async def same() -> bool:
            return await self.ask(name, **parameters) == (200, count)

        try:
            await eventually(same, within=5, what=f"an answer of {count} elements")
        except AssertionError as error:
            raise AssertionError(f"{error}; {await self.ask(name, **parameters)}") from None

    async def acknowledge(self, body: object, token: str = "admin") -> tuple[int, Any]:  # noqa: S107
        headers = {"Authorization": f"Bearer {token}"}
        async with self.client.post(HOLDS, data=json.dumps(body), headers=headers) as response:
            return response.status, await response.json()

    async def text(self, path: str) -> str:
        async with self.client.get(path) as response:
            return await response.text()

    def holds(self) -> list[dict[str, Any]]:
        return describe(self.publisher, self.answers)


@pytest.fixture
async def store() -> Memory:
    return Memory()


@pytest.fixture
def owners() -> Owners:
    return Owners()


@pytest.fixture
def admins(tmp_path: Path) -> Path:
    (tmp_path / "on-call").write_text("admin")
    return tmp_path


@asynccontextmanager
async def running(
    store: RecordStore | None, owners: Owners, admins: Path | None = None, *, cluster: bool = False
) -> AsyncIterator[Service]:
    service = Service(store, owners, admins, cluster=cluster)
    async with service.client:
        await eventually(lambda: service.database.runs and service.far.runs, within=5, what="the sources run")
        yield service


async def test_nothing_is_served_that_has_not_been_recorded(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        store.gate.clear()
        service.rows(3)
        assert (await service.ask())[0] == 503
        store.gate.set()
        await service.answers_with(3)
        store.gate.clear()
        service.rows(4)
        assert await service.ask() == (200, 3)
        store.gate.set()
        await service.answers_with(4)


async def test_while_the_record_can_not_be_written_the_last_answer_stays_and_what_changes_becomes_one_change(
    store: Memory, owners: Owners
) -> None:
    async with running(store, owners) as service:
        service.rows(3)
        await service.answers_with(3)
        saves = store.saves
        store.failure = RecordUnavailable("the API server is away")
        for count in (4, 5, 6):
            service.rows(count)
            assert await service.ask() == (200, 3)

        async def told() -> bool:
            return "can't be written, so nothing new is served: the API server is away" in await service.text("/readyz")

        await eventually(told, within=5, what="/readyz says why")
        assert "tenantry_record_errors_total 0.0" not in (await service.text("/metrics")).splitlines()
        store.failure = None
        await service.answers_with(6)
        assert store.saves == saves + 1
        assert await service.text("/readyz") == "ok\n"


async def test_a_new_view_is_recorded_before_it_is_answered(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        service.rows(3)
        await service.answers_with(3)
        store.gate.clear()
        asking = asyncio.create_task(service.ask("apps", status="active"))
        assert not (await asyncio.wait([asking], timeout=0.3))[0]
        store.gate.set()
        assert await asking == (200, 3)
        assert store.kept is not None
        assert json.loads(store.kept.meta)["views"].keys() == service.publisher.membership.views.keys()


async def test_a_restart_compares_what_it_reads_with_the_record(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        service.rows(10)
        await service.answers_with(10)
    async with running(store, owners) as service:
        service.rows(0)
        await service.answers_with(10)
        (hold,) = service.holds()
        assert (len(hold["tenants"]), hold["why"]) == (10, "nothing would remain")
    async with running(store, owners) as service:
        service.rows(0, confirmed=False)
        await service.answers_with(10)
        assert service.holds()[0]["hash"] == hold["hash"]
        service.rows(0)
        await service.answers_with(10)
        assert service.holds()[0]["hash"] == hold["hash"]


async def test_who_is_recorded_and_missing_in_the_first_read_stays_until_that_is_confirmed(
    store: Memory, owners: Owners
) -> None:
    async with running(store, owners) as service:
        service.rows(10)
        await service.answers_with(10)
    async with running(store, owners) as service:
        service.rows(9, status="trial", confirmed=False)
        await service.answers_with(9, name="of-trial", status="trial")
        await service.answers_with(10)
        service.rows(9, status="trial")
        await service.answers_with(9)
        assert service.holds() == []


async def test_a_source_with_a_problem_is_served_as_recorded_and_readyz_says_so(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        service.rows(10)
        await service.answers_with(10)
    async with running(store, owners) as service:
        assert (await service.ask())[0] == 503, "it is given the time to read"
        service.database.problem = "db:5432 refused the connection"
        await service.answers_with(10)
        assert await service.text("/readyz") == (
            "ok\nserved as recorded, not read since the start: postgres (db:5432 refused the connection)\n"
        )


async def test_a_source_that_was_never_read_is_waited_for(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        service.rows(10)
        await service.answers_with(10)
    async with running(store, owners, cluster=True) as service:
        assert service.cluster is not None
        service.rows(10)
        service.cluster.problem = "403"
        await asyncio.sleep(0.4)
        assert await service.ask() == (503, "no complete read yet from: cluster (403)")
        service.cluster.publish(Read({}))
        await service.answers_with(10)


async def test_the_tenants_of_a_source_that_is_no_longer_configured_are_held(store: Memory, owners: Owners) -> None:
    async with running(store, owners, cluster=True) as service:
        assert service.cluster is not None
        names = [f"c{number}" for number in range(4)]
        rows = {name: ClusterRow(render_row(name, {"status": ""}), frozenset()) for name in names}
        service.cluster.publish(Read(rows))
        service.rows(10)
        await service.answers_with(14)
    async with running(store, owners) as service:
        service.rows(10)
        await service.answers_with(14)
        assert [hold["set"] for hold in service.holds()] == ["source cluster"]


@pytest.mark.parametrize("failure", [RecordUnavailable("away"), RecordCorrupt("chunk 7 is gone")])
async def test_without_its_record_nothing_is_answered(store: Memory, owners: Owners, failure: Exception) -> None:
    store.failure = failure
    async with running(store, owners) as service:
        service.rows(10)
        assert await service.ask() == (503, f"the record of what was served can't be read: {failure}")
        store.failure = None
        await service.answers_with(10)


async def test_after_another_writer_it_is_silent_until_it_has_read_the_record_anew(
    store: Memory, owners: Owners
) -> None:
    async with running(store, owners) as other:
        other.rows(12)
        await other.answers_with(12)
        theirs = store.kept
    store.kept = None
    async with running(store, owners) as service:
        service.rows(3)
        await service.answers_with(3)
        store.kept, store.failure = theirs, RecordConflict("the index was written by another process")
        service.rows(2)

        async def silent() -> bool:
            return (await service.ask())[0] == 503

        await eventually(silent, within=5, what="it is silent")
        await eventually(lambda: service.database.started_over, within=5, what="the source is read anew")
        await asyncio.sleep(0.3)
        assert await silent(), "what was read before the other one wrote proves nothing"
        service.rows(2)
        await service.answers_with(12)
        assert len(service.holds()[0]["tenants"]) == 10


async def test_a_hold_is_listed_and_acknowledged_by_a_token_that_may(
    store: Memory, owners: Owners, admins: Path
) -> None:
    async with running(store, owners, admins) as service:
        service.rows(10)
        await service.answers_with(10)
        service.rows(5)
        await eventually(lambda: service.holds(), within=5, what="a hold")
        async with service.client.get(HOLDS, headers={"Authorization": "Bearer s3cret"}) as response:
            (hold,) = (await response.json())["holds"]
        assert (hold["set"], len(hold["tenants"]), hold["since"]) == (
            "source postgres",
            5,
            "2023-11-14T22:13:20+00:00",
        )
        given = hold["hash"]
        assert (await service.acknowledge({"hash": given}, token="s3cret"))[0] == 403
        assert (await service.acknowledge({"hash": "0" * 16}))[0] == 404
        for odd in ("[]", "{}", '{"hash": true}', '{"hash": "x", "all": true}', '{"hash": "x", "by": "a\\nb"}'):
            assert (await service.acknowledge(json.loads(odd)))[0] == 400, odd
        status, answer = await service.acknowledge({"hash": given, "by": "Ada"})
        assert (status, answer["released"]) == (200, hold["tenants"])
        assert await service.acknowledge({"hash": given}) == (
            409,
            {"message": f"the hold {given} was acknowledged already, by Ada (token on-call)"},
        )
        assert service.events == [f"Ada (token on-call) acknowledged the hold {given} of source postgres: 5 released"]
        await service.answers_with(5)
        assert service.holds() == []


async def test_without_a_token_that_may_nothing_is_acknowledged(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        status, answer = await service.acknowledge({"hash": "x"}, token="s3cret")
        assert (status, "TENANTRY_ADMIN_TOKEN_DIR" in answer["message"]) == (403, True)


async def test_an_acknowledgement_while_the_source_is_away_is_followed_when_it_is_read_again(
    store: Memory, owners: Owners, admins: Path
) -> None:
    async with running(store, owners, admins) as service:
        service.rows(10)
        await service.answers_with(10)
        service.rows(5)
        await eventually(lambda: service.holds(), within=5, what="a hold")
        service.database.problem = "away"
        status, answer = await service.acknowledge({"hash": service.holds()[0]["hash"]})
        assert (status, answer["released"]) == (202, [])
        assert await service.ask() == (200, 10)
        service.database.problem = None
        service.rows(6)
        await service.answers_with(6)


async def test_a_first_contact_waits_until_the_applicationsets_can_be_read_again(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        service.rows(3)
        owners.own("apps", 3)
        await service.answers_with(3)
        owners.own("new", 3)
        owners.behind = True
        status, message = await service.ask("new")
        assert (status, "can't be read at present" in message) == (503, True)
        assert (await service.ask("unheard-of"))[0] == 503
        await service.answers_with(3)
        owners.behind = False
        await service.answers_with(3, name="new")


async def test_the_first_answer_makes_known_what_every_generator_of_the_applicationset_sees(
    store: Memory, owners: Owners
) -> None:
    plain = [Use("tenantry", {"status": status}, None) for status in ("active", "trial")]
    async with running(store, owners) as service:
        service.rows(10)
        owners.own("apps", 10, *plain)
        await service.answers_with(0, status="trial")
        service.rows(10, status="suspended")
        await service.answers_with(10, status="active")
        assert len(service.holds()) == 1


@pytest.mark.parametrize(("owned", "status"), [(0, 200), (10, 200), (12, 200), (13, 503)])
async def test_a_first_contact_may_delete_two_and_no_more(
    store: Memory, owners: Owners, owned: int, status: int
) -> None:
    owners.own("apps", owned)
    async with running(store, owners) as service:
        service.rows(10)
        await eventually(lambda: service.publisher.snapshot, within=5, what="a snapshot")
        assert (await service.ask())[0] == status


async def test_an_acknowledged_first_contact_is_answered_while_the_numbers_are_those(
    store: Memory, owners: Owners, admins: Path
) -> None:
    owners.own("apps", 30)
    async with running(store, owners, admins) as service:
        service.rows(10)
        await eventually(lambda: service.publisher.snapshot, within=5, what="a snapshot")
        status, message = await service.ask()
        assert status == 503
        assert "owns 30 Applications and the answer has only 10 elements" in message
        (contact,) = service.holds()
        assert (await service.acknowledge({"hash": contact["hash"]}))[0] == 202
        service.rows(9)
        await eventually(lambda: len(service.publisher.membership.merged.rows) == 9, within=5, what="9 rows")
        assert (await service.ask())[0] == 503, "other numbers were agreed to"
        service.rows(10)
        await service.answers_with(10)
        assert service.holds() == []
        service.rows(9)
        await service.answers_with(9)
        owners.own("apps", 40)
        assert await service.ask() == (200, 9), "it is known now"


async def test_a_first_contact_that_was_agreed_to_is_not_agreed_to_for_ever(
    store: Memory, owners: Owners, admins: Path
) -> None:
    owners.own("apps", 30)
    async with running(store, owners, admins) as service:
        service.rows(10)
        await eventually(lambda: service.publisher.snapshot, within=5, what="a snapshot")
        await service.ask()
        await service.acknowledge({"hash": service.holds()[0]["hash"]})
        service.now += 3601
        service.rows(11)
        await eventually(lambda: len(service.publisher.membership.merged.rows) == 11, within=5, what="a change")
        service.rows(10)
        await eventually(lambda: len(service.publisher.membership.merged.rows) == 10, within=5, what="a change")
        assert (await service.ask())[0] == 503


async def test_an_empty_answer_is_given_only_to_whom_it_deletes_nothing(store: Memory, owners: Owners) -> None:
    owners.own("none", 0)
    owners.own("one", 1)
    async with running(store, owners) as service:
        service.rows(0)
        await eventually(lambda: service.publisher.snapshot, within=5, what="a snapshot")
        assert [(await service.ask(name))[0] for name in ("none", "one", "unknown", "")] == [200, 503, 503, 503]


async def test_the_last_tenant_may_leave_where_the_application_set_is_known(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        service.rows(1)
        await service.answers_with(1)
        service.rows(0)
        await service.answers_with(0)


async def test_out_of_the_record_alone_nothing_at_all_is_deleted(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        service.rows(10)
        await service.answers_with(10)
    owners.own("apps", 11)
    async with running(store, owners) as service:
        service.database.problem = "away"
        await eventually(lambda: service.publisher.snapshot, within=5, what="a snapshot")
        status, message = await service.ask()
        assert status == 503
        assert "has not been read since the start" in message
        service.rows(10)
        await service.answers_with(10)


async def test_several_generators_of_one_application_set_count_together(store: Memory, owners: Owners) -> None:
    owners.own("apps", 10, Use("tenantry", {"status": "active"}, None), Use("tenantry", {"status": "late"}, None))
    async with running(store, owners) as service:
        service.rows(10)
        await eventually(lambda: service.publisher.snapshot, within=5, what="a snapshot")
        assert await service.ask(status="late") == (200, 0)
        assert await service.ask(status="active") == (200, 10)


async def test_until_the_application_sets_are_read_only_known_ones_are_answered(store: Memory, owners: Owners) -> None:
    async with running(store, owners) as service:
        service.rows(10)
        await service.answers_with(10)
        owners.settled = False
        assert await service.ask() == (200, 10)
        for name, parameters in (("apps", {"status": "active"}), ("other", {})):
            status, message = await service.ask(name, **parameters)
            assert status == 503
            assert "ApplicationSets have not been read yet" in message
    async with running(store, owners) as service:
        service.database.problem = "away"
        await eventually(lambda: service.publisher.snapshot, within=5, what="a snapshot")
        assert (await service.ask())[0] == 503, "out of the record alone, a surplus must be excluded"
        owners.settled = True
        await service.answers_with(10)


async def test_what_a_selector_hides_is_held_and_an_edited_application_set_has_another_view(
    store: Memory, owners: Owners
) -> None:
    active = read_selector({"matchLabels": {"status": "active"}})
    owners.own("apps", 10, Use("tenantry", {}, active))
    async with running(store, owners) as service:
        service.rows(10)
        await service.answers_with(10)
        service.rows(10, status="late")
        await eventually(lambda: service.holds(), within=5, what="a hold")
        body = service.publisher.membership.views
        assert [view.selector for view in body.values()] == [active]
        owners.own("apps", 10)
        await service.answers_with(10)
        assert [view.selector for view in service.publisher.membership.views.values()] == [None]
        assert service.holds() == []


async def test_a_view_that_nobody_asks_for_is_forgotten_after_a_week_unless_it_holds(
    store: Memory, owners: Owners
) -> None:
    async with running(store, owners) as service:
        service.rows(10)
        for name, status in (("used", "active"), ("gone", "active"), ("holding", "late")):
            await service.answers_with(10 if status == "active" else 0, name=name, status=status)
        service.rows(10, status="late")
        await eventually(lambda: len(service.holds()) == 2, within=5, what="two holds")
        service.rows(10)
        await eventually(lambda: service.holds()[0]["set"].endswith("holding"), within=5, what="one is over")
        service.now += 8 * 86400
        assert await service.ask("used", status="active") == (200, 10)
        service.rows(11)
        await eventually(lambda: len(service.publisher.membership.merged.rows) == 11, within=5, what="a change")
        assert {view.applicationset for view in service.publisher.membership.views.values()} == {"used", "holding"}


async def test_a_standby_writes_nothing_and_a_takeover_begins_with_the_record_and_fresh_reads(
    store: Memory, owners: Owners
) -> None:
    async with running(store, owners) as leader, running(store, owners) as standby:
        standby.answering = False
        leader.rows(10)
        await leader.answers_with(10)
        standby.rows(10)
        saves = store.saves
        async with standby.client.get("/readyz") as response:
            assert (response.status, store.saves) == (200, saves), "it is ready, and has not written"
        leader.rows(11)
        await leader.answers_with(11)
        leader.answering = False

        runs = standby.database.runs
        await standby.publisher.take_over()
        standby.answering = True
        assert (await standby.ask())[0] == 503, "what it read before lacks a tenant that was served since"
        await eventually(lambda: standby.database.runs > runs, within=5, what="it reads anew")
        assert standby.database.started_over == 1
        standby.rows(11)
        await standby.answers_with(11)
        assert standby.holds() == []
        assert standby.publisher.membership.departed == {}


async def test_it_is_said_when_another_state_is_served_and_when_one_is_after_a_takeover(
    store: Memory, owners: Owners
) -> None:
    async with running(store, owners) as service:
        said: list[tuple[int, int]] = []
        rows = {name: render_row(name, {"status": "active"}) for name in ("a", "b", "c")}
        service.publisher.on_served = lambda before, after: said.append((before.revision, after.revision))
        store.gate.clear()
        service.database.publish(Read(rows))
        await asyncio.sleep(0.05)
        assert said == [], "nothing is served yet"
        store.gate.set()
        await service.answers_with(3)
        first, known = said
        assert first == (0, 1)
        assert known == (1, 2), "the ApplicationSet is known from now on"
        service.database.publish(Read(rows))
        await asyncio.sleep(0.05)
        assert len(said) == 2, "nothing has changed"
        await service.publisher.take_over()
        await eventually(lambda: service.database.runs == 2, within=5, what="it reads anew")
        service.database.publish(Read(service.publisher.membership.sources["postgres"].rows))
        await service.answers_with(3)
        assert said[2:] == [(2, 2)]


async def test_an_answer_is_noted_with_the_revision_of_the_state_that_it_was_made_of(
    store: Memory, owners: Owners
) -> None:
    async with running(store, owners) as service:
        noted: list[Receipt] = []
        service.answers.received.on_note = noted.append
        service.rows(3)
        await service.answers_with(3)
        await service.answers_with(3, status="active")
        recorded = service.publisher.membership.revision
        assert recorded > service.publisher.current().revision, "that a view is known changes no row"
        assert noted[-1].recorded == recorded


async def test_a_first_contact_is_judged_by_what_it_is_answered_with_and_not_by_what_was_served_when_it_came(
    store: Memory, owners: Owners
) -> None:
    async with running(store, owners) as service:
        service.rows(20)
        await service.answers_with(20, name="")
        owners.own("apps", 21)
        store.gate.clear()
        service.rows(20, status="late")
        await asyncio.sleep(0.05)
        asking = asyncio.create_task(service.ask())
        service.rows(18, status="late")  # the guard lets two go, and one is missing already
        await asyncio.sleep(0.05)
        store.gate.set()
        status, message = await asking
        assert (status, "owns 21 Applications and the answer has only 18 elements" in message) == (503, True), message
        await service.answers_with(18, name="")


async def test_whoever_gets_the_lease_back_reads_the_record_anew_only_if_somebody_has_written_meanwhile(
    owners: Owners,
) -> None:
    memory = test_record_store.Memory()
    objects = [test_record_store.Objects(memory) for _ in range(2)]
    stores = [Store(each) for each in objects]
    async with running(stores[0], owners) as first, running(stores[1], owners) as second:
        second.answering = False
        first.rows(10)
        await first.answers_with(10)
        reads = objects[0].reads
        await first.publisher.take_over()
        assert objects[0].reads == reads, "nobody else has written"
        assert (await first.ask())[0] == 503, "but the table may have changed, and another replica have served that"
        first.rows(10)
        await first.answers_with(10)

        first.answering = False
        await second.publisher.take_over()
        second.answering = True
        second.rows(11)
        await second.answers_with(11)
        second.answering = False
        await first.publisher.take_over()
        first.answering = True
        assert objects[0].reads == reads + 1
        first.rows(11)
        await first.answers_with(11)
        assert first.holds() == []


async def test_a_takeover_in_the_middle_of_a_change_holds_what_the_other_one_would_have_held(
    store: Memory, owners: Owners
) -> None:
    async with running(store, owners) as leader, running(store, owners) as standby:
        standby.answering = False
        leader.rows(10)
        await leader.answers_with(10)
        store.gate.clear()
        leader.rows(0)
        await asyncio.sleep(0.05)
        leader.answering = False
        store.gate.set()
        await standby.publisher.take_over()
        standby.answering = True
        await eventually(lambda: standby.database.runs == 2, within=5, what="it reads anew")
        standby.rows(0)
        await standby.answers_with(10)
        assert len(standby.holds()[0]["tenants"]) == 10


async def test_a_key_of_a_schema_stays_when_its_class_goes_and_over_a_restart_without_the_cluster(
    store: Memory, owners: Owners
) -> None:
    async with running(store, owners, cluster=True) as service:
        assert service.cluster is not None
        service.rows(3)
        service.cluster.publish(Read({}, keys=("size",)))
        await service.answers_with(3, size="")
        service.cluster.publish(Read({}))
        service.rows(4)
        await service.answers_with(4, size="", fields=["size"])
    async with running(store, owners, cluster=True) as service:
        assert service.cluster is not None
        service.cluster.problem = "the API server is away"
        service.rows(5)
        await service.answers_with(5, size="")
