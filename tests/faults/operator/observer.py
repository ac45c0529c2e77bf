"""What really happens in the cluster while cases run: every state of each of their objects, from the API server itself.

It watches past the proxy, so no fault hides anything from it. Cases share one cluster and one operator; what is whose
is told by the token that every name of a case begins with.
"""

import asyncio
import contextlib
import itertools
import re
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenantry.kube import Kube
from tenantry.resources import (
    APP_PROJECTS,
    LIMIT_RANGES,
    NAMESPACES,
    NETWORK_POLICIES,
    RESOURCE_QUOTAS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    TENANTS,
    Resource,
)

__all__ = ["KINDS", "Change", "Key", "Observer", "new_token", "token_in"]

KINDS = (
    TENANTS,
    NAMESPACES,
    RESOURCE_QUOTAS,
    LIMIT_RANGES,
    NETWORK_POLICIES,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    APP_PROJECTS,
)
Key = tuple[str, str, str]
"""(kind, namespace or "", name)"""

_TOKEN = re.compile(r"x\d{5}x")
_KUBERNETES_OWN = ("ServiceAccount", "default")
_numbers = itertools.count(1)


def new_token() -> str:
    """Return what all names of one case are to begin with."""
    return f"x{next(_numbers):05d}x"


def token_in(*names: str | None) -> str | None:
    """Return the token that one of the names begins with; None if none does."""
    found = (_TOKEN.match(name) for name in names if name)
    return next((match.group() for match in found if match), None)


@dataclass(frozen=True, slots=True)
class Change:
    """An event of a watch. `kind`: ADDED, MODIFIED or DELETED; `at`: monotonic seconds; `body`: the object then."""

    kind: str
    key: Key
    body: Mapping[str, Any]
    at: float


class Observer:
    """The present and the past of each token's objects of some kinds; `history` in the order of each kind's watch."""

    def __init__(self, kube: Kube, kinds: Sequence[Resource] = KINDS) -> None:
        self._kube = kube
        self._kinds = kinds
        self.history: defaultdict[str, list[Change]] = defaultdict(list)
        self.objects: defaultdict[str, dict[Key, Mapping[str, Any]]] = defaultdict(dict)

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch meanwhile; whatever ends a watch is raised when the block ends."""
        starts = [await self._kube.list(resource) for resource in self._kinds]
        versions = [start["metadata"]["resourceVersion"] for start in starts]
        tasks = [
            asyncio.create_task(self._watch(resource, version))
            for resource, version in zip(self._kinds, versions, strict=True)
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for each in ended:
            if isinstance(each, Exception):
                raise each

    def summary(self, token: str) -> Counter[tuple[str, Key]]:
        """Return how often each object has been ADDED and DELETED."""
        return Counter((change.kind, change.key) for change in self.history[token] if change.kind != "MODIFIED")

    def forget(self, token: str) -> None:
        """Drop what is known of a case that is over."""
        self.history.pop(token, None)
        self.objects.pop(token, None)

    async def _watch(self, resource: Resource, version: str) -> None:
        while True:
            async with self._kube.watch(resource, resource_version=version, timeout_seconds=3600) as events:
                async for event in events:
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._take(resource, event)

    def _take(self, resource: Resource, event: Mapping[str, Any]) -> None:
        body = event["object"]
        metadata = body["metadata"]
        key = (resource.kind, metadata.get("namespace", ""), metadata["name"])
        token = token_in(key[1], key[2])
        if token is None or (key[0], key[2]) == _KUBERNETES_OWN:
            return
        self.history[token].append(Change(event["type"], key, body, time.monotonic()))
        if event["type"] == "DELETED":
            self.objects[token].pop(key, None)
        else:
            self.objects[token][key] = body
