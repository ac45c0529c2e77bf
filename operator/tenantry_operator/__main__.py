"""`tenantry-operator`: reads its settings, checks that there is something to work with, and hands over to kopf.

Only one process at a time gets as far as kopf, and only as long as it holds the Lease.
"""

import argparse
import asyncio
import os
import signal
import sys
from importlib.metadata import version

import kopf
from aiohttp import web

from tenantry.credentials import Credentials, load_credentials
from tenantry.errors import KubeError, NotFound, SettingsError
from tenantry.identity import process_identity
from tenantry.interpreter import prepare_interpreter
from tenantry.kube import Kube
from tenantry.lease import Elector
from tenantry.resources import TENANT_CLASSES, TENANTS
from tenantry.serving import serving
from tenantry.telemetry import configure_logging, get_logger
from tenantry_operator import handlers
from tenantry_operator.metrics import Metrics
from tenantry_operator.settings import HELP, Settings
from tenantry_operator.standing import LEASE, acquired, end_at_once, make_app
from tenantry_operator.worker import Worker

log = get_logger(__name__)

_SHUTDOWN = 2.0


def main() -> None:
    """Run the operator until SIGTERM or SIGINT; exit 2 for a wrong setting, 1 for a cluster that can't be used."""
    parser = argparse.ArgumentParser(
        prog="tenantry-operator",
        description="Turns Tenant objects into namespaces and keeps them that way.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tenantry-operator {version('tenantry')}")
    parser.parse_args()
    prepare_interpreter()
    configure_logging()
    try:
        asyncio.run(_run(Settings.from_environment(os.environ)))
    except SettingsError as error:
        sys.exit(_fail(error, 2))
    except KubeError as error:
        sys.exit(_fail(error, 1))


def _fail(error: Exception, code: int) -> int:
    print(f"tenantry-operator: {error}", file=sys.stderr)
    return code


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    credentials = await load_credentials(settings.kubeconfig)
    # The Lease has connections of its own: however busy the others are, it can be renewed.
    async with Kube(credentials) as kube, Kube(credentials, connections=2) as lease_kube:
        await _check(kube)
        metrics = Metrics()
        worker = Worker(kube, metrics, argocd_namespace=settings.argocd_namespace)
        runner = web.AppRunner(make_app(worker, metrics), access_log=None, shutdown_timeout=_SHUTDOWN)
        async with serving(runner, settings.bind):
            # Not before it listens: the identity is that of whoever has this address.
            identity = process_identity(settings.bind)
            elector = Elector(lease_kube, namespace=settings.lease_namespace, name=LEASE, identity=identity)
            metrics.watch_lease(LEASE, lambda: elector.valid)
            metrics.api.watch(lease_kube)
            if await acquired(elector, stop):
                log.info("starting", server=kube.server, version=version("tenantry"), identity=identity)
                async with elector.holding(end_at_once):
                    await _work(worker, credentials, stop)
    log.info("stopped")


async def _work(worker: Worker, credentials: Credentials, stop: asyncio.Event) -> None:
    registry = kopf.OperatorRegistry()
    handlers.register(registry, worker=worker, credentials=credentials, stop=stop)
    options = kopf.OperatorSettings()
    handlers.configure(options)
    await kopf.operator(registry=registry, settings=options, clusterwide=True, standalone=True, stop_flag=stop)


async def _check(kube: Kube) -> None:
    """Fail at once, and in one line, where kopf would try for a minute and then say little."""
    for resource in (TENANTS, TENANT_CLASSES):
        try:
            async for _ in kube.pages(resource, limit=1):
                break
        except NotFound as error:
            raise NotFound(f"{kube.server} does not serve {resource.plural}: run kubectl apply -f crds/") from error


if __name__ == "__main__":
    main()
