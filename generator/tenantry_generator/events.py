"""Makes an acknowledgement an Event in the cluster, where people look for what happened. Best effort: it is logged."""

from collections.abc import Awaitable, Callable

from tenantry.errors import KubeError
from tenantry.events import event
from tenantry.kube import Kube
from tenantry.resources import EVENTS
from tenantry.telemetry import get_logger

__all__ = ["Announce", "announcer"]

log = get_logger(__name__)

Announce = Callable[[str], Awaitable[None]]

_NAME = "tenantry-generator"


def announcer(kube: Kube | None, namespace: str | None) -> Announce:
    """Return what makes an Event about the generator's Service; without a cluster, what does nothing."""

    async def announce(message: str) -> None:
        if kube is None or namespace is None:
            return
        body = event(
            _NAME,
            {"apiVersion": "v1", "kind": "Service", "name": _NAME, "namespace": namespace},
            about=_NAME,
            namespace=namespace,
            action="Acknowledge",
            reason="HoldAcknowledged",
            note=message,
            warning=True,
        )
        try:
            await kube.create(EVENTS, body, namespace)
        except KubeError as error:
            log.warning("the acknowledgement could not be made an Event", error=str(error))

    return announce
