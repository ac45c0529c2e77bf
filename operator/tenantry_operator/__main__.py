"""`tenantry-operator`: reads its settings, checks that there is something to work with, and hands over to kopf."""

import argparse
import asyncio
import os
import sys
from importlib.metadata import version

import kopf

from tenantry.credentials import load_credentials
from tenantry.errors import KubeError, NotFound, SettingsError
from tenantry.kube import RECURSION_LIMIT, Kube
from tenantry.resources import TENANT_CLASSES, TENANTS
from tenantry.telemetry import configure_logging, get_logger
from tenantry_operator import handlers
from tenantry_operator.settings import HELP, Settings
from tenantry_operator.worker import Worker

log = get_logger(__name__)


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
    sys.setrecursionlimit(RECURSION_LIMIT)
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
    credentials = await load_credentials(settings.kubeconfig)
    async with Kube(credentials) as kube:
        await _check(kube)
        registry = kopf.OperatorRegistry()
        handlers.register(registry, Worker(kube), credentials)
        options = kopf.OperatorSettings()
        handlers.configure(options)
        host, port = settings.bind
        log.info("starting", server=kube.server, version=version("tenantry"))
        await kopf.operator(
            registry=registry,
            settings=options,
            clusterwide=True,
            standalone=True,
            liveness_endpoint=f"http://{host}:{port}/healthz",
        )
        log.info("stopped")


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
