"""Follows the ApplicationSets in Argo CD's namespace, to know what they ask for and what they own, and refreshes them.

Without the right to read them, or without Argo CD in this cluster, everything goes on: what a generator's `selector`
hides is then not guarded, a first contact can't be told from any other, and Argo CD is not told of changes.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

from tenantry.errors import Forbidden, NotFound
from tenantry.kube import Kube
from tenantry.reflector import Reflector
from tenantry.render import RESERVED
from tenantry.resources import APPLICATION_SETS, CONFIG_MAPS
from tenantry_generator.applicationsets import REFRESH, ApplicationSet, Use, read_application_set

__all__ = ["GENERATOR_LABEL", "ApplicationSets"]

GENERATOR_LABEL = "tenantry.dev/generator"

_FIELD_MANAGER = "tenantry-generator"


class ApplicationSets:
    """A Directory kept by two Reflectors. `on_change(name)` is called whenever an ApplicationSet is another."""

    def __init__(self, kube: Kube, *, namespace: str, config_maps: Collection[str], columns: Sequence[str]) -> None:
        keys = RESERVED | set(columns)
        self._kube = kube
        self._namespace = namespace
        self._config_maps = frozenset(config_maps)
        self.on_change: Callable[[str], None] = lambda _: None
        self._sets = Reflector(
            kube,
            APPLICATION_SETS,
            namespace=namespace,
            transform=lambda body: read_application_set(body, keys),
            on_change=lambda key, before, after: self.on_change(key[1]),
        )
        self._maps = Reflector(
            kube,
            CONFIG_MAPS,
            namespace=namespace,
            label_selector=f"{GENERATOR_LABEL}=true",
            transform=lambda body: str(body["metadata"]["name"]),
        )

    async def run(self) -> None:
        """Follow them for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sets.run())
            tasks.create_task(self._maps.run())

    @property
    def caches(self) -> tuple[Reflector[Any], ...]:
        """The caches to be measured: without Argo CD, or the right to read it, there is nothing to be heard."""
        return tuple(cache for cache in (self._sets, self._maps) if cache.synced.is_set())

    @property
    def settled(self) -> bool:
        """Whether they have been listed, or the API server has said that they can't be."""
        return self._sets.synced.is_set() or isinstance(self._sets.error, Forbidden | NotFound)

    @property
    def behind(self) -> bool:
        """Whether they were listed and can't be read at present, so that new ones may be missing and others be old."""
        error = self._sets.error
        return self._sets.synced.is_set() and error is not None and not isinstance(error, Forbidden | NotFound)

    @property
    def synced(self) -> bool:
        """Whether it is known which there are, and which of them ask here as far as this may be known."""
        return self._sets.synced.is_set() and (self._maps.synced.is_set() or isinstance(self._maps.error, Forbidden))

    @property
    def forbidden(self) -> bool:
        """Whether they may not be read."""
        return not self._sets.synced.is_set() and isinstance(self._sets.error, Forbidden)

    def asking(self) -> list[tuple[ApplicationSet, Sequence[Use]]]:
        """Return the ApplicationSets of which a generator names a ConfigMap of ours, each with those generators."""
        ours = self._ours
        return [(found, uses) for found in self._sets.items.values() if (uses := found.asks(ours))]

    def names(self) -> frozenset[str]:
        """Return the names of those that ask here."""
        return frozenset(found.name for found, _ in self.asking())

    def annotation(self, name: str) -> str | None:
        """Return what the annotation REFRESH of an ApplicationSet holds, "" without one; None: there is no such set."""
        found = self._sets.items.get((self._namespace, name))
        return None if found is None else found.refresh

    async def refresh(self, name: str, value: str) -> None:
        """Annotate an ApplicationSet; afterwards `annotation` is what it was after that write or later. KubeError."""
        patch = {"metadata": {"annotations": {REFRESH: value}}}
        body = await self._kube.merge_patch(
            APPLICATION_SETS, name, patch, self._namespace, field_manager=_FIELD_MANAGER
        )
        self._sets.absorb(body)

    def find(self, name: str) -> tuple[ApplicationSet, Sequence[Use]] | None:
        """Return an ApplicationSet and its generators that ask here; None when it is not known whether there is one.

        One that asks is known to: if none of its generators names a ConfigMap of ours, any of them may be it.
        """
        found = self._sets.items.get((self._namespace, name))
        if found is None or not self._sets.synced.is_set():
            return None
        return found, found.asks(self._ours) or found.uses

    @property
    def _ours(self) -> frozenset[str]:
        return self._config_maps | {key for _, key in self._maps.items}
