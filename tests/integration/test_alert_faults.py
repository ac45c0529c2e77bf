"""Faults of real processes, and which alerts they come to: what /metrics says then is what promtool evaluates.

Every fault has the whole set of alerts that it may raise, so that one which fires for something else is noticed, too.
A reading stands for as many samples as time would pass between two tries of Argo CD, or until an alert is due.
"""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.lease import Elector
from tenantry.resources import CONFIG_MAPS, LEASES, NAMESPACES, TENANTS
from tenantry_generator.record.index import INDEX
from tenantry_generator.role import LEASE
from tenantry_operator.standing import LEASE as OPERATOR_LEASE
from tests.support.alerts import firing, series_of
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.postgres import Postgres, execute
from tests.support.processes import free_port
from tests.support.promtool import Promtool
from tests.support.record import record_parts
from tests.support.tenantry import Generator, Operator

BETWEEN_TRIES = 6
"""Samples, every 30 s: Argo CD asks again after 3 minutes."""
A_WHILE = 45
OPERATOR_IS_WELL = {'leader_election_master_status{name="tenantry-operator",job="t/tenantry-operator"}': "1x200"}
GENERATOR_IS_WELL = {'tenantry_answering{namespace="t",instance="g"}': "1x200"}

Make = Callable[..., Generator]
Fires = Callable[..., set[str]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Generator] = []

    def make(name: str = "one", **env: str) -> Generator:
        made.append(Generator(token="s3cret", directory=tmp_path / name, env=env))
        return made[-1]

    yield make
    for generator in made:
        await generator.stop()


@pytest.fixture
async def generator(make: Make, database: str) -> Generator:
    running = make(TENANTRY_SOURCES="postgres", TENANTRY_DATABASE_URL=database)
    await running.start()
    return running


@pytest.fixture
async def space(kube: Kube) -> AsyncIterator[str]:
    """A namespace for a Lease and a record, with a Tenant so that there is something to answer."""
    name = f"alerts-{uuid.uuid4().hex[:6]}"
    await kube.create(NAMESPACES, {"metadata": {"name": name}})
    await kube.create(TENANTS, {"metadata": {"name": name}, "spec": {}})
    yield name
    with suppress(NotFound):
        await kube.delete(LEASES, LEASE, name)
    await kube.delete(TENANTS, name)
    await kube.delete(NAMESPACES, name)


@pytest.fixture
def fires(promtool: Promtool, tmp_path: Path) -> Fires:
    """The alerts that fire after readings of one target, or of several, have stood for `hold` samples each."""

    def evaluate(*targets: list[str], hold: int, job: str = "generator") -> set[str]:
        series = dict(OPERATOR_IS_WELL if job == "generator" else GENERATOR_IS_WELL)
        for number, readings in enumerate(targets):
            labels = {"namespace": "t", "job": f"t/tenantry-{job}", "instance": f"i{number}"}
            series |= series_of(readings, hold=hold, labels=labels)
        seconds = (max(map(len, targets)) * hold - 1) * 30
        return set(firing(promtool, series, at=f"{seconds}s", directory=tmp_path))

    return evaluate


async def reading(service: Generator | Operator) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"{service.url}/metrics") as response:
        return await response.text()


async def shows(service: Generator | Operator, *series: str) -> str:
    """Return the first reading that has all these lines."""
    text = ""

    async def shown() -> bool:
        nonlocal text
        text = await reading(service)
        return set(series) <= set(text.splitlines())

    try:
        await eventually(shown, within=25, what=f"/metrics has {series}")
    except AssertionError as error:
        raise AssertionError(f"{error}; {text}") from None
    return text


async def tries(service: Generator, ask: Callable[[], Awaitable[object]], count: int = 4) -> list[str]:
    """Return a reading before, and one after each try."""
    readings = [await reading(service)]
    for _ in range(count):
        await ask()
        readings.append(await reading(service))
    return readings


async def test_a_generator_that_is_well_raises_none(generator: Generator, fires: Fires) -> None:
    async def ask() -> None:
        assert (await generator.getparams())[0] == 200

    readings = await tries(generator, ask)
    assert fires(readings, hold=BETWEEN_TRIES) == set()
    assert fires(readings[-1:], hold=200) == set()


async def test_postgres_is_stopped(generator: Generator, postgres: Postgres, fires: Fires) -> None:
    await shows(
        generator,
        *("tenantry_postgres_listening 1.0", "tenantry_postgres_connections_total 1.0"),
        "tenantry_postgres_failures_total 0.0",
    )
    postgres.stop()
    try:
        down = await shows(generator, 'tenantry_source_up{source="postgres"} 0.0', "tenantry_postgres_listening 0.0")
        assert "tenantry_postgres_failures_total 0.0" not in down
    finally:
        await postgres.start()
    await shows(generator, "tenantry_postgres_listening 1.0", "tenantry_postgres_connections_total 2.0")
    assert fires([down], hold=A_WHILE) == {"TenantrySourceDown"}


async def test_the_table_is_created_anew(generator: Generator, database: str, fires: Fires) -> None:
    table = "CREATE TABLE organization (tenant text, status text)"
    await execute(database, f"DROP TABLE organization; {table}; NOTIFY tenantry")
    down = await shows(generator, 'tenantry_source_up{source="postgres"} 0.0')
    assert fires([down], hold=A_WHILE) == {"TenantrySourceDown"}


async def test_the_table_is_emptied(generator: Generator, database: str, fires: Fires) -> None:
    well = await reading(generator)
    await execute(database, "TRUNCATE organization; NOTIFY tenantry")
    held = await shows(generator, 'tenantry_guard_holds{set="source postgres"} 1.0')
    assert fires([well, held], hold=4) == {"TenantryHold"}


async def test_rows_of_a_tenant_differ(generator: Generator, database: str, fires: Fires) -> None:
    more = "INSERT INTO organization SELECT tenant, 'another' FROM organization LIMIT 1"
    await execute(
        database, f"ALTER TABLE organization DROP CONSTRAINT IF EXISTS organization_pkey; {more}; NOTIFY tenantry"
    )
    quarantined = await shows(generator, 'tenantry_quarantined_tenants{source="postgres"} 1.0')
    assert fires([quarantined], hold=A_WHILE) == {"TenantryQuarantined"}


async def test_the_token_is_wrong(generator: Generator, fires: Fires) -> None:
    generator.token = "another"

    async def ask() -> None:
        assert (await generator.getparams())[0] == 403

    assert fires(await tries(generator, ask), hold=BETWEEN_TRIES) == {"TenantryAuthFailures"}


async def test_a_parameter_is_unknown(generator: Generator, fires: Fires) -> None:
    async def ask() -> None:
        assert (await generator.getparams({"nonsense": "1"}))[0] == 400

    assert fires(await tries(generator, ask), hold=BETWEEN_TRIES) == {"TenantryRequestsRefused"}


async def test_it_starts_while_postgres_is_away_without_and_with_a_record(
    make: Make, generator: Generator, database: str, postgres: Postgres, fires: Fires
) -> None:
    assert (await generator.getparams())[0] == 200
    generator.kill()
    postgres.stop()
    try:
        await generator.start()
        recorded = [await reading(generator)]
        for _ in range(9):
            assert (await generator.getparams())[0] == 200
            recorded.append(await reading(generator))
        nothing = make("two", TENANTRY_SOURCES="postgres", TENANTRY_DATABASE_URL=database)
        await nothing.start(until="/healthz")
        await shows(nothing, "tenantry_answering 1.0")

        async def ask() -> None:
            assert (await nothing.getparams())[0] == 503

        failing = await tries(nothing, ask)
    finally:
        await postgres.start()
    assert fires(recorded, hold=BETWEEN_TRIES) == {"TenantrySourceDown", "TenantryAnsweredFromRecord"}
    assert fires(failing, hold=BETWEEN_TRIES) == {"TenantrySourceDown", "TenantryRequestsFail"}


async def test_two_generators_without_a_lease(make: Make, database: str, fires: Fires) -> None:
    both = []
    for name in ("one", "two"):
        running = make(name, TENANTRY_SOURCES="postgres", TENANTRY_DATABASE_URL=database)
        await running.start()
        both.append([await shows(running, "tenantry_answering 1.0")])
    assert fires(*both, hold=A_WHILE) == {"TenantrySeveralAnswer"}


@asynccontextmanager
async def held_by_another(kube: Kube, namespace: str, lease: str) -> AsyncIterator[None]:
    elector = Elector(kube, namespace=namespace, name=lease, identity="another")
    await elector.acquire()
    async with elector.holding(lambda _: None):
        yield


def in_cluster(make: Make, control_plane: ControlPlane, space: str) -> Generator:
    return make(KUBECONFIG=str(control_plane.kubeconfig), TENANTRY_SOURCES="cluster", TENANTRY_LEASE_NAMESPACE=space)


async def test_somebody_else_holds_the_lease_and_is_not_seen(
    make: Make, control_plane: ControlPlane, kube: Kube, space: str, fires: Fires
) -> None:
    async with held_by_another(kube, space, LEASE):
        generator = in_cluster(make, control_plane, space)
        await generator.start(until="/healthz")
        standing_by = await shows(generator, "tenantry_answering 0.0", 'tenantry_source_up{source="cluster"} 1.0')
    assert fires([standing_by], hold=A_WHILE) == {"TenantryNobodyAnswers"}


async def test_a_part_of_the_record_is_gone(
    make: Make, control_plane: ControlPlane, kube: Kube, space: str, fires: Fires
) -> None:
    generator = in_cluster(make, control_plane, space)
    await generator.start(until="/healthz")
    await shows(generator, "tenantry_answering 1.0", "tenantry_record_revision 1.0")
    await generator.stop()
    chunk = next(name for part in await record_parts(kube, space) if (name := part["metadata"]["name"]) != INDEX)
    await kube.delete(CONFIG_MAPS, chunk, space)
    await generator.start(until="/healthz")
    before = await reading(generator)

    async def failing() -> str | None:
        text = await reading(generator)
        (count,) = (line.split()[1] for line in text.splitlines() if line.startswith("tenantry_record_errors_total "))
        # With each try to take over, the source is read anew too; for that moment it is not up.
        is_up = 'tenantry_source_up{source="cluster"} 1.0' in text.splitlines()
        return text if float(count) > 5 and is_up else None

    after = await eventually(failing, within=60, what="the record has failed some times")
    assert (await generator.getparams())[0] == 503
    # It holds the Lease and gets nowhere, so nobody answers.
    assert fires([before, after], hold=BETWEEN_TRIES) == {"TenantryRecordErrors", "TenantryNobodyAnswers"}


async def test_no_api_server_is_heard(make: Make, tmp_path: Path, fires: Fires) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    server = f"https://127.0.0.1:{free_port()}"
    kubeconfig.write_text(
        f"{{apiVersion: v1, kind: Config, current-context: c, users: [{{name: u, user: {{token: t}}}}], "
        f"clusters: [{{name: c, cluster: {{server: '{server}'}}}}], "
        "contexts: [{name: c, context: {cluster: c, user: u}}]}"
    )
    generator = make(KUBECONFIG=str(kubeconfig), TENANTRY_SOURCES="cluster")
    await generator.start(until="/healthz")
    down = await shows(generator, "tenantry_answering 1.0", 'tenantry_source_up{source="cluster"} 0.0')
    assert 'rest_client_requests_total{code="<error>",method="GET"}' in down
    assert fires([down], hold=A_WHILE) == {"TenantrySourceDown"}


async def test_only_a_standby_of_the_operator_is_left(
    control_plane: ControlPlane, kube: Kube, space: str, tmp_path: Path, fires: Fires
) -> None:
    async with held_by_another(kube, space, OPERATOR_LEASE):
        env = {"TENANTRY_LEASE_NAMESPACE": space}
        operator = Operator(kubeconfig=control_plane.kubeconfig, directory=tmp_path / "operator", env=env)
        try:
            await operator.start()
            standing_by = await reading(operator)
        finally:
            await operator.stop()
    assert fires([standing_by], hold=A_WHILE, job="operator") == {"TenantryOperatorNotLeading"}


async def test_a_tenant_can_not_be_what_it_is_to_be(operator: Operator, kube: Kube, fires: Fires) -> None:
    name = f"unready-{uuid.uuid4().hex[:6]}"
    await kube.create(TENANTS, {"metadata": {"name": name}, "spec": {"tenantClassName": "no-such-class"}})
    try:

        async def unready() -> str | None:
            text = await reading(operator)
            counts = [line for line in text.splitlines() if line.startswith('tenantry_tenants_ready{status="False"}')]
            return text if counts and not counts[0].endswith(" 0.0") else None

        text = await eventually(unready, within=20, what="a Tenant is shown as not ready")
    finally:
        await kube.delete(TENANTS, name)
    # Nothing else is looked at while this reading stands still, which is another alert's.
    assert fires([text], hold=100, job="operator") == {"TenantryTenantsNotReady", "TenantryNothingReconciled"}


@pytest.mark.parametrize("service", ["generator", "operator"])
async def test_promtool_finds_no_fault_with_what_is_measured(
    generator: Generator, operator: Operator, promtool: Promtool, service: str
) -> None:
    running = generator if service == "generator" else operator
    code, said = promtool.run("check", "metrics", stdin=(await reading(running)).encode())
    assert (code, said) == (0, "")
