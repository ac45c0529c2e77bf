"""A thin client for the Kubernetes API: dicts in, dicts out, one error tree.

The official client's models cost twice the CPU of a request, its Watch remembers the wrong resourceVersion, and neither
knows bookmarks; so this keeps its credentials and speaks HTTP itself. Every request has a time-out.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from tenantry.credentials import Credentials, load_credentials
from tenantry.errors import Unavailable
from tenantry.jsontext import dump_json, load_json
from tenantry.kube_errors import error_from_response, error_from_status, reason
from tenantry.resources import Resource

__all__ = ["Applied", "Kube"]

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Applied:
    """What server-side apply answered: the object, and whether this request created it."""

    object: dict[str, Any]
    created: bool


class Kube:
    """Requests to one API server over one connection pool.

    Methods raise KubeError: by what the server said, or Unavailable when there was no whole answer in time. `requests`
    counts them by (method, HTTP status); the status is "<error>", client-go's word, when there was no whole answer.
    """

    def __init__(self, credentials: Credentials, *, timeout: float = 30.0, connections: int = 64) -> None:
        self._credentials = credentials
        self.requests: Counter[tuple[str, str]] = Counter()
        self.server = credentials.server
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=10)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ssl=credentials.ssl_context()),
            headers={"User-Agent": "tenantry"},
        )

    @classmethod
    async def connect(cls, kubeconfig: str | None = None) -> Self:
        """Return a client for `kubeconfig`, else $KUBECONFIG, else the pod's ServiceAccount; SettingsError if none.

        No request is made yet.
        """
        return cls(await load_credentials(kubeconfig))

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
        await self._credentials.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> dict[str, Any]:
        """Read one object, from etcd and not from a cache."""
        return (await self._request("GET", resource.path(namespace, name)))[1]

    async def list(
        self, resource: Resource, namespace: str | None = None, label_selector: str | None = None
    ) -> dict[str, Any]:
        """Read a whole collection; the answer has the last page's metadata and every page's items."""
        items: list[dict[str, Any]] = []
        page: dict[str, Any] = {}
        async for page in self.pages(resource, namespace, label_selector):
            items += page["items"]
        return {**page, "items": items}

    async def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        label_selector: str | None = None,
        limit: int = 500,
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield a collection page by page, consistent as of the first page's resourceVersion.

        Gone: the continue token expired; what was read so far must be thrown away.
        """
        query = {"limit": str(limit)}
        if label_selector:
            query["labelSelector"] = label_selector
        while True:
            page = (await self._request("GET", resource.path(namespace), query=query))[1]
            if not isinstance(page.get("items"), list):
                raise Unavailable(f"GET {resource.path(namespace)}: the answer is no list")
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

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
        """Open a watch and give its events after `resource_version`, bookmarks among them, until the server ends it.

        Unavailable after `silence` seconds without a byte: a live API server sends a bookmark about every minute. An
        ERROR event is raised as what its Status says.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        if label_selector:
            query["labelSelector"] = label_selector
        path = resource.path(namespace)
        timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=silence)
        try:
            async with self._session.get(
                self.server + path,
                params=query,
                headers=await self._headers(),
                timeout=timeout,
                proxy=self._credentials.proxy,
            ) as response:
                self.requests["WATCH", str(response.status)] += 1
                if response.status != 200:
                    raise error_from_response(f"WATCH {path}", response, await response.read())
                yield _events(response, path)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.requests["WATCH", "<error>"] += 1
            raise Unavailable(f"WATCH {path}: {reason(error)}") from error

    async def create(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        namespace: str | None = None,
        *,
        field_manager: str | None = None,
    ) -> dict[str, Any]:
        """Create an object. Conflict: one of that name exists."""
        query = {"fieldManager": field_manager} if field_manager else None
        return (await self._request("POST", resource.path(namespace), query=query, body=_whole(resource, body)))[1]

    async def apply(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        field_manager: str,
        force: bool = True,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> Applied:
        """Apply `body` server-side: it holds every field that `field_manager` wants to own.

        An apply that changes nothing keeps the resourceVersion. With `metadata.uid` in the body nothing is created:
        a missing or another object is a Conflict.
        """
        metadata = body["metadata"]
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        path = resource.path(metadata.get("namespace"), metadata["name"], subresource)
        body = _whole(resource, body)
        status, answer = await self._request("PATCH", path, query=query, body=body, content_type=_APPLY)
        return Applied(answer, created=status == 201)

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
        """Apply a JSON merge patch: null removes a field, a list replaces the whole list."""
        query = {"fieldManager": field_manager} if field_manager else None
        path = resource.path(namespace, name, subresource)
        return (await self._request("PATCH", path, query=query, body=patch, content_type=_MERGE))[1]

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None:
        """Delete an object. Conflict: it is no longer the one of `uid` and `resource_version`."""
        wanted = {"uid": uid, "resourceVersion": resource_version}
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if preconditions := {key: value for key, value in wanted.items() if value is not None}:
            body["preconditions"] = preconditions
        await self._request("DELETE", resource.path(namespace, name), body=body)

    async def _headers(self, content_type: str | None = None) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        if authorization := await self._credentials.authorization():
            headers["Authorization"] = authorization
        return headers

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> tuple[int, dict[str, Any]]:
        data = None if body is None else dump_json(body)
        try:
            async with self._session.request(
                method,
                self.server + path,
                params=query,
                data=data,
                headers=await self._headers(content_type if data is not None else None),
                timeout=self._timeout,
                proxy=self._credentials.proxy,
                allow_redirects=False,
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.requests[method, "<error>"] += 1
            raise Unavailable(f"{method} {path}: {reason(error)}") from error
        self.requests[method, str(response.status)] += 1
        if response.status not in (200, 201, 202):
            raise error_from_response(f"{method} {path}", response, raw)
        try:
            answer = load_json(raw)
        except (ValueError, RecursionError) as error:
            raise Unavailable(f"{method} {path}: the answer is no JSON that can be read ({error})") from error
        if not isinstance(answer, dict):
            raise Unavailable(f"{method} {path}: the answer is no object")
        return response.status, answer


def _whole(resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}


async def _events(response: aiohttp.ClientResponse, path: str) -> AsyncIterator[dict[str, Any]]:
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield _event(line, path)
    if rest.strip():
        raise Unavailable(f"WATCH {path}: the stream ended inside an event")


def _event(line: bytes, path: str) -> dict[str, Any]:
    try:
        event = load_json(line)
    except (ValueError, RecursionError) as error:
        raise Unavailable(f"WATCH {path}: an event is no JSON that can be read ({error})") from error
    if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
        raise Unavailable(f"WATCH {path}: an event has no object")
    if event.get("type") == "ERROR":
        raise error_from_status(f"WATCH {path}", event["object"])
    return event
