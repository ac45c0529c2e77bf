"""The process: settings, sources, server, and a clean end on SIGTERM."""

import argparse
import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from importlib.metadata import version

from aiohttp import web

from tenantry.credentials import load_credentials
from tenantry.errors import SettingsError
from tenantry.identity import process_identity
from tenantry.kube import RECURSION_LIMIT, Kube
from tenantry.lease import Elector
from tenantry.render import CLUSTER, POSTGRES
from tenantry.serving import serving
from tenantry.telemetry import configure_logging, get_logger
from tenantry_generator.app import make_app
from tenantry_generator.auth import Tokens
from tenantry_generator.metrics import Metrics
from tenantry_generator.publisher import Publisher
from tenantry_generator.role import LEASE, Role
from tenantry_generator.role_label import RoleLabel
from tenantry_generator.settings import HELP, Settings, load_settings
from tenantry_generator.sources.cluster import ClusterSource
from tenantry_generator.sources.postgres import PostgresSource

__all__ = ["main"]

log = get_logger(__name__)

_KEEPALIVE = 120.0
"""Seconds; longer than the 90 s after which Argo CD drops an idle connection, so that it never meets one we closed."""
_SHUTDOWN = 10.0


def main() -> None:
    """Run the generator until SIGTERM or SIGINT; exit 2 when a setting is wrong."""
    parser = argparse.ArgumentParser(
        prog="tenantry-generator",
        description="Answers Argo CD's plugin generator with the parameters of every tenant.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('tenantry')}")
    parser.parse_args()
    sys.setrecursionlimit(RECURSION_LIMIT)
    configure_logging()
    try:
        asyncio.run(_serve(load_settings(os.environ)))
    except SettingsError as error:
        print(f"tenantry-generator: {error}", file=sys.stderr)
        sys.exit(2)


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        tokens = Tokens(literal=settings.auth_token, directory=settings.token_dir)
        columns = settings.table.columns
        cluster = database = None
        if CLUSTER in settings.sources:
            cluster = ClusterSource(await stack.enter_async_context(await Kube.connect()), columns=columns)
        if POSTGRES in settings.sources:
            database = PostgresSource(settings.database, settings.table)
        publisher = Publisher(cluster=cluster, database=database, metrics=metrics)
        role = await _role(settings, stack)
        metrics.answering.set_function(role.answering)
        app = make_app(publisher=publisher, tokens=tokens, metrics=metrics, columns=columns, why_not=role.why_not)
        runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=_KEEPALIVE, shutdown_timeout=_SHUTDOWN, auto_decompress=False
        )
        await stack.enter_async_context(serving(runner, (settings.host, settings.port)))
        log.info("listening", host=settings.host, port=settings.port, sources=settings.sources)
        async with role.holding():
            await stop.wait()
        log.info("stopping")


async def _role(settings: Settings, stack: AsyncExitStack) -> Role:
    if (namespace := settings.lease_namespace) is None:
        return Role(None)
    # Connections of its own: however busy the others are, the Lease can be renewed.
    kube = await stack.enter_async_context(Kube(await load_credentials(), connections=2))
    identity = process_identity((settings.host, settings.port))
    elector = Elector(kube, namespace=namespace, name=LEASE, identity=identity)
    label = RoleLabel(kube, namespace=namespace, pod=settings.pod_name) if settings.pod_name else None
    return Role(elector, show=label.keep if label is not None else None)


if __name__ == "__main__":
    main()
