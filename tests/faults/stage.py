"""The real parts that fault cases share, each started when the first family asks for it, all stopped at the end.

Not those of the other tests: these are broken on purpose, and nothing else may be running in them.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

from tenantry.kube import Kube
from tests.support.application_controller import ApplicationControllerStandIn
from tests.support.argocd import ArgoCD, install_kinds
from tests.support.background import background
from tests.support.binaries import Binaries
from tests.support.control_plane import ControlPlane
from tests.support.identities import Identities, install_identities
from tests.support.postgres import Postgres

__all__ = ["Stage"]

_CRDS = Path(__file__).parents[2] / "crds"
_UNUSED = (
    "apps/v1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "policy/v1",
    "resource.k8s.io/v1",
)
"""No case has to do with these, and Kubernetes asks for each of their kinds whenever it deletes a namespace: a third of
what that costs, and thousands of cases have namespaces deleted."""


class Stage:
    """The parts, with their logs in `directory`; an async context manager that stops them."""

    def __init__(self, binaries: Binaries, directory: Path) -> None:
        self.binaries = binaries
        self.directory = directory
        self._stack = AsyncExitStack()
        self._plane: ControlPlane | None = None
        self._kube: Kube | None = None
        self._identities: Identities | None = None
        self._postgres: Postgres | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def control_plane(self) -> ControlPlane:
        """Return a control plane that serves Tenantry's kinds and Argo CD's, without any controller of either."""
        if self._plane is None:
            plane = ControlPlane(self.binaries, self.directory / "control-plane", without=_UNUSED)
            self._stack.push_async_callback(plane.stop)
            await plane.start()
            await plane.kubectl("apply", "--filename", str(_CRDS))
            await install_kinds(self.binaries, plane)
            self._plane = plane
        return self._plane

    async def kube(self) -> Kube:
        """Return a client with an administrator's rights."""
        if self._kube is None:
            self._kube = await self._stack.enter_async_context(await (await self.control_plane()).kube())
        return self._kube

    async def identities(self) -> Identities:
        """Return the services' ServiceAccounts, with the rights that the manifests give them."""
        if self._identities is None:
            self._identities = await install_identities(await self.control_plane())
        return self._identities

    @asynccontextmanager
    async def argocd(self) -> AsyncIterator[ArgoCD]:
        """Run Argo CD's real ApplicationSet controller, and a stand-in for its application controller, meanwhile."""
        argo = ArgoCD(self.binaries, await self.control_plane(), self.directory)
        try:
            await argo.start()
            async with background(ApplicationControllerStandIn(await self.kube()).run()):
                yield argo
        finally:
            await argo.stop()

    async def postgres(self) -> Postgres:
        """Return a PostgreSQL server."""
        if self._postgres is None:
            server = Postgres(self.directory)
            self._stack.callback(server.destroy)
            await server.create()
            self._postgres = server
        return self._postgres
