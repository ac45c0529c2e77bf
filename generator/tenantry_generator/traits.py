"""What tenants are looked for by, so that each block of them can be indexed by it, and how conditions are combined.

An answer with a filter then costs what it holds, and not what there is to choose from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from tenantry.render import Row
from tenantry_generator.blockmap import Block, BlockMap, Mask, Trait
from tenantry_generator.selector import Requirement
from tenantry_generator.shard import shard_of

__all__ = ["Condition", "KeyTrait", "LabelTrait", "ShardTrait", "choose", "text_of"]

Condition = tuple[Trait[Row], Requirement]
"""The requirement is on the text of the trait."""


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

    def accepted(block: Block[Row]) -> Mask:
        found = block.all
        for trait, requirement in conditions:
            if found:
                found &= _accepted(block.index(trait), requirement, block.all)
        return found

    return BlockMap.of(rows).where(accepted)


def text_of(scalar: str | bool) -> str:
    """Return the text by which a value of an element is compared."""
    if isinstance(scalar, bool):
        return "true" if scalar else "false"
    return scalar


def _accepted(index: Mapping[Any, Mask], requirement: Requirement, everything: Mask) -> Mask:
    """Return which entries `Requirement.accepts`."""
    match requirement.operator:
        case "In":
            return _any_of(index, requirement)
        case "NotIn":
            return everything & ~_any_of(index, requirement)
        case "Exists":
            return everything & ~index.get(None, 0)
        case _:
            return index.get(None, 0)


def _any_of(index: Mapping[Any, Mask], requirement: Requirement) -> Mask:
    return reduce(or_, (index.get(value, 0) for value in requirement.values), 0)
