"""The `selector` of a generator, by Argo CD's rules: the parameters are flattened to dotted keys and texts first."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenantry.render import Row
from tenantry_generator.selector import OPERATORS, Requirement
from tenantry_generator.traits import choose

__all__ = ["Selector", "read_selector", "select"]

_ADDED_BY_ARGO_CD = ("generator.", "values.")


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold. `body` is the selector as the ApplicationSet has it."""

    body: Mapping[str, Any] = field(compare=False)
    requirements: tuple[Requirement, ...]

    @property
    def key(self) -> str:
        """A text that two selectors share when they ask for the same."""
        return json.dumps(sorted([each.key, each.operator, sorted(each.values)] for each in self.requirements))

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Whether Argo CD would keep the element."""
        return all(each.accepts(_text_at(row, each.key)) for each in self.requirements)


@dataclass(frozen=True, slots=True)
class _LeafTrait:
    path: str

    def of(self, key: str, value: Row) -> str | None:
        return _text_at(value, self.path)


def read_selector(body: object) -> Selector | None:
    """Return the selector; None when there is none, or one that looks at what Argo CD adds and so can't be known here.

    A selector that Argo CD would refuse is None too: with it no Application is changed.
    """
    if not isinstance(body, Mapping):
        return None
    labels = body.get("matchLabels") or {}
    found = [Requirement(key, "In", frozenset([str(value)])) for key, value in labels.items()]
    for each in body.get("matchExpressions") or []:
        values = frozenset(map(str, each.get("values") or []))
        found.append(Requirement(str(each.get("key")), str(each.get("operator")), values))
    known = all(each.operator in OPERATORS and not each.key.startswith(_ADDED_BY_ARGO_CD) for each in found)
    return Selector(dict(body), tuple(found)) if found and known else None


def select(selector: Selector | None, elements: Mapping[str, Row]) -> Mapping[str, Row]:
    """Return those of `elements`, by key, that Argo CD would keep, in order; all without a selector."""
    if selector is None:
        return elements
    return choose(elements, [(_LeafTrait(each.key), each) for each in selector.requirements])


def _text_at(value: Any, path: str) -> str | None:
    """Return the text of the leaf at a dotted path, whose keys may hold dots themselves; None when there is none."""
    if isinstance(value, Mapping):
        found = (_text_at(value[key], rest) for key, rest in _ways(value, path))
        return next((text for text in found if text is not None), None)
    if isinstance(value, list):
        head, _, rest = path.partition(".")
        return _text_at(value[int(head)], rest) if head.isdecimal() and int(head) < len(value) else None
    if path:
        return None
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _ways(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    if not path:
        return
    if path in value:
        yield path, ""
    end = path.find(".")
    while end != -1:
        if path[:end] in value and isinstance(value[path[:end]], Mapping | list):
            yield path[:end], path[end + 1 :]
        end = path.find(".", end + 1)
