"""A cache of one kind that follows the API server and never confuses "I can't see it" with "it is gone".

The rules are client-go's: the first and every later list is complete or is thrown away, a list replaces the cache and
so finds what was deleted while nobody watched, the watch goes on from the last resourceVersion (bookmarks move it),
and a stream that falls silent is dropped. Two more, because a short answer from here would delete Applications: a list
whose resourceVersion is lower than one already seen is refused until it is certain that the API server was restored
from a backup (docs/adr/0016), and the kind is listed again every so often even if all seems well, since a watch cache
can lose a DELETE for good (kubernetes/kubernetes#123072).
"""

import asyncio
import math
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from tenantry.backoff import Backoff
from tenantry.errors import Gone, KubeError, NotFound, Throttled, Unavailable
from tenantry.kube import Kube
from tenantry.resources import Resource
from tenantry.telemetry import get_logger

__all__ = ["Key", "Reflector", "Timing"]

log = get_logger(__name__)

T = TypeVar("T")
_CERTAIN = 3
"""So many lists in a row must have gone back in time before one of them is taken."""

Key = tuple[str, str]
"""(namespace, or "" for a cluster-scoped object; name)"""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `silence`: a watch without a byte for so long is dead. `relist`: list again at least so often.

    A list comes up to a fifth earlier than that, so that the caches of one process don't list all at once.
    """

    silence: float = 75.0
    relist: float = 900.0
    first_retry: float = 0.8
    last_retry: float = 30.0


class Reflector(Generic[T]):
    """Keeps `items`, the transformed objects of one kind, as the API server has them.

    `transform` gets an object's JSON and returns what to keep; it must not fail. `on_change(key, before, after)` is
    called for every difference, None standing for absent; `synced` is set after the first complete list. `error` is why
    the cache may be behind, None while the watch is healthy; the items stay as they were last seen. `on_error()` is
    called whenever a list or watch failed, and when all is well again. `on_restored(missing)` is called with what a
    restored API server no longer has, before `on_change` is for each of them. `on_listed()` is called after every
    complete list, once `items` is what it said. `namespace`: None is all of them. `regressions` counts the lists that
    went back in time.
    """

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        *,
        transform: Callable[[dict[str, Any]], T],
        on_change: Callable[[Key, T | None, T | None], None] | None = None,
        on_error: Callable[[], None] | None = None,
        on_restored: Callable[[frozenset[Key]], None] | None = None,
        on_listed: Callable[[], None] | None = None,
        namespace: str | None = None,
        label_selector: str | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.kind = resource.kind
        self._kube = kube
        self._resource = resource
        self._transform = transform
        self._on_change = on_change
        self._on_error = on_error
        self._on_restored = on_restored
        self._on_listed = on_listed
        self._namespace = namespace
        self._label_selector = label_selector
        self._timing = timing or Timing()
        self._items: dict[Key, T] = {}
        self._versions: dict[Key, int] = {}
        self._seen = 0
        self._older_lists = 0
        self._list_due = 0.0
        self._must_list = True
        self.items: Mapping[Key, T] = MappingProxyType(self._items)
        self.synced = asyncio.Event()
        self.error: KubeError | None = None
        self.last_activity = asyncio.get_running_loop().time()
        self.regressions = 0

    async def run(self) -> None:
        """List and watch for ever; every failure is waited out and shown in `error`."""
        backoff = Backoff(first=self._timing.first_retry, cap=self._timing.last_retry)
        while True:
            try:
                if self._must_list or self._now() >= self._list_due:
                    await self._list()
                    backoff.reset()
                if await self._watch(backoff):
                    continue
                pause = backoff.next()  # a watch that ends at once, over and over, must not become a hot loop
            except Gone as error:
                self._must_list = True
                log.info("listing again: the resourceVersion has expired", kind=self._resource.kind, error=str(error))
                pause = backoff.next()
            except KubeError as error:
                self._report(error)
                # The kind is not served: should it come back, it may be without the objects that it had. And a restored
                # API server keeps a watch from a resourceVersion that it has not reached yet open, and silent.
                self._must_list = self._must_list or isinstance(error, NotFound) or self._silent
                pause = backoff.next()
                if isinstance(error, Throttled) and error.retry_after is not None:
                    pause = max(pause, error.retry_after)
            await asyncio.sleep(pause)

    def start_over(self) -> None:
        """Be as before the first list, but keep what was seen: `run`, when it is called anew, lists before all else."""
        self._must_list = True
        self.synced.clear()

    def absorb(self, body: dict[str, Any]) -> None:
        """Take in an object that a write just answered with, so that the next look at `items` sees that write.

        Ignored when the watch has already gone past it: it may have reported the object's deletion.
        """
        if _version(body) > self._seen:
            self._update(body)

    def discard(self, key: Key, resource_version: str) -> None:
        """Take out an object that a request just deleted, or found gone, unless a newer version has been seen."""
        if self._versions.get(key) == int(resource_version):
            self._drop(key)

    @property
    def _silent(self) -> bool:
        return self._now() - self.last_activity > 0.8 * self._timing.silence

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _report(self, error: KubeError) -> None:
        if self.error is None or str(self.error) != str(error):
            log.warning("the cache may be behind", kind=self._resource.kind, error=str(error))
        self.error = error
        if self._on_error is not None:
            self._on_error()

    def _healthy(self) -> None:
        failed, self.error = self.error, None
        self.last_activity = self._now()
        if failed is not None:
            log.info("the cache follows again", kind=self._resource.kind)
            if self._on_error is not None:
                self._on_error()

    async def _list(self) -> None:
        found: dict[Key, tuple[int, T | None]] = {}
        seen = 0
        async for page in self._kube.pages(
            self._resource, namespace=self._namespace, label_selector=self._label_selector
        ):
            seen = int(page["metadata"]["resourceVersion"])
            # At once, for as JSON a list of ten thousand objects is ten times as large as what is kept of it.
            found.update(self._read(body, older=seen < self._seen) for body in page["items"])
        self._check_age(seen)
        if seen < self._seen:
            self._go_back(found.keys())
        elif self._is_rewritten(found, seen):
            self._go_back(found.keys())
            self._must_list = True
            await self._list()  # with what was passed over because it seemed to be known
            return
        self._replace(found, seen)
        self._must_list = False
        self._list_due = self._now() + self._timing.relist * random.uniform(0.8, 1.0)  # noqa: S311 - spreads lists
        self._healthy()
        self.synced.set()
        if self._on_listed is not None:
            self._on_listed()

    def _read(self, body: dict[str, Any], *, older: bool) -> tuple[Key, tuple[int, T | None]]:
        """Return an object's key, version and item, None if that is known; in an older list a version says nothing."""
        key, version = _key(body), _version(body)
        known = not older and version <= self._versions.get(key, -1)
        return key, (version, None if known else self._transform(body))

    def _check_age(self, seen: int) -> None:
        """Raise Unavailable for a list that is older than what was seen, but for the last of enough in a row."""
        self._older_lists = self._older_lists + 1 if seen < self._seen else 0
        self.regressions += seen < self._seen
        if 0 < self._older_lists < _CERTAIN:
            raise Unavailable(
                f"LIST {self._resource.plural}: refused, its resourceVersion is lower than one seen before; "
                "was the API server restored from a backup?"
            )

    def _is_rewritten(self, found: Mapping[Key, tuple[int, T | None]], seen: int) -> bool:
        """Whether something is older in a list than it was when seen before, by then: no history goes on like that.

        So it is when an API server was restored, and has been written to since so often that its resourceVersion is
        beyond what was seen before.
        """
        return any(version < self._versions.get(key, -1) <= seen for key, (version, _) in found.items())

    def _go_back(self, found: Collection[Key]) -> None:
        """Forget how new things were: the API server has come back with an older state, and goes on from there."""
        missing = frozenset(self._items.keys() - found)
        log.error(
            "the API server was restored from a backup: its older state is taken",
            kind=self._resource.kind,
            before=self._seen,
            missing=len(missing),
        )
        if self._on_restored is not None:
            self._on_restored(missing)
        self._versions = dict.fromkeys(self._versions, -1)
        self._older_lists = 0

    def _replace(self, found: Mapping[Key, tuple[int, T | None]], seen: int) -> None:
        for key, (version, item) in found.items():
            if item is not None and version > self._versions.get(key, -1):
                self._put(key, version, item)
        # What our own write put in after this list was taken is newer than the list, not missing from it.
        for key in [key for key, version in self._versions.items() if key not in found and version <= seen]:
            self._drop(key)
        self._seen = seen

    async def _watch(self, backoff: Backoff) -> bool:
        """Follow one watch to its end; return whether it lasted or brought anything.

        Then it has worked, however it ended, and the next outage is not the last one going on.
        """
        started = self._now()
        opened, events = math.inf, 0
        until_list = math.ceil(self._list_due - started)
        watch = self._kube.watch(
            self._resource,
            resource_version=str(self._seen),
            namespace=self._namespace,
            label_selector=self._label_selector,
            timeout_seconds=max(1, min(until_list, random.randint(300, 600))),  # noqa: S311 - spreads reconnects
            silence=self._timing.silence,
        )
        try:
            async with watch as stream:
                opened = self._now()
                self._healthy()
                async for event in stream:
                    events += 1
                    self._take(event["type"], event["object"])
                    self._healthy()
        finally:
            worked = events > 0 or self._now() - opened > 1.0
            if worked:
                backoff.reset()
        return worked

    def _take(self, kind: str, body: dict[str, Any]) -> None:
        version = _version(body)
        if kind == "DELETED":
            if version >= self._versions.get(_key(body), 0):
                self._drop(_key(body))
        elif kind != "BOOKMARK":
            self._update(body)
        self._seen = max(self._seen, version)

    def _update(self, body: dict[str, Any]) -> None:
        key, version = _key(body), _version(body)
        if version > self._versions.get(key, -1):
            self._put(key, version, self._transform(body))

    def _put(self, key: Key, version: int, after: T) -> None:
        before = self._items.get(key)
        self._items[key] = after
        self._versions[key] = version
        if self._on_change is not None and before != after:
            self._on_change(key, before, after)

    def _drop(self, key: Key) -> None:
        before = self._items.pop(key, None)
        self._versions.pop(key, None)
        if self._on_change is not None and before is not None:
            self._on_change(key, before, None)


def _key(body: Mapping[str, Any]) -> Key:
    metadata = body["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _version(body: Mapping[str, Any]) -> int:
    # Comparable as integers since Kubernetes 1.35 (KEP-5504), and in practice always.
    return int(body["metadata"]["resourceVersion"])
