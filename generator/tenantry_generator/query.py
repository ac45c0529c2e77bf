"""What one request asks for, and which elements of the tenants' rows answer it.

An element has a key that tells it from every other of the same answer and stays the same while it is there; by that key
the guard tells that one has left. Two requests of one `key` get the same answer.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from tenantry.render import Row
from tenantry_generator.errors import NotReady
from tenantry_generator.expand import CLUSTER_KEY, Expansion, Places, expand
from tenantry_generator.selector import EVERYTHING, IN, Requirement, Selector
from tenantry_generator.shard import Shard
from tenantry_generator.traits import Condition, KeyTrait, LabelTrait, ShardTrait, choose

__all__ = ["Query"]

_NAMESPACE = "namespace"
_ALWAYS = frozenset({"tenant", "name"})
_ALWAYS_EXPANDED = _ALWAYS | {_NAMESPACE, CLUSTER_KEY}


@dataclass(frozen=True)
class Query:
    """The tenants that have one of the wanted texts under each key of `wanted`, match `selector` and are in `shard`.

    With `expansion`, their namespaces instead, which `bound` must have been told of. `fields` is None for all keys.
    """

    wanted: Mapping[str, frozenset[str]] = field(default_factory=dict)
    selector: Selector = EVERYTHING
    shard: Shard | None = None
    fields: frozenset[str] | None = None
    expansion: Expansion | None = None
    fail_on_empty: bool = False
    places: Places | None = field(default=None, compare=False, repr=False)

    @cached_property
    def key(self) -> str:
        """A text that two queries share when they ask for the same, however they were written."""
        asked = {
            "wanted": {name: sorted(choices) for name, choices in self.wanted.items()},
            "selector": self.selector.key,
            "shard": None if self.shard is None else [self.shard.index, self.shard.count],
            "fields": None if self.fields is None else sorted(self.fields | self._always),
            "cluster": None if self.expansion is None else self.expansion.cluster,
            "labelSelector": None if self.expansion is None else self.expansion.selector.key,
            "failOnEmpty": self.fail_on_empty,
        }
        return json.dumps({name: value for name, value in asked.items() if value}, sort_keys=True)

    def bound(self, places: Places) -> "Query":
        """Return the same query, told which namespaces there are in the cluster that it names."""
        return replace(self, places=places)

    @cached_property
    def of_tenants(self) -> "Query":
        """The query for the tenants alone that this one finds, before it is told how to show them.

        It needs no namespaces, so it can be asked at any time: what leaves it are tenants that no longer match.
        """
        wanted = self.wanted if self.expansion is None else _without_namespace(self.wanted)
        return Query(wanted, self.selector, self.shard)

    def elements(self, rows: Mapping[str, Row]) -> Mapping[str, Row]:
        """Return the elements of the answer by key, in order; `rows` itself when they are all of them.

        NotReady: namespaces are asked for, and it is not known which there are.
        """
        return self.shaped(choose(rows, self.of_tenants._conditions))

    def shaped(self, tenants: Mapping[str, Row]) -> Mapping[str, Row]:
        """Return the elements for `tenants`, those that `of_tenants` finds; `tenants` itself if they are shown whole.

        NotReady as in `elements`.
        """
        found = tenants if self.expansion is None else dict(self._expanded(tenants, self.expansion))
        if self.fields is None:
            return found
        kept = self.fields | self._always
        return {key: {name: row[name] for name in row if name in kept} for key, row in found.items()}

    def require(self, elements: Mapping[str, Row]) -> None:
        """Raise NotReady if the request wants an empty answer to be an error, and this is one."""
        if self.fail_on_empty and not elements:
            raise NotReady("nothing matches the request, and failOnEmpty asks for an error then")

    @property
    def _always(self) -> frozenset[str]:
        return _ALWAYS if self.expansion is None else _ALWAYS_EXPANDED

    def _expanded(self, tenants: Mapping[str, Row], expansion: Expansion) -> Iterator[tuple[str, Row]]:
        if self.places is None:
            raise NotReady(f"the namespaces of the cluster {expansion.cluster} have not been read yet")
        # Under `namespace` such an element has its own, which is compared here and not with its tenant's.
        wanted = self.wanted.get(_NAMESPACE)
        for key, element in expand(tenants.items(), expansion, self.places):
            if wanted is None or element[_NAMESPACE] in wanted:
                yield key, element

    @property
    def _conditions(self) -> list[Condition]:
        found: list[Condition] = [(KeyTrait(key), Requirement(key, IN, each)) for key, each in self.wanted.items()]
        found += [(LabelTrait(each.key), each) for each in self.selector.requirements]
        if self.shard is not None:
            number = frozenset({str(self.shard.index)})
            found.append((ShardTrait(self.shard.count), Requirement("shard", IN, number)))
        return found


def _without_namespace(wanted: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
    return {key: choices for key, choices in wanted.items() if key != _NAMESPACE}
