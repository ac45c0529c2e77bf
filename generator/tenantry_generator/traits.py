"""What tenants are looked for by, so that each block of them can be indexed by it, and how conditions are combined.

An answer with a filter then costs what it holds, and not what there is to choose from.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from tenantry.render import Row
from tenantry_generator.block import Block, Mask, Trait
from tenantry_generator.blockmap import BlockMap
from tenantry_generator.selector import Requirement
from tenantry_generator.shard import shard_of

__all__ = ["Condition", "KeyTrait", "LabelTrait", "ShardTrait", "choose", "text_of"]

Condition = tuple[Trait[Row], Requirement]
"""The requirement is on the text of the trait."""
_Index = Mapping[str | None, Mask]
"""A block's entries by the text that a trait gives them."""


@dataclass(frozen=True, slots=True)
class KeyTrait:
    """The value of a top-level key, if it is a scalar: a key of a schema may hold a list or a map."""

    key: str

    def of(self, key: str, value: Row) -> str | None:
        """Return the text of the value."""
        found = value[self.key]
        return text_of(found) if isinstance(found, str | bool) else None


@dataclass(frozen=True, slots=True)
class LabelTrait:
    """A label of the tenant."""

    label: str

    def of(self, key: str, value: Row) -> str | None:
        """Return the label's value."""
        labels: Mapping[str, str] = value["labels"]
        return labels.get(self.label)


@dataclass(frozen=True, slots=True)
class ShardTrait:
    """The shard, of `count`, that the tenant belongs to."""

    count: int

    def of(self, key: str, value: Row) -> str | None:
        """Return its number."""
        return str(shard_of(key, self.count))


def choose(rows: Mapping[str, Row], conditions: Sequence[Condition]) -> Mapping[str, Row]:
    """Return in order the rows that satisfy every condition: `rows` itself without any."""
    if not conditions:
        return rows

    tests = [(trait, _test(requirement)) for trait, requirement in conditions]

    def accepted(block: Block[Row]) -> Mask:
        found = block.all
        for trait, test in tests:
            if found:
                found &= test(block.index(trait), block.all)
        return found

    return BlockMap.of(rows).where(accepted)


def text_of(scalar: str | bool) -> str:
    """Return the text by which a value of an element is compared."""
    if isinstance(scalar, bool):
        return "true" if scalar else "false"
    return scalar


def _test(requirement: Requirement) -> Callable[[_Index, Mask], Mask]:
    """Return what picks the entries that `Requirement.accepts` out of an index, and out of all entries."""
    values = tuple(requirement.values)
    match requirement.operator:
        case "In" if len(values) == 1:
            only = values[0]  # as most filters are; it takes a tenth off their answers
            return lambda index, everything: index.get(only, 0)
        case "In":
            return lambda index, everything: _any_of(index, values)
        case "NotIn":
            return lambda index, everything: everything & ~_any_of(index, values)
        case "Exists":
            return lambda index, everything: everything & ~index.get(None, 0)
        case _:
            return lambda index, everything: index.get(None, 0)


def _any_of(index: _Index, values: Iterable[str]) -> Mask:
    return reduce(or_, (index.get(value, 0) for value in values), 0)
