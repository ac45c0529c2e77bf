"""Makes an acknowledgement an Event in the cluster, where people look for what happened. Best effort: it is logged."""

import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from tenantry.errors import KubeError
from tenantry.kube import Kube
from tenantry.names import GROUP
from tenantry.resources import EVENTS
from tenantry.telemetry import get_logger

__all__ = ["Announce", "announcer"]

log = get_logger(__name__)

Announce = Callable[[str], Awaitable[None]]

_NAME = "tenantry-generator"
_LONGEST = 1024
_INSTANCE_LIMIT = 128


def announcer(kube: Kube | None, namespace: str | None) -> Announce:
    """Return what makes an Event about the generator's Service; without a cluster, what does nothing."""

    async def announce(message: str) -> None:
        if kube is None or namespace is None:
            return
        body = {
            "metadata": {"generateName": f"{_NAME}-", "namespace": namespace},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": f"{GROUP}/{_NAME}",
            "reportingInstance": socket.gethostname()[:_INSTANCE_LIMIT],
            "action": "Acknowledge",
            "reason": "HoldAcknowledged",
            "type": "Warning",
            "regarding": {"apiVersion": "v1", "kind": "Service", "name": _NAME, "namespace": namespace},
            "note": message[:_LONGEST],
        }
        try:
            await kube.create(EVENTS, body, namespace)
        except KubeError as error:
            log.warning("the acknowledgement could not be made an Event", error=str(error))

    return announce
