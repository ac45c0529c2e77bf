"""What an ApplicationSet says of us: which of its generators ask here, with what, and how many Applications it owns.

Plugin generators count wherever they stand, also inside matrix and merge. There the number of Applications is a product
or an overlay that can't be told from here, and an input may be templated by the other generator.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tenantry_generator.generator_selector import Selector, read_selector

__all__ = ["REFRESH", "ApplicationSet", "Use", "read_application_set"]

REFRESH = "argocd.argoproj.io/application-set-refresh"
"""The annotation upon which Argo CD asks at once. It takes it away at the end of a reconcile that succeeded."""

_TEMPLATE = "{{"


@dataclass(frozen=True, slots=True)
class Use:
    """One plugin generator. `parameters`: its input with numbers as texts, None if they are templated."""

    config_map: str
    parameters: Mapping[str, Any] | None
    selector: Selector | None

    @property
    def templated(self) -> bool:
        """Whether another generator decides what it asks with, or whom."""
        return self.parameters is None or _TEMPLATE in self.config_map


@dataclass(frozen=True, slots=True)
class ApplicationSet:
    """`owned`: how many Applications it had when it was last reconciled. `plain`: it has plugin generators alone.

    `refresh`: what its annotation REFRESH holds, "" without one.
    """

    name: str
    uid: str
    owned: int
    uses: tuple[Use, ...]
    plain: bool
    refresh: str = ""

    def asks(self, config_maps: Collection[str]) -> "tuple[Use, ...]":
        """Return the generators that name one of these ConfigMaps, or one that can't be known."""
        return tuple(use for use in self.uses if use.config_map in config_maps or _TEMPLATE in use.config_map)


def read_application_set(body: Mapping[str, Any], keys: Collection[str]) -> ApplicationSet:
    """Read an ApplicationSet's JSON. `keys` are the top-level keys of an answer's elements. It does not fail."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    generators = [each for each in spec.get("generators") or [] if isinstance(each, Mapping)]
    owned = max(len(status.get("resources") or []), status.get("resourcesCount") or 0)
    return ApplicationSet(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        owned=owned,
        uses=tuple(_uses(generators, keys, [])),
        plain=bool(generators) and all(isinstance(each.get("plugin"), Mapping) for each in generators),
        refresh=(metadata.get("annotations") or {}).get(REFRESH, ""),
    )


def _uses(generators: Any, keys: Collection[str], outer: list[Mapping[str, Any]]) -> Iterator[Use]:
    for each in generators:
        if not isinstance(each, Mapping):
            continue
        own = each.get("selector")
        selectors = [*outer, own] if isinstance(own, Mapping) else outer
        if isinstance(each.get("plugin"), Mapping):
            yield _use(each["plugin"], selectors, keys, nested=bool(outer))
        for kind in ("matrix", "merge"):
            if isinstance(each.get(kind), Mapping):
                yield from _uses(each[kind].get("generators") or [], keys, selectors)


def _use(plugin: Mapping[str, Any], selectors: list[Mapping[str, Any]], keys: Collection[str], *, nested: bool) -> Use:
    parameters = (plugin.get("input") or {}).get("parameters") or {}
    text = json.dumps(parameters)
    name = (plugin.get("configMapRef") or {}).get("name", "")
    known = None if _TEMPLATE in text else json.loads(text, parse_int=str, parse_float=str)
    return Use(name, known, read_selector(_joined(selectors, keys) if nested else next(iter(selectors), None)))


def _joined(selectors: list[Mapping[str, Any]], keys: Collection[str]) -> dict[str, Any]:
    """Return all selectors around a nested generator as one, as far as they look at our keys."""
    found: list[Mapping[str, Any]] = []
    for selector in selectors:
        labels = selector.get("matchLabels") or {}
        found += [{"key": key, "operator": "In", "values": [value]} for key, value in labels.items()]
        found += selector.get("matchExpressions") or []
    return {"matchExpressions": [each for each in found if str(each.get("key")).split(".")[0] in keys]}
