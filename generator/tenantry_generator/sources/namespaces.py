"""The tenants' namespaces in one cluster, for answers with an element for each of them.

They are told by the label `tenantry.dev/tenant` that the operator gives them. As with every source, what can't be read
is not gone: nothing is published then.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from tenantry.errors import Forbidden
from tenantry.kube import Kube
from tenantry.managed import managed_keys
from tenantry.names import TENANT_LABEL, is_system_namespace
from tenantry.reflector import Key, Reflector
from tenantry.resources import NAMESPACES
from tenantry_generator.expand import Place
from tenantry_generator.sources import RESTORED, Read

__all__ = ["NamespaceSource"]

_COALESCE = 0.05
"""Seconds after a change in which more changes are awaited."""
_TOGETHER = 3.0
"""Seconds after a departure in which others join it. A Tenant that is deleted has left the answer by then, so that its
namespaces are not taken for departures of a tenant that stays.
"""


class NamespaceSource:
    """Follows the namespaces of one cluster.

    `operated`: whether this is the operator's cluster, where only what its field manager wrote counts for a Tenant.
    """

    def __init__(self, *, operated: bool) -> None:
        self._operated = operated
        self._kube: Kube | None = None
        self._reflector: Reflector[Place] | None = None
        self._places: dict[str, Place] = {}
        self._leaving: dict[str, float] = {}
        self._doubted: dict[str, str] = {}
        self._changed = asyncio.Event()

    @property
    def problem(self) -> str | None:
        """Why the namespaces can't be followed, None while they can."""
        error = None if self._reflector is None else self._reflector.error
        hint = "; give it the right to list and watch namespaces" if isinstance(error, Forbidden) else ""
        return None if error is None else f"{error}{hint}"

    @property
    def last_activity(self) -> float | None:
        """The event loop's time when the cluster was last heard of; None before the first complete list."""
        if self._reflector is None or not self._reflector.synced.is_set():
            return None
        return self._reflector.last_activity

    async def follow(self, kube: Kube, publish: Callable[[Read[Place]], None]) -> None:
        """Publish the namespaces by name whenever they change, for ever, once they have been listed completely.

        Called again with the same client, it remembers how new they were, and so a restored API server is noticed.
        """
        reflector = self._reflector
        if reflector is None or kube is not self._kube:
            reflector = self._begin(kube)
        else:
            reflector.start_over()
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(reflector.run())
            await reflector.synced.wait()
            while True:
                self._changed.clear()
                leaving = self._leaving
                if leaving and clock() >= min(leaving.values()) + _TOGETHER:
                    for name in leaving:
                        del self._places[name]
                    leaving.clear()
                publish(Read(dict(self._places), doubted=dict(self._doubted)))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(min(leaving.values()) + _TOGETHER if leaving else None):
                        await self._changed.wait()
                await asyncio.sleep(_COALESCE)

    def _begin(self, kube: Kube) -> Reflector[Place]:
        self._kube = kube
        for known in (self._places, self._leaving, self._doubted):
            known.clear()
        self._reflector = Reflector(
            kube,
            NAMESPACES,
            transform=self._observe,
            on_change=self._take,
            on_restored=self._restored,
            label_selector=TENANT_LABEL,
        )
        return self._reflector

    def _take(self, key: Key, before: Place | None, after: Place | None) -> None:
        if after is not None and after.tenant:
            self._places[after.name] = after
            self._leaving.pop(after.name, None)
            self._doubted.pop(after.name, None)
        elif key[1] in self._places:
            self._leaving.setdefault(key[1], asyncio.get_running_loop().time())
        self._changed.set()

    def _restored(self, missing: frozenset[Key]) -> None:
        self._doubted.update((name, RESTORED) for _, name in missing)

    def _observe(self, body: dict[str, Any]) -> Place:
        metadata = body["metadata"]
        name, labels = metadata["name"], metadata.get("labels") or {}
        given = not self._operated or TENANT_LABEL in managed_keys(metadata)[0]
        return Place(name, "" if is_system_namespace(name) else labels.get(TENANT_LABEL, ""), labels, given)
