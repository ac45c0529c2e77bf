"""The tenants' namespaces in one cluster, for answers with an element for each of them.

They are told by the label `tenantry.dev/tenant` that the operator gives them. As with every source, what can't be read
is not gone: the namespaces stay as they were last seen.
"""

import asyncio
from collections import defaultdict
from typing import Any

from tenantry.errors import Forbidden
from tenantry.kube import Kube
from tenantry.managed import managed_keys
from tenantry.names import TENANT_LABEL, is_system_namespace
from tenantry.reflector import Key, Reflector
from tenantry.resources import NAMESPACES
from tenantry_generator.expand import Place, Places

__all__ = ["NamespaceSource"]

_COALESCE = 0.05
"""Seconds after a change in which more changes are awaited."""


class NamespaceSource:
    """Follows the namespaces of one cluster. `places` is None until they have been listed completely once.

    `operated`: whether this is the operator's cluster, where only what its field manager wrote counts for a Tenant.
    """

    def __init__(self, *, operated: bool) -> None:
        self.places: Places | None = None
        self._operated = operated
        self._reflector: Reflector[Place] | None = None

    @property
    def problem(self) -> str | None:
        """Why the namespaces can't be followed, None while they can."""
        error = None if self._reflector is None else self._reflector.error
        hint = "; give it the right to list and watch namespaces" if isinstance(error, Forbidden) else ""
        return None if error is None else f"{error}{hint}"

    async def follow(self, kube: Kube) -> None:
        """Keep `places` as the cluster has them, for ever."""
        by_tenant: defaultdict[str, dict[str, Place]] = defaultdict(dict)
        dirty: set[str] = set()
        changed = asyncio.Event()

        def take(key: Key, before: Place | None, after: Place | None) -> None:
            if before is not None:
                del by_tenant[before.tenant][before.name]
                dirty.add(before.tenant)
            if after is not None:
                by_tenant[after.tenant][after.name] = after
                dirty.add(after.tenant)
            changed.set()

        reflector = self._reflector = Reflector(
            kube, NAMESPACES, transform=self._observe, on_change=take, label_selector=TENANT_LABEL
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(reflector.run())
            await reflector.synced.wait()
            places: dict[str, tuple[Place, ...]] = {}
            while True:
                changed.clear()
                places = dict(places)
                while dirty:
                    tenant = dirty.pop()
                    if found := by_tenant[tenant]:
                        places[tenant] = tuple(found[name] for name in sorted(found))
                    else:
                        places.pop(tenant, None)
                self.places = places
                await changed.wait()
                await asyncio.sleep(_COALESCE)

    def _observe(self, body: dict[str, Any]) -> Place:
        metadata = body["metadata"]
        name, labels = metadata["name"], metadata.get("labels") or {}
        given = not self._operated or TENANT_LABEL in managed_keys(metadata)[0]
        return Place(name, "" if is_system_namespace(name) else labels.get(TENANT_LABEL, ""), labels, given)
