"""Every field of the CRDs that can hold a value, found in the YAML itself, so that none can be forgotten.

A leaf is a scalar, a map, a list or free-form JSON; what is inside the objects of a list is a leaf of its own besides.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tenantry.names import GROUP

__all__ = ["LENT", "Leaf", "breaches", "class_leaves", "tenant_leaves"]

_CRDS = Path(__file__).parents[3] / "crds"
LENT = ("defaults", "overrides")
"""The parts of a TenantClass that hold a Tenant's own leaves."""

_WRONG_TYPE: Mapping[str, Any] = {"string": 7, "boolean": "yes", "integer": "many", "array": "one", "object": "one"}
_UNLIKELY = ("\u0001", "Upper Case!", "a b", "-", "")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field: its path under spec, `[]` for the entries of a list, its schema, and whether it must be there."""

    path: str
    schema: Mapping[str, Any]
    required: bool


@dataclass(frozen=True, slots=True)
class Breach:
    """A value that the schema forbids by one of its keywords, and words of the API server's refusal."""

    keyword: str
    value: Any
    says: str


def tenant_leaves() -> dict[str, Leaf]:
    """Return the leaves of a Tenant's spec, by path."""
    return {leaf.path: leaf for leaf in _walk(_spec("tenants"), "", required=False)}


def class_leaves() -> dict[str, Leaf]:
    """Return the leaves of a TenantClass's spec, by path, those that it lends included."""
    return {leaf.path: leaf for leaf in _walk(_spec("tenantclasses"), "", required=False)}


def breaches(leaf: Leaf, example: Any) -> Iterator[Breach]:
    """Yield a value for each keyword of the leaf's schema that forbids one. `example`: an accepted value."""
    schema = leaf.schema
    yield Breach("type", _WRONG_TYPE[schema["type"]], f"must be of type {schema['type']}")
    for keyword, limit in schema.items():
        match keyword:
            case "enum":
                yield Breach(keyword, "no-such", "Unsupported value")
            case "maxLength":
                yield Breach(keyword, "a" * (limit + 1), "Too long")
            case "minLength":
                yield Breach(keyword, "", "should be at least")
            case "pattern":
                yield Breach(keyword, _mismatch(limit), "should match")
            case "minimum":
                yield Breach(keyword, limit - 1, "greater than or equal to")
            case "maximum":
                yield Breach(keyword, limit + 1, "less than or equal to")
            case "maxItems":
                yield Breach(keyword, [example[0]] * (limit + 1), "Too many")
            case "minItems":
                yield Breach(keyword, [], "should have at least")
            case "maxProperties":
                (value, *_) = example.values() if example else ("x",)
                yield Breach(keyword, {f"example.com/k{index}": value for index in range(limit + 1)}, "Too many")


def _mismatch(pattern: str) -> str:
    found = re.compile(pattern.replace("[:cntrl:]", r"\x00-\x1f\x7f"))
    return next(text for text in _UNLIKELY if found.search(text) is None)


def _spec(plural: str) -> Mapping[str, Any]:
    crd = yaml.safe_load((_CRDS / f"{GROUP}_{plural}.yaml").read_text())
    (version,) = crd["spec"]["versions"]
    schema: Mapping[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def _walk(schema: Mapping[str, Any], path: str, *, required: bool) -> Iterator[Leaf]:
    inner = schema.get("properties", {})
    if path and (not inner or "x-kubernetes-preserve-unknown-fields" in schema):
        yield Leaf(path, schema, required)
    for name, each in inner.items():
        yield from _walk(each, f"{path}.{name}" if path else name, required=name in schema.get("required", ()))
    if "properties" in schema.get("items", {}):
        yield from _walk(schema["items"], f"{path}[]", required=False)
