"""Keeps the record in ConfigMaps of ours, so that a generator on any node finds it and no volume is needed.

One consistent LIST reads it all. Chunks are immutable ConfigMaps. A delete names the version that it means, and a
chunk that is to be used again is touched first: so a delete that was sent long ago takes away nothing that is needed.
"""

import base64
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tenantry.errors import Conflict, KubeError, NotFound
from tenantry.kube import Kube
from tenantry.names import MANAGED_BY, MANAGED_BY_LABEL
from tenantry.resources import CONFIG_MAPS
from tenantry_generator.errors import RecordUnavailable
from tenantry_generator.record.index import INDEX
from tenantry_generator.record.store import Held, Store

__all__ = ["RECORD_LABEL", "configmap_store"]

RECORD_LABEL = "tenantry.dev/record"
"""`index` or `chunk`."""
_TOUCHED = "tenantry.dev/needed-again"
_CONTENT = "content"
_PAGE = 100
_FIELD_MANAGER = "tenantry-generator"


def configmap_store(kube: Kube, *, namespace: str) -> Store:
    """Return the store in `namespace`. The client is the caller's to close; no request is made yet."""
    return Store(_ConfigMaps(kube, namespace))


class _ConfigMaps:
    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace

    async def read(self) -> Mapping[str, Held]:
        with self._translated("reading the record"):
            return {
                body["metadata"]["name"]: _held(body)
                async for page in self._kube.pages(CONFIG_MAPS, self._namespace, RECORD_LABEL, _PAGE)
                for body in page["items"]
            }

    async def index(self) -> Held | None:
        with self._translated(f"reading {INDEX}"):
            try:
                return _held(await self._kube.get(CONFIG_MAPS, INDEX, self._namespace))
            except NotFound:
                return None

    async def swap(self, data: bytes, *, over: str | None) -> str | None:
        content = {"data": {_CONTENT: data.decode()}}
        with self._translated(f"writing {INDEX}"):
            try:
                if over is None:
                    return await self._create(INDEX, "index", content)
                body = {"metadata": {"resourceVersion": over}, **content}
                return _version(await self._patch(INDEX, body))
            except Conflict:
                return None
            except NotFound:
                if over is None:
                    raise  # the namespace
                return None

    async def put(self, name: str, data: bytes) -> str:
        content = {"immutable": True, "binaryData": {_CONTENT: base64.b64encode(data).decode()}}
        with self._translated(f"writing {name}"):
            try:
                return await self._create(name, "chunk", content)
            except Conflict:
                pass
            # A label that was taken away by hand would hide it from the next reader.
            touch = {"labels": {RECORD_LABEL: "chunk"}, "annotations": {_TOUCHED: secrets.token_hex(8)}}
            try:
                there = await self._patch(name, {"metadata": touch})
            except NotFound:
                return await self._create(name, "chunk", content)
            if _held(there).data != data:
                await self._kube.delete(CONFIG_MAPS, name, self._namespace, resource_version=_version(there))
                return await self._create(name, "chunk", content)
            return _version(there)

    async def drop(self, name: str, version: str) -> None:
        with self._translated(f"deleting {name}"):
            try:
                await self._kube.delete(CONFIG_MAPS, name, self._namespace, resource_version=version)
            except (NotFound, Conflict):
                return  # gone, or needed again

    async def close(self) -> None:
        """Nothing is held."""

    async def _create(self, name: str, part: str, content: Mapping[str, Any]) -> str:
        labels = {MANAGED_BY_LABEL: MANAGED_BY, RECORD_LABEL: part}
        body = {"metadata": {"name": name, "namespace": self._namespace, "labels": labels}, **content}
        return _version(await self._kube.create(CONFIG_MAPS, body, self._namespace, field_manager=_FIELD_MANAGER))

    async def _patch(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._kube.merge_patch(CONFIG_MAPS, name, body, self._namespace, field_manager=_FIELD_MANAGER)

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except KubeError as error:
            raise RecordUnavailable(f"{doing} in the namespace {self._namespace}: {error}") from error


def _version(body: Mapping[str, Any]) -> str:
    return str(body["metadata"]["resourceVersion"])


def _held(body: Mapping[str, Any]) -> Held:
    """Return the part that a ConfigMap holds; one that was edited to hold none is empty, which no checksum fits."""
    if (text := (body.get("data") or {}).get(_CONTENT)) is not None:
        return Held(text.encode(), _version(body))
    return Held(base64.b64decode((body.get("binaryData") or {}).get(_CONTENT, "")), _version(body))
