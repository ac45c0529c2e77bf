"""What `input.parameters` may hold, checked to the last key.

A parameter that is not understood must not be passed over: the answer would then be another one than was asked for, and
Argo CD deletes the Applications of whoever is not in it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenantry.render import FIXED, INPUTS, STATUS
from tenantry_generator.errors import Refused
from tenantry_generator.expand import CLUSTER_KEY, IN_CLUSTER, Expansion
from tenantry_generator.query import Query
from tenantry_generator.selector import EVERYTHING, parse_label_selector, parse_selector
from tenantry_generator.shard import MOST_SHARDS, Shard
from tenantry_generator.traits import text_of

__all__ = ["Accepted", "accepted_parameters", "parse_query"]

_SCALARS = ("tenant", "name", "displayName", STATUS, "state", "class", "source", "project", "namespace")
_SHOWN = 64
_TENANT, _NAMESPACE = "tenant", "namespace"
_HINTS = {
    "clusterEndpoint": "a request can't say where a cluster is; name one of TENANTRY_CLUSTERS_DIR under cluster",
    "useLocalCA": "the CA of a cluster is in its kubeconfig in TENANTRY_CLUSTERS_DIR",
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the configuration lets be asked for: `scalars` to filter by, and every key of an element."""

    scalars: tuple[str, ...]
    keys: tuple[str, ...]


def accepted_parameters(columns: Sequence[str], keys: Sequence[str] = ()) -> Accepted:
    """Return what is accepted when `columns`, and `keys` out of the classes' schemas, are keys of the answer too."""
    further = tuple(dict.fromkeys(column for column in (*columns, *keys) if column != STATUS))
    return Accepted(scalars=(*_SCALARS, *further), keys=(*FIXED, *further, CLUSTER_KEY))


def parse_query(parameters: Mapping[str, Any], accepted: Accepted) -> Query:
    """Return what `input.parameters` ask for. Refused: 400, with what is accepted."""
    wanted: dict[str, frozenset[str]] = {}
    for key, value in parameters.items():
        if key in accepted.scalars:
            wanted[key] = _choices(key, value)
        elif key not in INPUTS:
            known = ", ".join((*accepted.scalars, *INPUTS))
            hint = f" ({_HINTS[key]})" if key in _HINTS else ""
            raise Refused(400, f"input.parameters: unknown parameter {_quote(key)}{hint}; accepted are {known}")
    selector = parameters.get("selector", {})
    return Query(
        wanted,
        selector=parse_selector(selector, "input.parameters.selector"),
        shard=_shard(parameters["shard"]) if "shard" in parameters else None,
        fields=_fields(parameters["fields"], accepted) if "fields" in parameters else None,
        expansion=_expansion(parameters),
        fail_on_empty="failOnEmpty" in parameters and _boolean("failOnEmpty", parameters["failOnEmpty"]),
    )


def _choices(key: str, value: object) -> frozenset[str]:
    choices: list[Any] = value if isinstance(value, list) else [value]
    if not choices or not all(isinstance(choice, str | bool) for choice in choices):
        message = f"input.parameters: {key} must be a string, a number, true, false, or a list of at least one of them"
        raise Refused(400, message)
    return frozenset(text_of(choice) for choice in choices)


def _expansion(parameters: Mapping[str, Any]) -> Expansion | None:
    """Return what to expand; what only makes sense of namespaces asks for them by itself."""
    implied = _NAMESPACE if parameters.keys() & {"labelSelector", CLUSTER_KEY} else _TENANT
    to = parameters.get("expand", implied)
    if to not in (_TENANT, _NAMESPACE):
        raise Refused(400, f"input.parameters: expand must be {_TENANT} or {_NAMESPACE}")
    if to == _TENANT:
        if implied == _NAMESPACE:
            raise Refused(400, "input.parameters: labelSelector and cluster go with expand: namespace only")
        return None
    cluster = parameters.get(CLUSTER_KEY, IN_CLUSTER)
    if not isinstance(cluster, str) or not cluster:
        raise Refused(400, "input.parameters: cluster must be the name of one cluster")
    selector = EVERYTHING
    if "labelSelector" in parameters:
        selector = parse_label_selector(parameters["labelSelector"], "input.parameters.labelSelector")
    return Expansion(cluster, selector)


def _fields(value: object, accepted: Accepted) -> frozenset[str]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise Refused(400, "input.parameters: fields must be a list of at least one key")
    for each in value:
        if each not in accepted.keys:
            raise Refused(
                400, f"input.parameters: fields: unknown key {_quote(each)}; accepted are {', '.join(accepted.keys)}"
            )
    return frozenset(value)


def _shard(value: object) -> Shard:
    if isinstance(value, dict) and value.keys() == {"index", "count"}:
        index, count = _number(value["index"]), _number(value["count"])
        if index is not None and count is not None and index < count <= MOST_SHARDS:
            return Shard(index, count)
    message = f"count from 1 to {MOST_SHARDS}, and index from 0 and less than count"
    raise Refused(400, f"input.parameters: shard must be an object with {message}")


def _number(value: object) -> int | None:
    """Return a whole number; numbers come as the text that they were sent as, or that a template made of them."""
    short = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 4
    return int(str(value)) if short else None


def _boolean(key: str, value: object) -> bool:
    text = text_of(value) if isinstance(value, str | bool) else ""  # Argo CD's templates make texts
    if text not in ("true", "false"):
        raise Refused(400, f"input.parameters: {key} must be true or false")
    return text == "true"


def _quote(text: str) -> str:
    return json.dumps(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…", ensure_ascii=False)
