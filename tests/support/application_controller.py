"""A stand-in for Argo CD's application controller, the one part that is not the real thing.

The real one needs a repo-server, charts from the internet and reachable clusters. This one plays what others can see
of it: it reports each Application as synced and healthy, and when one is deleted it removes the finalizer after as long
as tearing down its resources is supposed to take.
"""

import asyncio
import time
from typing import Any

from tenantry.errors import KubeError
from tenantry.kube import Kube
from tenantry.reflector import Key, Reflector
from tenantry.resources import APPLICATIONS

__all__ = ["ApplicationControllerStandIn"]

_FINALIZER = "resources-finalizer.argocd.argoproj.io"
_STATUS = {"sync": {"status": "Synced"}, "health": {"status": "Healthy"}}
_RETRY = 0.2


class ApplicationControllerStandIn:
    """Plays the application controller for every Application; `run` it as a task.

    `teardown` is how many seconds the deletion of an Application's resources takes, and may be changed while it runs.
    """

    def __init__(self, kube: Kube, *, teardown: float = 0.2) -> None:
        self.teardown = teardown
        self._kube = kube
        self._deleted_at: dict[Key, float] = {}
        self._changed = asyncio.Event()
        self._applications = Reflector(kube, APPLICATIONS, transform=_as_it_is, on_change=self._on_change)

    async def run(self) -> None:
        """Work until cancelled; an API server that is away is waited for."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._applications.run())
            tasks.create_task(self._work())

    def _on_change(self, key: Key, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        if after is None:
            self._deleted_at.pop(key, None)
        elif "deletionTimestamp" in after["metadata"]:
            self._deleted_at.setdefault(key, time.monotonic())
        self._changed.set()

    async def _work(self) -> None:
        while True:
            self._changed.clear()
            pending = [await self._attend(key, body) for key, body in list(self._applications.items.items())]
            try:
                async with asyncio.timeout(_RETRY if any(pending) else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _attend(self, key: Key, body: dict[str, Any]) -> bool:
        """Do what one Application needs now; return whether something is left to do later."""
        metadata = body["metadata"]
        patch: dict[str, Any]
        if "deletionTimestamp" in metadata:
            rest = [finalizer for finalizer in metadata.get("finalizers", []) if finalizer != _FINALIZER]
            if rest == metadata.get("finalizers", []):
                return False
            if key not in self._deleted_at:  # it is gone since the round began
                return False
            if time.monotonic() - self._deleted_at[key] < self.teardown:
                return True
            patch = {"metadata": {"finalizers": rest, "resourceVersion": metadata["resourceVersion"]}}
        elif body.get("status", {}).get("sync", {}).get("status") == "Synced":
            return False
        else:
            patch = {"status": _STATUS}
        namespace, name = key
        try:
            await self._kube.merge_patch(APPLICATIONS, name, patch, namespace)
        except KubeError:  # changed or gone meanwhile, or the API server is away: look again
            return True
        return False


def _as_it_is(body: dict[str, Any]) -> dict[str, Any]:
    return body
