"""What a request asks for by the documentation of the generator, told without any of its code.

Told from the elements of an unfiltered answer and the namespaces that there are. A shard is learned: which tenants it
has is the generator's to choose, but never anew.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.family import Broken

__all__ = ["Space", "Truth"]

Element = Mapping[str, Any]

_INPUTS = {"selector", "shard", "expand", "cluster", "labelSelector", "fields", "failOnEmpty"}
_ALWAYS = {"tenant", "name"}


@dataclass(frozen=True, slots=True)
class Space:
    """A namespace of a tenant."""

    name: str
    tenant: str
    labels: Mapping[str, str]


@dataclass(slots=True)
class Truth:
    """Everything that there is, which must not change while answers are checked against it."""

    elements: Sequence[Element]
    spaces: Sequence[Space]
    _shards: dict[tuple[int, int], frozenset[str]] = field(default_factory=dict)

    def check(self, body: bytes, answered: Sequence[Element]) -> None:
        """Raise Broken unless `answered` is exactly what a request of this body asks for."""
        parameters = _parameters(body)
        tenants = [each for each in self.elements if _wanted(parameters, each)]
        if "shard" in parameters:
            tenants = self._sharded(parameters, tenants, answered)
        elements = list(self._spaces(parameters, tenants)) if _expands(parameters) else tenants
        if "fields" in parameters:
            kept = {*parameters["fields"], *_ALWAYS, *({"namespace", "cluster"} if _expands(parameters) else ())}
            elements = [{key: each[key] for key in each if key in kept} for each in elements]
        if list(answered) != list(elements):
            raise Broken(
                f"the answer is not what the request asks for: it has {_names(answered)}, asked for are "
                f"{_names(elements)}; the request: {body[:500]!r}"
            )
        if not elements and _true(parameters.get("failOnEmpty", False)):
            raise Broken(f"an empty answer where failOnEmpty asks for an error: {body[:500]!r}")

    def _sharded(self, parameters: Element, tenants: list[Element], answered: Sequence[Element]) -> list[Element]:
        """Return those of `tenants` that are in the shard, as far as it is known; what is new in it is learned."""
        index, count = (int(parameters["shard"][key]) for key in ("index", "count"))
        named = {str(each["name"]) for each in tenants}
        found = {str(each["name"]) for each in answered} & named
        if _expands(parameters):  # a tenant without namespaces shows nothing of its shard
            return [each for each in tenants if each["name"] in found]
        if len(named) == len(self.elements):
            known = self._shards.setdefault((index, count), frozenset(found))
            others = {name for (i, n), names in self._shards.items() if n == count and i != index for name in names}
            if known & others:
                raise Broken(f"{sorted(known & others)} are in two shards of {count}")
        known = self._shards.get((index, count), frozenset(found))
        return [each for each in tenants if each["name"] in known]

    def _spaces(self, parameters: Element, tenants: Iterable[Element]) -> Iterator[Element]:
        wanted = _choices(parameters["namespace"]) if "namespace" in parameters else None
        for each in tenants:
            for space in self.spaces:
                fits = wanted is None or space.name in wanted
                if space.tenant == each["name"] and fits and _selects(parameters.get("labelSelector"), space.labels):
                    yield {**each, "namespace": space.name, "cluster": parameters.get("cluster", "in-cluster")}


def _parameters(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    document = json.loads(body.decode(), parse_int=str, parse_float=str)
    return (document.get("input") or {}).get("parameters") or {}


def _expands(parameters: Element) -> bool:
    implied = "namespace" if {"labelSelector", "cluster"} & parameters.keys() else "tenant"
    return bool(parameters.get("expand", implied) == "namespace")


def _wanted(parameters: Element, element: Element) -> bool:
    filters = parameters.keys() - _INPUTS - ({"namespace"} if _expands(parameters) else set())
    if any(_text(element[key]) not in _choices(parameters[key]) for key in filters):
        return False
    return _selects(parameters.get("selector"), element["labels"])


def _choices(value: Any) -> set[str | None]:
    return {_text(each) for each in (value if isinstance(value, list) else [value])}


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else None


def _true(value: Any) -> bool:
    return _text(value) == "true"


def _selects(selector: Any, labels: Mapping[str, str]) -> bool:
    if isinstance(selector, str):
        return all(_holds(part.strip(), labels) for part in selector.split(",") if part.strip())
    selector = selector or {}
    if not selector.keys() & {"matchLabels", "matchExpressions"}:
        selector = {"matchLabels": selector}
    pairs = (selector.get("matchLabels") or {}).items()
    return all(labels.get(key) == value for key, value in pairs) and all(
        _expression(each, labels) for each in selector.get("matchExpressions") or []
    )


def _expression(each: Element, labels: Mapping[str, str]) -> bool:
    value = labels.get(each["key"])
    match each["operator"]:
        case "In":
            return value in each["values"]
        case "NotIn":
            return value not in each["values"]
        case "Exists":
            return value is not None
        case _:
            return value is None


def _holds(condition: str, labels: Mapping[str, str]) -> bool:
    """Whether labels fulfil one of the short conditions that requests are drawn from."""
    if condition.startswith("!"):
        return condition[1:].strip() not in labels
    for sign, equal in (("!=", False), ("==", True), ("=", True)):
        key, found, value = condition.partition(sign)
        if found:
            return (labels.get(key.strip()) == value.strip()) is equal
    return condition in labels


def _names(elements: Iterable[Element]) -> str:
    names = [f"{each.get('name')}/{each['namespace']}" if "cluster" in each else each.get("name") for each in elements]
    return f"{len(names)} elements ({', '.join(map(str, names[:12]))}{', …' if len(names) > 12 else ''})"
