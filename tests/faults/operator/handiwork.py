"""What somebody may do by hand to an object of ours: change or remove any one field that our field manager owns."""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tenantry.names import FIELD_MANAGER

__all__ = ["altered", "owned_paths", "removed", "spelled"]

Path = Sequence[str]
"""The steps of managedFields: f:FIELD, k:{the keys of a list's entry}, v:VALUE of a set."""

_WORDS = ("7", "other", "Archived", "privileged", "Egress", "Pod", "UDP", "Group", "view", "deny", "0 1 * * *", "5m")
"""One of them suits most fields."""


def owned_paths(body: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return every path that our field manager owns and that has nothing below it, in order."""
    found: set[tuple[str, ...]] = set()
    for entry in body["metadata"].get("managedFields", ()):
        if entry["manager"] == FIELD_MANAGER and not entry.get("subresource"):
            found |= set(_leaves(entry["fieldsV1"], ()))
    return sorted(found)


def spelled(path: Path) -> str:
    """Return what a case's name calls the path."""
    return ".".join(step.partition(":")[2] for step in path)


def removed(body: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the object without what is at the path."""
    changed = copy.deepcopy(dict(body))
    place, last = _find(changed, path)
    del place[last]
    return changed


def altered(body: Mapping[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    """Yield the object with something else at the path; the API server may refuse some of them."""
    place, last = _find(copy.deepcopy(dict(body)), path)
    for other in _others(place[last]):
        changed = copy.deepcopy(dict(body))
        place, last = _find(changed, path)
        place[last] = other
        yield changed


def _others(value: Any) -> Iterator[Any]:
    match value:
        case bool():
            yield not value
        case int():
            yield value + 1
        case str():
            yield f"{value}-theirs"
            yield from (other for other in _WORDS if other != value)
        case [{**_first}, *_rest]:
            for other in _others_of_a_map(value[0]):
                yield [other, *value[1:]]
        case [first, *rest]:
            for other in _others(first):
                yield [other, *rest]
            yield [*value, "theirs"]
        case []:
            yield ["theirs"]
            yield [{"group": "*", "kind": "*"}]
        case {**_all}:
            yield from _others_of_a_map(value)


def _others_of_a_map(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key, held in value.items():
        for other in _others(held):
            yield {**value, key: other}
    yield {**value, "theirs": "x"}


def _leaves(fields: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    below = {step: inner for step, inner in fields.items() if step != "."}
    if path and not below:
        yield path
    for step, inner in below.items():
        yield from _leaves(inner, (*path, step))


def _find(body: Any, path: Path) -> tuple[Any, Any]:
    place: Any = None
    key: Any = None
    held = body
    for step in path:
        place, key = held, _key(held, step)
        held = place[key]
    return place, key


def _key(held: Any, step: str) -> Any:
    sort, _, text = step.partition(":")
    if sort == "f":
        return text
    wanted = json.loads(text)
    if sort == "v":
        return held.index(wanted)
    return next(index for index, each in enumerate(held) if wanted.items() <= each.items())
