"""What one request asks for, and which elements of the tenants' rows answer it.

An element has a key that tells it from every other of the same answer and stays the same while it is there; by that key
the guard tells that one has left. Two requests of one `key` get the same answer.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from tenantry.render import Row
from tenantry_generator.errors import NotReady
from tenantry_generator.expand import CLUSTER_KEY, Expansion, Places, expand
from tenantry_generator.selector import EVERYTHING, Selector
from tenantry_generator.shard import Shard

__all__ = ["Query", "text_of"]

_ALWAYS = frozenset({"tenant", "name"})
_ALWAYS_EXPANDED = _ALWAYS | {"namespace", CLUSTER_KEY}


@dataclass(frozen=True, slots=True)
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

    @property
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

    def elements(self, rows: Mapping[str, Row]) -> Mapping[str, Row]:
        """Return the elements of the answer by key, in order; `rows` itself when they are all of them.

        NotReady: namespaces are asked for, and it is not known which there are.
        """
        found = self._found(rows)
        if self.fields is not None:
            kept = self.fields | self._always
            return {key: {name: row[name] for name in row if name in kept} for key, row in found}
        return rows if self._is_everything else dict(found)

    def require(self, elements: Mapping[str, Row]) -> None:
        """Raise NotReady if the request wants an empty answer to be an error, and this is one."""
        if self.fail_on_empty and not elements:
            raise NotReady("nothing matches the request, and failOnEmpty asks for an error then")

    @property
    def _always(self) -> frozenset[str]:
        return _ALWAYS if self.expansion is None else _ALWAYS_EXPANDED

    @property
    def _is_everything(self) -> bool:
        narrowed = self.wanted or self.selector.requirements or self.shard
        return not narrowed and self.expansion is None

    def _found(self, rows: Mapping[str, Row]) -> Iterator[tuple[str, Row]]:
        if self.expansion is None:
            yield from self._tenants(rows, self.wanted)
            return
        if self.places is None:
            raise NotReady(f"the namespaces of the cluster {self.expansion.cluster} have not been read yet")
        # Under `namespace` an expanded element has its own, so that one is compared last.
        of_tenant = {key: choices for key, choices in self.wanted.items() if key != "namespace"}
        wanted = self.wanted.get("namespace")
        for key, element in expand(self._tenants(rows, of_tenant), self.expansion, self.places):
            if wanted is None or element["namespace"] in wanted:
                yield key, element

    def _tenants(self, rows: Mapping[str, Row], wanted: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, Row]]:
        conditions = tuple(wanted.items())
        selector = self.selector if self.selector.requirements else None
        for name, row in rows.items():
            if self.shard is not None and not self.shard.has(name):
                continue
            if selector is not None and not selector.matches(row["labels"]):
                continue
            if all(text_of(row[key]) in choices for key, choices in conditions):
                yield name, row


def text_of(scalar: str | bool) -> str:
    """Return the text by which a value of an element is compared."""
    if isinstance(scalar, bool):
        return "true" if scalar else "false"
    return scalar
