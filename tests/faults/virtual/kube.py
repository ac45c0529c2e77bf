"""The API server's client of one simulated process: what of `tenantry.kube.Kube` the generator calls."""

import asyncio
import contextlib
from bisect import insort
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from tenantry.errors import Conflict, Gone, KubeError, NotFound, Unavailable
from tenantry.resources import Resource
from tests.faults.virtual.api import VirtualApi, Watcher, matches

__all__ = ["VirtualKube"]

_TIMEOUT = 30.0
_BOOKMARKS = 60.0
_RESOLUTION = 1e-6
"""Seconds by which a timer may be early, as sums of times are rounded."""
_CERTAIN = 3


class VirtualKube:
    """`cut`: no packet gets through: requests wait for their time-out, or are refused. `dead`: the process is.

    `listed`: when each kind was first listed completely. `first_lists`: the same, and after the record was loaded, when
    the next list of `counts_next` counts as one.
    """

    server = "https://virtual"

    def __init__(self, api: VirtualApi) -> None:
        self._api = api
        self.cut = False
        self.dead = False
        self.listed: dict[str, float] = {}
        self.first_lists: dict[str, list[float]] = {}
        self.counts_next: set[str] = set()
        self._known: dict[str, float] = {}
        self._watchers: dict[str, Watcher] = {}
        self._seen: dict[str, int] = {}
        self._older: dict[str, int] = {}
        self._versions: dict[str, int] = {}

    def known(self, plural: str) -> float | None:
        """Return until when this client has been told everything of a kind; None: it has never been listed."""
        watcher = self._watchers.get(plural)
        if watcher is None or self.cut or watcher.cut:
            return self._known.get(plural)
        return self._heard_until(plural, watcher)

    def _heard_until(self, plural: str, watcher: Watcher) -> float:
        listed = self._versions.get(plural, 0)
        missed = [at for version, at in self._api.kind(plural).lost if version > listed]
        candidates = [watcher.exact_until, self._api.silent.get(plural), *missed]
        return min((each for each in candidates if each is not None), default=self._api.clock.now)

    def cut_off(self, cut: bool) -> None:
        """Cut this client off from the API server, or put it through again."""
        self.cut = cut
        for plural, watcher in self._watchers.items():
            if cut:
                self._known[plural] = self._heard_until(plural, watcher)
            watcher.wake.set()

    def _listed(self, plural: str, version: int, taken: float) -> None:
        """Note what a client that refuses two older lists and takes the third knows after a list."""
        older = version < self._seen.get(plural, 0)
        self._older[plural] = self._older.get(plural, 0) + 1 if older else 0
        if older and self._older[plural] < _CERTAIN:
            return
        self._seen[plural], self._older[plural] = version, 0
        self._known[plural], self._versions[plural] = taken, version
        if plural not in self.listed or plural in self.counts_next:
            self.counts_next.discard(plural)
            self.first_lists.setdefault(plural, []).append(taken)
        self.listed.setdefault(plural, taken)
        if plural in self._api.heard:
            insort(self._api.heard[plural], taken)

    async def pages(
        self, resource: Resource, namespace: str | None = None, label_selector: str | None = None, limit: int = 500
    ) -> AsyncIterator[dict[str, Any]]:
        api, plural = self._api, resource.plural
        await self._gate("list", plural)
        objects, version, taken = dict(api.objects(plural)), api.version, api.clock.now
        if (stale := api.stale.get(plural)) is not None:
            backup, left = stale
            objects, version, taken = dict(backup.kinds.get(plural, {})), backup.version, backup.at
            api.stale[plural] = (backup, left - 1)
            if left <= 1:
                del api.stale[plural]
        found = [
            body
            for (space, _), body in sorted(objects.items())
            if namespace in (None, space) and matches(body, label_selector)
        ]
        size = min(limit, api.page_size)
        for start in range(0, max(1, len(found)), size):
            if start and api.broken_pages:
                api.broken_pages -= 1
                raise Gone(f"LIST {plural}: the continue token has expired", status=410)
            if api.slow:
                await asyncio.sleep(api.slow)
                await self._gate("list", plural)
            last = start + size >= len(found)
            metadata = {"resourceVersion": str(version)} | ({} if last else {"continue": str(start + size)})
            if last:
                self._listed(plural, version, taken)
            yield {"metadata": metadata, "items": found[start : start + size]}

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource,
        *,
        resource_version: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        timeout_seconds: int = 300,
        silence: float = 75.0,
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        plural = resource.plural
        await self._gate("watch", plural)
        kind = self._api.kind(plural)
        if int(resource_version) < kind.compacted:
            raise Gone(f"WATCH {plural}: too old resource version", status=410)
        watcher = Watcher(int(resource_version))
        # From a resourceVersion that a restored server has not reached, a watch stays open and brings nothing.
        if watcher.version > self._api.version:
            watcher.exact_until = self._known.get(plural)
        kind.watchers.append(watcher)
        self._watchers[plural] = watcher
        try:
            yield self._events(plural, watcher, namespace, label_selector, timeout_seconds, silence)
        finally:
            until = self.known(plural)
            kind.watchers.remove(watcher)
            del self._watchers[plural]
            if until is not None:
                self._known[plural] = until

    async def _events(
        self, plural: str, watcher: Watcher, namespace: str | None, selector: str | None, timeout: int, silence: float
    ) -> AsyncIterator[dict[str, Any]]:
        clock, api = asyncio.get_running_loop().time, self._api
        end, heard, bookmark = clock() + timeout, clock(), clock() + _BOOKMARKS
        kind = api.kind(plural)
        while True:
            watcher.wake.clear()
            silent = plural in api.silent or self.cut
            if not silent:
                for event in [each for each in kind.log if each.version > watcher.version]:
                    watcher.version = event.version
                    if event.lost or (namespace is not None and event.body["metadata"].get("namespace") != namespace):
                        continue
                    heard = clock()
                    self._seen[plural] = max(self._seen.get(plural, 0), event.version)
                    if plural in api.heard:
                        insort(api.heard[plural], heard)
                    shown = matches(event.body, selector)
                    yield {"type": event.type if shown else "DELETED", "object": event.body}
            if watcher.cut or self.dead:
                raise Unavailable(f"WATCH {plural}: the connection broke")
            if self._api.failure("watch", plural) is not None:
                raise Unavailable(f"WATCH {plural}: the connection broke")
            now = clock() + _RESOLUTION
            if now >= end and not silent:
                return
            if now >= bookmark and not silent:
                heard, bookmark = clock(), clock() + _BOOKMARKS
                yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(watcher.version)}}}
            if now >= heard + silence:
                raise Unavailable(f"WATCH {plural}: nothing came for {silence} s")
            until = heard + silence if silent else min(end, bookmark)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await watcher.wake.wait()

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> dict[str, Any]:
        await self._gate("read", resource.plural)
        body = self._api.objects(resource.plural).get((namespace or "", name))
        if body is None:
            raise NotFound(f"GET {resource.plural} {name}: 404", status=404)
        return body

    async def create(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        namespace: str | None = None,
        *,
        field_manager: str | None = None,
    ) -> dict[str, Any]:
        await self._gate("write", resource.plural)
        if (namespace or "", body["metadata"]["name"]) in self._api.objects(resource.plural):
            raise Conflict(f"POST {resource.plural}: 409", status=409)
        return self._answered(self._api.put(resource.plural, dict(body)))

    async def merge_patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any],
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        field_manager: str | None = None,
    ) -> dict[str, Any]:
        await self._gate("write", resource.plural)
        return self._answered(self._api.patch(resource.plural, (namespace or "", name), patch))

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None:
        await self._gate("write", resource.plural)
        there = self._api.objects(resource.plural).get((namespace or "", name))
        if there is None:
            raise NotFound(f"DELETE {resource.plural} {name}: 404", status=404)
        if resource_version not in (None, there["metadata"]["resourceVersion"]):
            raise Conflict(f"DELETE {resource.plural} {name}: 409", status=409)
        self._api.remove(resource.plural, (namespace or "", name))

    def _answered(self, body: dict[str, Any]) -> dict[str, Any]:
        if self._api.answers_lost > 0:
            self._api.answers_lost -= 1
            raise Unavailable("the answer to a write was lost")
        return body

    async def _gate(self, verb: str, plural: str) -> None:
        """Fail or hang as the API server does now."""
        if self.dead:
            raise Unavailable("the process has ended")
        if self.cut or self._api.hangs(plural):
            await asyncio.sleep(_TIMEOUT)
            raise Unavailable(f"{verb} {plural}: no answer in time")
        if (error := self._api.failure(verb, plural)) is not None:
            await _fail(error)


async def _fail(error: KubeError) -> NoReturn:
    await asyncio.sleep(0.001)  # however fast a refusal comes, it is no loop that time stands still in
    raise error
