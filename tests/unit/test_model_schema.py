"""The CRDs and the model are held against each other field by field, and the corpus against every limit of the CRDs."""

import re
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest
import yaml
from annotated_types import MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tenantry.model import Tenant, TenantClass
from tenantry.names import GROUP, VERSION
from tenantry.resources import TENANT_CLASSES, TENANTS

ROOT = Path(__file__).parents[2]
KINDS: dict[str, type[BaseModel]] = {"Tenant": Tenant, "TenantClass": TenantClass}
INVALID = sorted((ROOT / "tests/data/tenants/invalid").glob("*.yaml"))
LIMITS = (
    "maxLength",
    "minLength",
    "pattern",
    "enum",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
)
IDENTITY = {"properties", "items", "additionalProperties", "type", "anyOf", *LIMITS} | {
    f"x-kubernetes-{extension}"
    for extension in ("preserve-unknown-fields", "int-or-string", "list-type", "list-map-keys")
}

Schema = dict[str, Any]


def crd(kind: str) -> dict[str, Any]:
    plural = {"Tenant": "tenants", "TenantClass": "tenantclasses"}[kind]
    loaded: dict[str, Any] = yaml.safe_load((ROOT / f"crds/{GROUP}_{plural}.yaml").read_text())
    return loaded


def schema_of(kind: str) -> Schema:
    (version,) = crd(kind)["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def spec_of(kind: str) -> Schema:
    schema: Schema = schema_of(kind)["properties"]["spec"]
    return schema


def walk(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from walk(schema["additionalProperties"], f"{path}{{}}")


def type_of(schema: Schema) -> str:
    return "string" if "x-kubernetes-int-or-string" in schema else str(schema["type"])


def unwrap(annotation: Any) -> Any:
    """Take `Optional` and `Annotated` off a type."""
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (inner for inner in get_args(annotation) if inner is not type(None))
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation


def model_max_length(field: FieldInfo) -> int | None:
    found = [rule.max_length for rule in field.metadata if isinstance(rule, MaxLen)]
    found += [rule.max_length for rule in field.metadata if getattr(rule, "max_length", None) is not None]
    return min(found, default=None)


def compare(schema: Schema, model: type[BaseModel], path: str) -> Iterator[str]:
    """Yield each difference between an object's schema and its model, in words."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    if set(fields) != set(schema["properties"]):
        yield f"{path}: the CRD has {sorted(schema['properties'])}, the model {sorted(fields)}"
        return
    required = {name for name, field in fields.items() if field.is_required()}
    if required != set(schema.get("required", ())):
        yield f"{path}: the CRD requires {schema.get('required', [])}, the model {sorted(required)}"
    for name, field in fields.items():
        yield from compare_field(schema["properties"][name], field, f"{path}.{name}")


def compare_field(schema: Schema, field: FieldInfo, path: str) -> Iterator[str]:
    kind = unwrap(field.annotation)
    expected = {"string": str, "object": dict, "array": tuple, "integer": int, "boolean": bool}[type_of(schema)]
    inner = unwrap(get_args(kind)[0]) if get_origin(kind) is tuple else None
    actual = get_origin(kind) or kind
    if isinstance(actual, type) and issubclass(actual, BaseModel):
        yield from compare(schema, actual, path)
        actual = dict
    if not (isinstance(actual, type) and issubclass(actual, expected)):
        yield f"{path}: the CRD says {schema['type']}, the model {kind}"
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        yield from compare(schema["items"], inner, f"{path}[]")
    values = [member.value for member in actual] if issubclass(actual, Enum) else None
    if values != schema.get("enum"):
        yield f"{path}: the CRD allows {schema.get('enum')}, the model {values}"
    if "default" in schema and schema["type"] == "string" and field.default != schema["default"]:
        yield f"{path}: the CRD's default is {schema['default']!r}, the model's {field.default!r}"
    if "enum" in schema and "default" not in schema and field.default not in (None, PydanticUndefined):
        yield f"{path}: the model has the default {field.default!r}, the CRD none"
    length = model_max_length(field)
    if length is not None and length != schema["maxLength"]:
        yield f"{path}: at most {schema['maxLength']} characters in the CRD, {length} in the model"


def violations(schema: Schema, value: Any) -> Iterator[tuple[int, str]]:
    """Yield (id of the schema, keyword) for each limit of the schema that the value breaks.

    Schemas that are aliases of each other in the file are one object, so a limit written once is broken once.
    """
    yield from ((id(schema), keyword) for keyword in LIMITS if keyword in schema and breaks(schema, keyword, value))
    if isinstance(value, list) and type_of(schema) == "array":
        for inner in value:
            yield from violations(schema["items"], inner)
    elif isinstance(value, Mapping) and type_of(schema) == "object":
        for name, inner in value.items():
            if name in schema.get("properties", {}):
                yield from violations(schema["properties"][name], inner)
            elif "additionalProperties" in schema:
                yield from violations(schema["additionalProperties"], inner)


def breaks(schema: Schema, keyword: str, value: Any) -> bool:
    limit = schema[keyword]
    match keyword, value:
        case "enum", _:
            return bool(value not in limit)
        case "pattern", str():
            return re.search(limit.replace("[:cntrl:]", r"\x00-\x1f\x7f"), value) is None
        case ("maxLength", str()) | ("maxItems", list()) | ("maxProperties", Mapping()):
            return bool(len(value) > limit)
        case ("minLength", str()) | ("minItems", list()):
            return bool(len(value) < limit)
        case "minimum", int():
            return bool(value < limit)
        case "maximum", int():
            return bool(value > limit)
        case "required", Mapping():
            return not set(limit) <= set(value)
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_has_every_field_of_the_crd_and_no_other(kind: str) -> None:
    spec: Any = KINDS[kind].model_fields["spec"].annotation
    assert not list(compare(spec_of(kind), spec, "spec"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_string_list_and_map_has_a_limit(kind: str) -> None:
    unlimited = []
    for path, schema in walk(schema_of(kind), kind):
        if path in (f"{kind}.apiVersion", f"{kind}.kind", f"{kind}.metadata", f"{kind}.metadata.name"):
            continue
        free = "additionalProperties" in schema or "x-kubernetes-preserve-unknown-fields" in schema
        limit = {
            "string": {"maxLength", "enum", "format"},
            "array": {"maxItems"},
            "object": {"maxProperties"} if free else {"properties"},
        }.get(type_of(schema), {type_of(schema)})
        if type_of(schema) not in ("integer", "boolean") and not limit & set(schema):
            unlimited.append(path)
    assert not unlimited


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_the_spec_is_described(kind: str) -> None:
    assert not [
        path
        for path, schema in walk(spec_of(kind), "spec")
        if not path.endswith(("[]", "{}")) and not schema.get("description", "").strip()
    ]


def test_the_reference_names_every_field_of_a_tenant() -> None:
    reference = (ROOT / "docs/tenant.md").read_text()
    within = "spec.networkPolicies.items[].spec."  # Kubernetes' own
    leaves = [
        path.removeprefix("spec.")
        for path, schema in walk(spec_of("Tenant"), "spec")
        if "properties" not in schema and "items" not in schema and not path.endswith(("[]", "{}"))
        if not path.startswith(within)
    ]
    named = re.findall(r"`(…)?([a-zA-Z.\[\]]+)`", reference)
    assert not [
        leaf for leaf in leaves if not any(leaf.endswith(text) and (cut or leaf == text) for cut, text in named)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_has_a_readable_message_and_a_file_that_breaks_it(kind: str) -> None:
    expected = [path.read_text().splitlines()[0].removeprefix("# expect: ") for path in INVALID]
    rules = [rule for _, schema in walk(schema_of(kind), kind) for rule in schema.get("x-kubernetes-validations", ())]
    transitions = [rule for rule in rules if "oldSelf" in rule["rule"]]
    unbroken = {rule["message"] for rule in rules if not any(part in rule["message"] for part in expected)}
    # A rule about a change needs two objects; tests/integration/test_crds.py has them.
    assert unbroken == {rule["message"] for rule in transitions}


def test_every_limit_has_a_file_that_breaks_it() -> None:
    spec = spec_of("Tenant")
    broken: set[tuple[int, str]] = set()
    for body in (yaml.safe_load(path.read_text()) for path in INVALID):
        if body["kind"] == "Tenant":
            broken |= set(violations(spec, body.get("spec", {})))
    assert not [
        f"{path}: {keyword}"
        for path, schema in walk(spec, "spec")
        for keyword in LIMITS
        if schema.get(keyword) is not None and (id(schema), keyword) not in broken
    ]


def test_a_class_lends_fields_exactly_as_a_tenant_has_them() -> None:
    def bare(schema: Schema) -> Schema:
        kept = {key: value for key, value in schema.items() if key in IDENTITY}
        for key in ("items", "additionalProperties"):
            if key in kept:
                kept[key] = bare(kept[key])
        kept["properties"] = {name: bare(inner) for name, inner in schema.get("properties", {}).items()}
        kept["rules"] = [" ".join(rule["rule"].split()) for rule in schema.get("x-kubernetes-validations", ())]
        return kept

    tenant, of_class = spec_of("Tenant")["properties"], spec_of("TenantClass")["properties"]
    lent = of_class["defaults"]["properties"]
    assert of_class["overrides"]["properties"] == lent
    assert {name: bare(inner) for name, inner in lent.items()} == {name: bare(tenant[name]) for name in lent}


@pytest.mark.parametrize("resource", [TENANTS, TENANT_CLASSES], ids=lambda resource: resource.kind)
def test_the_crd_serves_what_the_client_asks_for(resource: Any) -> None:
    found = crd(resource.kind)
    (version,) = found["spec"]["versions"]
    names = found["spec"]["names"]
    assert (found["spec"]["group"], version["name"]) == (GROUP, VERSION)
    assert (found["metadata"]["name"], names["kind"]) == (f"{resource.plural}.{GROUP}", resource.kind)
    assert (found["spec"]["scope"], version["subresources"]) == ("Cluster", {"status": {}})
