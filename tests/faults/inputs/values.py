"""The table of values of every leaf, held against the CRDs: a leaf without a row, or a row without a leaf, is an error.

The table is YAML, as most of it is; how it is written is said there.
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.faults.inputs.leaves import LENT, Leaf, breaches, class_leaves, tenant_leaves

__all__ = ["ABSENT", "Invalid", "Row", "class_rows", "named", "tenant_rows", "with_value"]

_HERE = Path(__file__).parent
_NAME = "NAME"
_NAME_LENGTH = 7
_NUMBER = "{n}"
ABSENT = "absent"
_FEWEST = 3

Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Invalid:
    """A spec that the API server is to refuse, and words of the refusal."""

    spec: Spec
    says: str


@dataclass(frozen=True, slots=True)
class Row:
    """A leaf with its values: specs by the value's name, NAME in them standing for the tenant's.

    `around`: the spec without the leaf. `default`: the name of the value that absence means. `invalid`: by the keyword
    that forbids it. The rest is as the table says.
    """

    leaf: str
    around: Spec
    values: Mapping[str, Spec]
    invalid: Mapping[str, Invalid]
    default: str = ""
    tenant: Spec = field(default_factory=dict)
    unseen: str = ""
    fixed: str = ""
    kept: bool = False
    alike: bool = False
    offered: bool = False
    deleted: bool = False
    heavy: bool = False


@cache
def tenant_rows() -> Mapping[str, Row]:
    """Return a row for each leaf of a Tenant's spec."""
    return _rows("values.yaml", tenant_leaves())


@cache
def class_rows() -> Mapping[str, Row]:
    """Return a row for each leaf that only a TenantClass has."""
    leaves = class_leaves()
    lent = {f"{part}.{path}" for part in LENT for path in tenant_leaves()}
    return _rows("class_values.yaml", {path: leaf for path, leaf in leaves.items() if path not in lent})


def named(spec: Mapping[str, Any], name: str) -> Spec:
    """Return the spec for the tenant of that name."""
    whole: Spec = json.loads(json.dumps(spec).replace(_NAME, name))
    return whole


def with_value(spec: Spec, row: Row, value: str) -> Spec:
    """Return the spec with that value of a leaf that is in no list, whatever it had there."""
    held: Any = row.values[value]
    for step in row.leaf.split("."):
        if step not in held:
            return _put(spec, row.leaf)
        held = held[step]
    return _put(spec, row.leaf, held)


def _rows(file: str, leaves: Mapping[str, Leaf]) -> Mapping[str, Row]:
    table = yaml.safe_load((_HERE / file).read_text())
    if missing := leaves.keys() - table.keys():
        raise AssertionError(f"{file} has no values for {', '.join(sorted(missing))}")
    if surplus := table.keys() - leaves.keys():
        raise AssertionError(f"{file} has values for {', '.join(sorted(surplus))}, which no CRD has")
    return {path: _row(leaf, table[path]) for path, leaf in leaves.items()}


def _row(leaf: Leaf, told: Mapping[str, Any]) -> Row:
    around = _expand(told.get("in", {}))
    texts = {str(number): value for number, value in enumerate(told["values"], 1)}
    texts |= {f"boundary-{number}": value for number, value in enumerate(told.get("boundary", ()), 1)}
    values = {name: _spec(leaf.path, value, around) for name, value in texts.items()}
    invalid = {
        breach.keyword: Invalid(_put(around, leaf.path, breach.value), breach.says)
        for breach in breaches(leaf, next((_expand(value) for value in told["values"] if value), None))
    }
    if leaf.required:
        invalid[ABSENT] = Invalid(_put(around, leaf.path), "Required value")
    elif "absent" in told:
        invalid[ABSENT] = Invalid(_put(around, leaf.path), told["absent"])
    else:
        values = {ABSENT: _put(around, leaf.path), **values}
    if len(values) + len(invalid) < _FEWEST:
        raise AssertionError(f"{leaf.path} has {len(values) + len(invalid)} values; {_FEWEST} are the fewest")
    default = next((name for name, value in texts.items() if value == told["default"]), "") if "default" in told else ""
    flags = {
        key: told[key] for key in ("unseen", "fixed", "kept", "alike", "offered", "deleted", "heavy") if key in told
    }
    return Row(leaf.path, around, values, invalid, default, _expand(told.get("tenant", {})), **flags)


def _spec(path: str, value: Any, around: Spec) -> Spec:
    if isinstance(value, dict) and "$with" in value:
        return _put(_expand(value["$with"]["in"]), path, _expand(value["$with"]["value"]))
    return _put(around, path, _expand(value))


def _put(spec: Spec, path: str, *value: Any) -> Spec:
    """Return a copy of the spec with the value at the path, in the first entry of each list; without one: nothing."""
    whole: Spec = copy.deepcopy(spec)
    *parents, last = list(_steps(path))
    place: Any = whole
    for step in parents:
        if not value and step != "[]" and step not in place:
            return whole
        place = _entry(place) if step == "[]" else place.setdefault(step, [] if f"{step}[]" in path else {})
    if last == "[]":
        place[:] = value
    elif value:
        place[last] = value[0]
    else:
        place.pop(last, None)
    return whole


def _entry(entries: list[Any]) -> Any:
    if not entries:
        entries.append({})
    return entries[0]


def _steps(path: str) -> Iterator[str]:
    for part in path.split("."):
        yield part.removesuffix("[]")
        if part.endswith("[]"):
            yield "[]"


def _expand(value: Any) -> Any:
    match value:
        case {"$many": [count, entry]}:
            return [_expand(_numbered(entry, index)) for index in range(count)]
        case {"$keys": [count, key, held]}:
            return {key.replace(_NUMBER, str(index)): _expand(held) for index in range(count)}
        case {"$text": [length, beginning, *rest]}:
            return _text(length, beginning, rest)
        case dict():
            return {key: _expand(held) for key, held in value.items()}
        case list():
            return [_expand(held) for held in value]
    return value


def _numbered(entry: Any, index: int) -> Any:
    return json.loads(json.dumps(entry).replace(_NUMBER, str(index)))


def _text(length: int, beginning: str, rest: Sequence[str]) -> str:
    filling, end = rest[0], "".join(rest[1:])
    room = length - len(beginning.replace(_NAME, "x" * _NAME_LENGTH)) - len(end)
    return beginning + (filling * length)[:room] + end
