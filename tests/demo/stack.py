"""Everything that the demo runs, started in the order in which the parts need each other and stopped in reverse."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tenantry.kube import Kube
from tests.support import article
from tests.support.application_controller import ApplicationControllerStandIn
from tests.support.argocd import ArgoCD
from tests.support.background import background
from tests.support.binaries import Binaries
from tests.support.control_plane import ControlPlane
from tests.support.postgres import Postgres, execute
from tests.support.tenantry import Generator, Operator

__all__ = ["Stack", "running"]

_ROOT = Path(__file__).parent.parent.parent
T = TypeVar("T")

_DATABASE = "organization"


@dataclass(frozen=True, slots=True)
class Stack:
    """The running parts, and how to reach them."""

    binaries: Binaries
    control_plane: ControlPlane
    kube: Kube
    postgres: Postgres
    dsn: str
    operator: Operator
    generator: Generator
    argocd: ArgoCD
    stand_in: asyncio.Task[None]

    def check(self) -> None:
        """Raise Ended if a part has ended by itself."""
        for part in (self.control_plane, self.postgres, self.operator.process, self.generator.process, self.argocd):
            part.check()
        if self.stand_in.done():
            self.stand_in.result()


@asynccontextmanager
async def running(binaries: Binaries, directory: Path) -> AsyncIterator[Stack]:
    """Start everything but the ApplicationSet, with every log in `directory`."""
    async with AsyncExitStack() as parts:
        postgres = Postgres(directory)
        parts.callback(postgres.destroy)
        plane = ControlPlane(binaries, directory)
        parts.push_async_callback(plane.stop)
        await _timed("etcd, kube-apiserver, kube-controller-manager", plane.start())
        dsn = await _timed("Postgres, with the article's ten tenants", _database(postgres))
        kube = await parts.enter_async_context(await plane.kube())
        await _timed("Tenantry's CustomResourceDefinitions", _crds(plane))

        operator = Operator(kubeconfig=plane.kubeconfig, directory=directory)
        parts.push_async_callback(operator.stop)
        await _timed("tenantry-operator", operator.start())
        await plane.kubectl("apply", "--filename", str(_ROOT / "manifests" / "samples" / "tenants.yaml"))

        env = {
            "KUBECONFIG": str(plane.kubeconfig),
            "TENANTRY_DATABASE_URL": dsn,
            "TENANTRY_CONFIGMAPS": article.CONFIG_MAP,
        }
        generator = Generator(token=secrets.token_hex(16), directory=directory, env=env)
        parts.push_async_callback(generator.stop)
        await _timed("tenantry-generator", generator.start())

        argocd = ArgoCD(binaries, plane, directory)
        parts.push_async_callback(argocd.stop)
        await _timed("Argo CD's ApplicationSet controller", argocd.start())
        await argocd.configure_plugin(article.CONFIG_MAP, url=generator.url, token=generator.token)
        stand_in = await parts.enter_async_context(background(ApplicationControllerStandIn(kube).run()))
        print("  a stand-in for Argo CD's application controller, which would need a repo-server and real clusters:")
        print("  it reports every Application as synced and healthy, and deploys nothing", flush=True)
        stack = Stack(
            binaries=binaries,
            control_plane=plane,
            kube=kube,
            postgres=postgres,
            dsn=dsn,
            operator=operator,
            generator=generator,
            argocd=argocd,
            stand_in=stand_in,
        )
        try:
            yield stack
        finally:
            print("stopping ...", flush=True)


async def _database(postgres: Postgres) -> str:
    await postgres.create()
    dsn = await postgres.create_database(_DATABASE)
    notify = (_ROOT / "manifests" / "postgres" / "notify.sql").read_text()
    await execute(dsn, article.TABLE, article.rows(*article.TENANTS.items()), notify)
    return dsn


async def _crds(plane: ControlPlane) -> None:
    await plane.kubectl("apply", "--filename", str(_ROOT / "crds"))
    await plane.serve_crds()


async def _timed(what: str, starting: Awaitable[T]) -> T:
    started = time.monotonic()
    result = await starting
    print(f"  {what} ({time.monotonic() - started:.1f} s)", flush=True)
    return result
