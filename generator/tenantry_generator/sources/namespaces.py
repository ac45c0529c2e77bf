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
from tenantry_generator.sources import Read

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
        self._reflector: Reflector[Place] | None = None

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
        """Publish the namespaces by name whenever they change, for ever, once they have been listed completely."""
        places: dict[str, Place] = {}
        leaving: dict[str, float] = {}
        changed = asyncio.Event()
        clock = asyncio.get_running_loop().time

        def take(key: Key, before: Place | None, after: Place | None) -> None:
            if after is not None and after.tenant:
                places[after.name] = after
                leaving.pop(after.name, None)
            elif key[1] in places:
                leaving.setdefault(key[1], clock())
            changed.set()

        reflector = self._reflector = Reflector(
            kube, NAMESPACES, transform=self._observe, on_change=take, label_selector=TENANT_LABEL
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(reflector.run())
            await reflector.synced.wait()
            while True:
                changed.clear()
                if leaving and clock() >= min(leaving.values()) + _TOGETHER:
                    for name in leaving:
                        del places[name]
                    leaving.clear()
                publish(Read(dict(places)))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(min(leaving.values()) + _TOGETHER if leaving else None):
                        await changed.wait()
                await asyncio.sleep(_COALESCE)

    def _observe(self, body: dict[str, Any]) -> Place:
        metadata = body["metadata"]
        name, labels = metadata["name"], metadata.get("labels") or {}
        given = not self._operated or TENANT_LABEL in managed_keys(metadata)[0]
        return Place(name, "" if is_system_namespace(name) else labels.get(TENANT_LABEL, ""), labels, given)
