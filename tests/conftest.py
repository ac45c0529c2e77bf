"""The real parts that tests share: each started once a run, each failing the tests that need it when it can't be had.

Tests share one control plane and one Argo CD, so they name what they make after themselves and clean up the article's
ApplicationSet, whose Applications have fixed names. Databases are one a test.
"""

import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenantry.kube import Kube
from tests.support import article
from tests.support.application_controller import ApplicationControllerStandIn
from tests.support.argocd import ArgoCD, install_kinds
from tests.support.background import background
from tests.support.binaries import Binaries, ensure
from tests.support.control_plane import ControlPlane
from tests.support.identities import Identities, install_identities, refusals
from tests.support.postgres import Postgres, execute
from tests.support.progress import Progress
from tests.support.promtool import Promtool, ensure_promtool
from tests.support.tenantry import Operator

_ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of every part's log."""
    return tmp_path_factory.mktemp("parts")


@pytest.fixture(scope="session")
def binaries(pytestconfig: pytest.Config) -> Binaries:
    """The programs of the control plane; the first run builds them, saying how far it is."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext(), Progress() as progress:
        return ensure(progress)


@pytest.fixture(scope="session")
def promtool(pytestconfig: pytest.Config) -> Promtool:
    """Prometheus' promtool; the first run builds it, saying how far it is."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext(), Progress() as progress:
        return ensure_promtool(progress)


@pytest.fixture(scope="session")
async def control_plane(binaries: Binaries, logs: Path) -> AsyncIterator[ControlPlane]:
    """A control plane that serves Tenantry's kinds."""
    plane = ControlPlane(binaries, logs / "control-plane")
    try:
        await plane.start()
        await plane.kubectl("apply", "--filename", str(_ROOT / "crds"))
        await plane.serve_crds()
        yield plane
    finally:
        await plane.stop()


@pytest.fixture(scope="session")
async def kube(control_plane: ControlPlane) -> AsyncIterator[Kube]:
    """A client with an administrator's rights."""
    async with await control_plane.kube() as client:
        yield client


@pytest.fixture(scope="session")
async def argocd(binaries: Binaries, control_plane: ControlPlane, kube: Kube, logs: Path) -> AsyncIterator[ArgoCD]:
    """Argo CD with its real ApplicationSet controller, and a stand-in for its application controller."""
    argo = ArgoCD(binaries, control_plane, logs)
    try:
        await argo.start()
        async with background(ApplicationControllerStandIn(kube).run()):
            yield argo
    finally:
        await argo.stop()


@pytest.fixture(scope="session")
async def argocd_kinds(binaries: Binaries, control_plane: ControlPlane) -> None:
    """Argo CD's kinds, without any controller of its own."""
    await install_kinds(binaries, control_plane)


@pytest.fixture(scope="session")
async def identities(control_plane: ControlPlane) -> Identities:
    """The ServiceAccounts of the manifests, with the rights that they ship with and no other."""
    return await install_identities(control_plane)


@pytest.fixture
async def operator(one_operator: Operator) -> Operator:
    """The operator, started anew, as Kubernetes would, if an outage of the API server has cost it its Lease."""
    if one_operator.process.exit_code is not None:
        await one_operator.start()
    return one_operator


@pytest.fixture(scope="session")
async def one_operator(control_plane: ControlPlane, identities: Identities, logs: Path) -> AsyncIterator[Operator]:
    """The operator under its own ServiceAccount, running for the whole session; it must never ask in vain."""
    env = {"TENANTRY_LEASE_NAMESPACE": identities.namespace}
    running = Operator(kubeconfig=identities.operator, directory=logs / "operator", env=env)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
    assert refusals(control_plane) == []


@pytest.fixture(scope="session")
async def postgres(logs: Path) -> AsyncIterator[Postgres]:
    """A PostgreSQL server."""
    server = Postgres(logs)
    try:
        await server.create()
        yield server
    finally:
        server.destroy()


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[str]:
    """The connection URL of a database with the article's table and its ten tenants."""
    name = f"test_{uuid.uuid4().hex}"
    dsn = await postgres.create_database(name)
    await execute(dsn, article.TABLE, article.rows(*article.TENANTS.items()))
    yield dsn
    await postgres.drop_database(name)
