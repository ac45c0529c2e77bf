"""What the operator knows of AppProjects, a kind that the cluster may not serve, and that may come and go.

Nothing is asked until the first tenant is concerned, and nothing else waits for the answer. A LIST that gets 404 means
that the kind is not served; what was seen before is then passed over, and listed anew once it is back.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

from tenantry.errors import KubeError, NotFound
from tenantry.kube import Kube
from tenantry.reflector import Key, Reflector, Timing
from tenantry.resources import APP_PROJECTS
from tenantry_operator.children import project
from tenantry_operator.children.project import FoundProject
from tenantry_operator.plan_project import Projects
from tenantry_operator.waiting import Waiting

__all__ = ["ProjectCache"]

_RETRY_SECONDS = 3.0
"""How long at most until it is tried again whether the kind is served."""


class ProjectCache:
    """The AppProjects of Argo CD's namespace. `tell(tenants)`: something that concerns them changed."""

    def __init__(self, kube: Kube, namespace: str, *, tell: Callable[[Iterable[str]], None]) -> None:
        self.namespace = namespace
        self.reflector: Reflector[FoundProject] = Reflector(
            kube,
            APP_PROJECTS,
            transform=project.observe,
            on_change=self._changed,
            on_error=self._turned,
            namespace=namespace,
            timing=Timing(last_retry=_RETRY_SECONDS),
        )
        self._tell = tell
        self._waiting = Waiting()
        self._names_of: defaultdict[str, set[str]] = defaultdict(set)
        self._lost: dict[str, str] = {}
        """AppProject → the tenant that had it until somebody took off it whose it is."""
        self._needed = asyncio.Event()
        self._failed = asyncio.Event()
        self._state: type[KubeError] | None = None

    async def run(self) -> None:
        """Follow the AppProjects from when somebody first asks for them."""
        await self._needed.wait()
        await self.reflector.run()

    async def tried(self) -> None:
        """Wait until the AppProjects have been listed, or could not be: before that, nothing is known."""
        self._needed.set()
        if self.reflector.synced.is_set() or self._failed.is_set():
            return
        outcomes = [asyncio.create_task(event.wait()) for event in (self.reflector.synced, self._failed)]
        try:
            await asyncio.wait(outcomes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for outcome in outcomes:
                outcome.cancel()

    def look(self, tenant: str, wanted: str) -> Projects:
        """Return what is known for `tenant`, which is told when the AppProject `wanted` (or "") changes."""
        self._waiting.put(tenant, {wanted} - {""})
        names = self._names_of.get(tenant, set()) | {wanted}
        items, error = self.reflector.items, self.reflector.error
        found = {name: project for name in names if (project := items.get((self.namespace, name))) is not None}
        for name in [name for name, owner in self._lost.items() if owner == tenant]:
            lost = items[self.namespace, name]  # it is put right, or goes, as if it still said whose it is
            found[name] = replace(lost, present=replace(lost.present, owner=tenant))
        return Projects(
            namespace=self.namespace,
            served=not isinstance(error, NotFound),
            trouble="" if self.reflector.synced.is_set() else str(error or "not listed yet"),
            found=found,
        )

    def forget(self, tenant: str) -> None:
        """Stop waiting for anything on behalf of a tenant that is gone."""
        self._waiting.put(tenant, frozenset())

    def _changed(self, key: Key, before: FoundProject | None, after: FoundProject | None) -> None:
        _, name = key
        owners = {found.owner for found in (before, after) if found is not None and found.owner is not None}
        if before is not None and before.owner is not None:
            self._names_of[before.owner].discard(name)
        if after is not None and after.owner is not None:
            self._names_of[after.owner].add(name)
        if after is None or after.owner is not None or not after.ours:
            self._lost.pop(name, None)
        elif before is not None and before.owner is not None and before.present.uid == after.present.uid:
            self._lost[name] = before.owner
        self._tell(owners | self._waiting.by(name))

    def _turned(self) -> None:
        before, self._state = self._state, type(self.reflector.error) if self.reflector.error else None
        self._failed.set()
        if before is not self._state:
            self._tell(list(self._waiting.tenants()))
