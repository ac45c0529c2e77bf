"""An API server in memory, with resourceVersions, watches, backups, and every fault that a client of it can see.

It knows as much of Kubernetes as the generator asks: complete and stale lists in pages, watches with bookmarks that
break, fall silent or lose an event, compare-and-swap, and a restore that takes everything back in time.
"""

import asyncio
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenantry.errors import Conflict, Forbidden, KubeError, NotFound, Throttled, Unavailable
from tests.faults.virtual.clock import Clock

__all__ = ["Backup", "Event", "VirtualApi", "Watcher", "matches"]

Key = tuple[str, str]
Body = dict[str, Any]
_DEEP = 200
"""Events that a kind keeps for watches; one from an older resourceVersion is answered with 410."""


@dataclass(frozen=True, slots=True)
class Event:
    version: int
    type: str
    body: Body
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Backup:
    """Everything there was at `version`, at the time `at`."""

    version: int
    at: float
    kinds: Mapping[str, Mapping[Key, Body]]


class Watcher:
    """One watch of one client. `exact_until`: since when it may have missed something, None if it has not."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.wake = asyncio.Event()
        self.cut = False
        self.exact_until: float | None = None


@dataclass(slots=True)
class _Kind:
    objects: dict[Key, Body] = field(default_factory=dict)
    log: list[Event] = field(default_factory=list)
    lost: list[tuple[int, float]] = field(default_factory=list)
    """(resourceVersion, time) of the events that no watch ever brings."""
    compacted: int = 0
    watchers: list[Watcher] = field(default_factory=list)


class VirtualApi:
    """`trouble(verb, kind)` returns what a request fails with, None if it doesn't; verb: list, watch, read or write.

    `slow`: seconds that each page of a list takes. `answers_lost`: so many next writes are done and not answered.
    `silent`: kinds whose watches bring nothing, with the time since when.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.version = 100
        self._kinds: dict[str, _Kind] = {}
        self.troubles: dict[str, str] = {}
        self.slow = 0.0
        self.page_size = 500
        self.answers_lost = 0
        self.stale: dict[str, tuple[Backup, int]] = {}
        self.broken_pages = 0
        self.silent: dict[str, float] = {}
        self.lose: dict[str, int] = {}
        self.heard: dict[str, list[float]] = {}
        """When any client was told something of a kind."""
        self.on_change: Callable[[str, Key, Body | None], None] = lambda kind, key, body: None

    def kind(self, plural: str) -> _Kind:
        return self._kinds.setdefault(plural, _Kind())

    def objects(self, plural: str) -> dict[Key, Body]:
        return self.kind(plural).objects

    def put(self, plural: str, body: Body) -> Body:
        """Create or replace an object."""
        key = _key(body)
        held = self.kind(plural)
        self.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version)}
        body = {**body, "metadata": metadata}
        there = key in held.objects
        held.objects[key] = body
        self._tell(plural, Event(self.version, "MODIFIED" if there else "ADDED", body))
        return body

    def remove(self, plural: str, key: Key) -> None:
        """Delete an object that there is."""
        body = self.kind(plural).objects.pop(key)
        self.version += 1
        gone = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        self._tell(plural, Event(self.version, "DELETED", gone))

    def backup(self) -> Backup:
        kinds = {plural: dict(kind.objects) for plural, kind in self._kinds.items()}
        return Backup(self.version, self.clock.now, kinds)

    def restore(self, backup: Backup) -> None:
        """Be as at the time of the backup; every connection breaks."""
        self.cut_watches()
        for plural, kind in self._kinds.items():
            kind.objects = dict(backup.kinds.get(plural, {}))
            kind.log, kind.lost, kind.compacted = [], [], backup.version
        self.version = backup.version

    def compact(self) -> None:
        """Forget the events so far, so that watches from older versions are answered with 410."""
        for kind in self._kinds.values():
            kind.log, kind.compacted = [], self.version

    def cut_watches(self, plural: str | None = None) -> None:
        """Break every watch."""
        for name, kind in self._kinds.items():
            if plural in (None, name):
                for watcher in kind.watchers:
                    watcher.cut = True
                    watcher.wake.set()

    def hush(self, plural: str, *, silent: bool) -> None:
        """Have the watches of a kind fall silent, or go on with what they have missed."""
        if silent:
            self.silent.setdefault(plural, self.clock.now)
        else:
            self.silent.pop(plural, None)
            for watcher in self.kind(plural).watchers:
                watcher.wake.set()

    def failure(self, verb: str, plural: str) -> KubeError | None:
        """Return what a request fails with at once."""
        kind = self.troubles.get(plural) or self.troubles.get("*")
        match kind:
            case "unavailable":
                return Unavailable(f"{verb} {plural}: connection refused")
            case "error":
                return Unavailable(f"{verb} {plural}: 500", status=500)
            case "throttled":
                return Throttled(f"{verb} {plural}: 429", status=429, retry_after=1.0)
            case "forbidden":
                return Forbidden(f"{verb} {plural}: 403", status=403)
            case "unserved":
                return NotFound(f"{verb} {plural}: 404", status=404)
            case "unwritable" if verb == "write":
                return Unavailable(f"{verb} {plural}: 500", status=500)
        return None

    def hangs(self, plural: str) -> bool:
        """Whether requests are taken and never answered."""
        return "hang" in (self.troubles.get(plural), self.troubles.get("*"))

    def patch(self, plural: str, key: Key, patch: Mapping[str, Any]) -> Body:
        there = self.objects(plural).get(key)
        if there is None:
            raise NotFound(f"PATCH {plural} {key}: 404", status=404)
        wanted = (patch.get("metadata") or {}).get("resourceVersion")
        if wanted is not None and wanted != there["metadata"]["resourceVersion"]:
            raise Conflict(f"PATCH {plural} {key}: 409", status=409)
        return self.put(plural, _merged(there, patch))

    def _tell(self, plural: str, event: Event) -> None:
        kind = self.kind(plural)
        if self.lose.get(plural, 0) > 0:
            self.lose[plural] -= 1
            event = Event(event.version, event.type, event.body, lost=True)
            kind.lost.append((event.version, self.clock.now))
        kind.log.append(event)
        if len(kind.log) > 2 * _DEEP:
            kind.compacted = kind.log[_DEEP].version
            del kind.log[: _DEEP + 1]
        for watcher in kind.watchers:
            watcher.wake.set()


def matches(body: Body, selector: str | None) -> bool:
    """Whether an object's labels match a selector of the forms KEY and KEY=VALUE."""
    if not selector:
        return True
    key, equals, value = selector.partition("=")
    labels = body["metadata"].get("labels") or {}
    return key in labels and (not equals or labels[key] == value)


def _key(body: Body) -> Key:
    return body["metadata"].get("namespace", ""), body["metadata"]["name"]


def _merged(before: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(before) if isinstance(before, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged
