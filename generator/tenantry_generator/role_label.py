"""Shows which replica answers by a label on its Pod, which the Service selects.

A readiness probe could not: standbys are Ready too, or a roll-out would never complete. Who answers puts the label on
itself and takes it off the others, which may no longer be able to. A label in the wrong place costs a 503, no tenant.
"""

import asyncio
from contextlib import suppress

from tenantry.errors import KubeError, NotFound
from tenantry.kube import Kube
from tenantry.resources import PODS
from tenantry.telemetry import get_logger

__all__ = ["ROLE_LABEL", "RoleLabel"]

log = get_logger(__name__)

ROLE_LABEL = "tenantry.dev/role"
_ANSWERING = "answering"
_ANSWERING_PODS = f"app.kubernetes.io/name=tenantry-generator,{ROLE_LABEL}={_ANSWERING}"
_AGAIN = 10.0
_AFTER_FAILURE = 2.0


class RoleLabel:
    """The label on the Pods of the generator in `namespace`; `pod` is this process's."""

    def __init__(self, kube: Kube, *, namespace: str, pod: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._pod = pod

    async def keep(self) -> None:
        """See to it that this Pod alone has the label, until cancelled."""
        told = ""
        while True:
            try:
                await self._settle()
                told = ""
            except KubeError as error:
                if str(error) != told:
                    log.warning("labelling the Pod that answers failed; trying again", error=str(error))
                told = str(error)
            await asyncio.sleep(_AFTER_FAILURE if told else _AGAIN)

    async def _settle(self) -> None:
        listed = await self._kube.list(PODS, self._namespace, _ANSWERING_PODS)
        labelled = {body["metadata"]["name"] for body in listed["items"]}
        for other in labelled - {self._pod}:
            with suppress(NotFound):
                await self._label(other, None)
        if self._pod not in labelled:
            await self._label(self._pod, _ANSWERING)

    async def _label(self, pod: str, value: str | None) -> None:
        await self._kube.merge_patch(PODS, pod, {"metadata": {"labels": {ROLE_LABEL: value}}}, self._namespace)
