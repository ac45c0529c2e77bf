"""Where kopf comes in: it starts and stops the work, logs in, and tells of TenantClasses on a connection of its own.

Tenants come through a Reflector, which costs a fraction of a kopf event (docs/adr/0019). Only low-level handlers are
used: any create, update or delete handler would make kopf write a finalizer and annotations of its own.
"""

import asyncio
from typing import Any

import kopf

from tenantry.credentials import Credentials
from tenantry.names import GROUP, VERSION
from tenantry.resources import TENANT_CLASSES
from tenantry_operator.forgetful import NoDiffs, NoProgress
from tenantry_operator.worker import Worker

__all__ = ["configure", "register"]


def configure(settings: kopf.OperatorSettings) -> None:
    """Set kopf up to run for months and to write nothing; the reasons are in docs/adr/0002."""
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = (1, 2, 4, 8)
    settings.persistence.diffbase_storage = NoDiffs()
    settings.persistence.progress_storage = NoProgress()
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = 20
    settings.execution.max_workers = 4


def register(registry: kopf.OperatorRegistry, *, worker: Worker, credentials: Credentials, stop: asyncio.Event) -> None:
    """Add every handler to `registry`; `stop` is the flag that also ends kopf."""

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        scheme, _space, token = (await credentials.authorization() or "").partition(" ")
        configuration = credentials.configuration
        return kopf.ConnectionInfo(
            server=credentials.server,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            scheme=scheme or None,
            token=token or None,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            proxy_url=credentials.proxy,
        )

    @kopf.on.startup(registry=registry)
    async def startup(**_: Any) -> None:
        worker.start()

    @kopf.on.cleanup(registry=registry)
    async def cleanup(**_: Any) -> None:
        await worker.stop()
        # After a signal kopf would wait five seconds for its own task that still waits for this flag.
        stop.set()

    @kopf.on.event(GROUP, VERSION, TENANT_CLASSES.plural, registry=registry)
    async def tenant_class(event: kopf.RawEvent, **_: Any) -> None:
        # What is gone is for the Reflector to find, which alone knows when the classes are complete.
        if event["type"] != "DELETED":
            worker.reconciler.caches.absorb_class(dict(event["object"]))
