"""A request to the Kubernetes API, in the words that Kubernetes has for it, with what became of it.

client-go's RequestInfo: a POST of an object is a create, a GET of a collection a list, a PATCH of the right content
type an apply. Rules and oracles of fault cases are written in these words and not in methods and paths.
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.support.kube_fates import Fate, Pass

__all__ = ["Exchange", "Target", "target_of"]

_WRITES = {"create", "update", "patch", "apply", "delete", "deletecollection"}
_APPLY = "application/apply-patch+yaml"
_OF_NAMESPACES = {"status", "finalize"}


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about. `resource` is the plural with its group, "" for a path that is no resource's.

    A Namespace is a cluster-scoped object here: it has a name and no namespace.
    """

    verb: str
    resource: str
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None


@dataclass(slots=True)
class Exchange:
    """One request, numbered from 1 in the order of arrival, and the answer.

    `status` is None as long as nobody has answered, and for good if nobody does. `delivered` says that all of the
    answer was written to the connection; that somebody has read it, nobody knows.
    """

    number: int
    target: Target
    query: Mapping[str, str]
    body: Any
    agent: str
    at: float
    fate: Fate = field(default_factory=Pass)
    status: int | None = None
    delivered: bool = False
    raw: bytes = b""

    @property
    def verb(self) -> str:
        """As Kubernetes says it: get, list, watch, create, update, patch, apply, delete, deletecollection."""
        return self.target.verb

    @property
    def resource(self) -> str:
        """The plural, with its group if that is not the core one: `tenants.tenantry.dev`."""
        return self.target.resource

    @property
    def namespace(self) -> str | None:
        """The namespace that the object is in."""
        return self.target.namespace

    @property
    def name(self) -> str | None:
        """The object's name."""
        return self.target.name

    @property
    def subresource(self) -> str | None:
        """As `status`."""
        return self.target.subresource

    @property
    def is_write(self) -> bool:
        """Whether this is meant to change something."""
        return self.verb in _WRITES and self.query.get("dryRun") is None

    @property
    def committed(self) -> bool:
        """Whether the API server has said that the write is done."""
        return self.is_write and self.status is not None and 200 <= self.status < 300

    @property
    def answer(self) -> Any:
        """The answer's JSON; None if there was none, and for a watch."""
        if not self.raw:
            return None
        return json.loads(gzip.decompress(self.raw) if self.raw[:2] == b"\x1f\x8b" else self.raw)

    def __str__(self) -> str:
        where = "/".join(part for part in (self.namespace, self.name, self.subresource) if part)
        fate = "" if isinstance(self.fate, Pass) else f" [{self.fate}]"
        return f"#{self.number} {self.verb} {self.resource} {where} -> {self.status or 'nothing'}{fate}"


def target_of(method: str, path: str, *, query: Mapping[str, str], content_type: str, body: Any) -> Target:
    """Return what a request is about; `path` is as it was sent, without the query."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        group, rest = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return Target(method.lower(), "")
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _OF_NAMESPACES:
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = (*rest, None, None)[:3]
    if name is None and method == "POST" and isinstance(body, dict):
        name = body.get("metadata", {}).get("name")
    verb = _verb(method, query, content_type, collection=len(rest) == 1)
    return Target(verb, f"{resource}.{group}" if group else str(resource), namespace, name, subresource)


def _verb(method: str, query: Mapping[str, str], content_type: str, *, collection: bool) -> str:
    match method:
        case "POST":
            return "create"
        case "PUT":
            return "update"
        case "PATCH":
            return "apply" if content_type.startswith(_APPLY) else "patch"
        case "DELETE":
            return "deletecollection" if collection else "delete"
        case _ if query.get("watch") in {"true", "1"}:
            return "watch"
        case _:
            return "list" if collection else "get"
