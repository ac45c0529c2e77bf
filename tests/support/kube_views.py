"""What a client sees of the cluster, where that is not the present: caches that lag, streams that lose events or hang.

The API server itself gives the old lists (`resourceVersionMatch=Exact`) and the events since, so all of it is what was
really there at some time; only when it arrives, and what of it, is decided here.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.kube_request import Exchange

__all__ = ["Deaf", "Event", "Frozen", "Lagging", "Lossy", "Split", "View"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, and the object."""

    watch: Exchange
    type: str
    object: dict[str, Any]

    @property
    def resource(self) -> str:
        """As Exchange.resource."""
        return self.watch.resource

    @property
    def key(self) -> tuple[str, str]:
        """(namespace or "", name); of a bookmark ("", "")."""
        metadata = self.object["metadata"]
        return metadata.get("namespace", ""), metadata.get("name", "")

    @property
    def version(self) -> int:
        """The resourceVersion."""
        return int(self.object["metadata"]["resourceVersion"])


class View:
    """The present, whole and at once; what else there is to see overrides this."""

    def version(self, exchange: Exchange) -> int | None:
        """Return the resourceVersion that a list is to be of, None for the present one."""
        return None

    def gate(self, watch: Exchange) -> asyncio.Event | None:
        """Return what an opened watch, answered with 200 and no more, waits for before it begins."""
        return None

    async def passes(self, event: Event) -> bool:
        """Return, when its time has come, whether an event is delivered; those behind it wait as well."""
        return True


class Frozen(View):
    """The cluster as it was `at` a version, for `kinds` (None: all), until `release`; then what came after follows."""

    def __init__(self, version: int, kinds: Collection[str] | None = None) -> None:
        self.at = version
        self._kinds = kinds
        self._released = asyncio.Event()

    def release(self) -> None:
        """Let the present in: the open watches bring all that they have missed."""
        self._released.set()

    def version(self, exchange: Exchange) -> int | None:
        return self.at if self._concerns(exchange) and not self._released.is_set() else None

    def gate(self, watch: Exchange) -> asyncio.Event | None:
        return self._released if self._concerns(watch) else None

    def _concerns(self, exchange: Exchange) -> bool:
        return self._kinds is None or exchange.resource in self._kinds


class Split(View):
    """A view of its own for each of some kinds, and the present of the others."""

    def __init__(self, views: Mapping[str, View]) -> None:
        self._views = views
        self._present = View()

    def version(self, exchange: Exchange) -> int | None:
        return self._of(exchange).version(exchange)

    def gate(self, watch: Exchange) -> asyncio.Event | None:
        return self._of(watch).gate(watch)

    async def passes(self, event: Event) -> bool:
        return await self._of(event.watch).passes(event)

    def _of(self, exchange: Exchange) -> View:
        return self._views.get(exchange.resource, self._present)


class Lagging(View):
    """Lists of the present, and watches of a replica that is behind by `seconds(event)`, each kind by its own."""

    def __init__(self, seconds: Callable[[Event], float]) -> None:
        self._seconds = seconds

    async def passes(self, event: Event) -> bool:
        await asyncio.sleep(self._seconds(event))
        return True


class Lossy(View):
    """The present, but for the events of which `lost` says True; they never come."""

    def __init__(self, lost: Callable[[Event], bool]) -> None:
        self._lost = lost

    async def passes(self, event: Event) -> bool:
        return not self._lost(event)


class Deaf(View):
    """These watches stay open and bring nothing from now on, not even bookmarks; those that are opened later do."""

    def __init__(self, watches: Collection[Exchange]) -> None:
        self._numbers = {watch.number for watch in watches}

    async def passes(self, event: Event) -> bool:
        return event.watch.number not in self._numbers
