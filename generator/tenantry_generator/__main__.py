"""The process: settings, sources, server, and a clean end on SIGTERM."""

import argparse
import asyncio
import contextlib
import os
import signal
import ssl
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any

from aiohttp import web

from tenantry.credentials import load_credentials
from tenantry.errors import SettingsError
from tenantry.identity import process_identity
from tenantry.interpreter import prepare_interpreter
from tenantry.kube import Kube
from tenantry.lease import Elector
from tenantry.render import CLUSTER, POSTGRES
from tenantry.serving import serving
from tenantry.telemetry import configure_logging, get_logger
from tenantry_generator.answers import Answers
from tenantry_generator.app import before_routing, make_app
from tenantry_generator.argocd import ApplicationSets
from tenantry_generator.auth import Tokens
from tenantry_generator.binding import Binding
from tenantry_generator.directory import Directory, Nobody
from tenantry_generator.events import announcer
from tenantry_generator.metrics import Metrics
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.publisher import Publisher
from tenantry_generator.push import Push
from tenantry_generator.query import Query
from tenantry_generator.record import RecordStore
from tenantry_generator.record.configmaps import configmap_store
from tenantry_generator.record.file import file_store
from tenantry_generator.role import LEASE, Role, Step
from tenantry_generator.role_label import RoleLabel
from tenantry_generator.settings import HELP, Settings, load_settings
from tenantry_generator.sources.cluster import ClusterSource
from tenantry_generator.sources.clusters import Clusters
from tenantry_generator.sources.postgres import PostgresSource
from tenantry_generator.tls import Certificates

__all__ = ["main"]

log = get_logger(__name__)

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
    prepare_interpreter()
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
    async with AsyncExitStack() as stack:
        role = await _role(settings, stack)
        metrics = Metrics()
        app = await _make_app(settings, stack, role, metrics)
        served = serving(
            web.AppRunner(app, shutdown_timeout=_SHUTDOWN),
            (settings.host, settings.port),
            tls=_tls(settings, stack, metrics),
            first=before_routing(app),
            on_ended=lambda why: metrics.connections_ended.labels(why.value).inc(),
        )
        await stack.enter_async_context(served)
        log.info(
            "listening",
            host=settings.host,
            port=settings.port,
            tls=settings.tls_dir is not None,
            sources=settings.sources,
        )
        async with role.holding():
            await stop.wait()
        log.info("stopping")


def _tls(settings: Settings, stack: AsyncExitStack, metrics: Metrics) -> ssl.SSLContext | None:
    if settings.tls_dir is None:
        return None
    certificates = Certificates(settings.tls_dir, show=metrics.tls_pair_refused.set)
    stack.push_async_callback(_end, asyncio.create_task(certificates.follow(), name="certificate"))
    return certificates.context


async def _make_app(settings: Settings, stack: AsyncExitStack, role: Role, metrics: Metrics) -> web.Application:
    metrics.answering.set_function(role.answering)
    columns = settings.table.columns
    in_cluster = CLUSTER in settings.sources or settings.lease_namespace is not None
    kube = await stack.enter_async_context(await Kube.connect()) if in_cluster else None
    clusters = Clusters(
        own=kube if CLUSTER in settings.sources else None, directory=settings.clusters_dir, metrics=metrics
    )
    cluster = ClusterSource(kube, columns=columns) if CLUSTER in settings.sources and kube is not None else None
    database = PostgresSource(settings.database, settings.table) if POSTGRES in settings.sources else None
    _watch(metrics, kube, cluster, database)
    publisher = Publisher(
        cluster=cluster,
        database=database,
        metrics=metrics,
        columns=columns,
        store=await _open_store(settings, kube, stack),
        may_write=role.answering,
        may_stand_by=settings.lease_namespace is not None,
        clusters=clusters.feeds,
    )
    clusters.on_read = publisher.wake

    def parse(given: Mapping[str, Any]) -> Query:
        return parse_query(given, accepted_parameters(columns, publisher.membership.merged.keys))

    directory: Directory = Nobody()
    push: Push | None = None
    if kube is not None:
        followed = ApplicationSets(
            kube, namespace=settings.argocd_namespace, config_maps=settings.config_maps, columns=columns
        )
        metrics.api.watch(caches=lambda: followed.caches)
        following = asyncio.create_task(followed.run(), name="applicationsets")
        stack.push_async_callback(_end, following)
        directory = followed
        push = Push(followed, parse=parse, may_push=role.answering, metrics=metrics)
    answers = Answers(publisher, directory, parse=parse, binding=Binding(publisher, clusters), metrics=metrics)
    role.on_promoted = answers.take_over
    if push is not None:
        role.on_promoted = _connect(push, publisher, answers)
        stack.push_async_callback(_end, asyncio.create_task(push.run(), name="push"))
    return make_app(
        publisher=publisher,
        clusters=clusters,
        answers=answers,
        tokens=Tokens(literal=settings.auth_token, directory=settings.token_dir),
        admins=Tokens(literal=None, directory=settings.admin_token_dir, required=False),
        announce=announcer(kube, settings.lease_namespace),
        metrics=metrics,
        why_not=role.why_not,
    )


def _watch(metrics: Metrics, kube: Kube | None, cluster: ClusterSource | None, database: PostgresSource | None) -> None:
    if kube is not None:
        metrics.api.watch(kube)
    if cluster is not None:
        metrics.api.watch(caches=lambda: cluster.caches)
    if database is not None:
        metrics.watch_postgres(
            listening=lambda: database.listening,
            connections=lambda: database.connections,
            failures=lambda: database.failures,
        )


def _connect(push: Push, publisher: Publisher, answers: Answers) -> Step:
    """Let push know what is served and what was handed out; return what has to be done before this replica answers."""
    push.contacts = lambda: answers.contacts.refused
    publisher.on_served = push.served
    answers.received.on_note = push.received

    async def take_over() -> None:
        push.start_over()
        await answers.take_over()

    return take_over


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _open_store(settings: Settings, kube: Kube | None, stack: AsyncExitStack) -> RecordStore | None:
    if settings.record_dir is not None:
        return await stack.enter_async_context(file_store(settings.record_dir))
    if kube is not None and settings.lease_namespace is not None:
        return await stack.enter_async_context(configmap_store(kube, namespace=settings.lease_namespace))
    remedy = "set TENANTRY_RECORD_DIR, or in a cluster TENANTRY_LEASE_NAMESPACE"
    log.warning(f"no record is kept, so a restart forgets what was served: {remedy}")
    return None


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
