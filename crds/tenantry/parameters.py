"""A class's schema for the free parameters of its Tenants: checked once, then defaults and verdicts.

A schema is accepted only with keywords that say the same in OpenAPI v3 and in JSON Schema, since a keyword that is
passed over would be a rule that nobody keeps. One that can't be compiled makes its class unusable rather than loose.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import SchemaError

__all__ = ["Schema", "compile_schema"]

_MOST_SCHEMAS = 512
_LONGEST_PATTERN = 256
_LONGEST_MATCHED = 1024
"""Characters of a text that a pattern is tried on: a slow pattern is its author's, but must not meet a novel."""
_MOST_REASONS = 16
_SHOWN = 80

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a map",
    "array": "a list",
}
_RULES = {
    "enum": "one of {}",
    "pattern": f"text of at most {_LONGEST_MATCHED} characters that matches {{}}",
    "minLength": "text of at least {} characters",
    "maxLength": "text of at most {} characters",
    "minimum": "a number of at least {}",
    "maximum": "a number of at most {}",
    "minItems": "a list of at least {} items",
    "maxItems": "a list of at most {} items",
    "uniqueItems": "a list without repetitions",
    "minProperties": "a map of at least {} keys",
    "maxProperties": "a map of at most {} keys",
}
_NESTED = ("properties", "items", "additionalProperties")
_KEYWORDS = frozenset(("type", "title", "description", "required", "default", *_NESTED, *_RULES))
_NOTHING = object()


def _pattern(validator: Any, pattern: str, instance: object, _schema: object) -> Iterator[ValidationError]:
    if isinstance(instance, str) and (len(instance) > _LONGEST_MATCHED or not re.search(pattern, instance)):
        yield ValidationError("does not match")


_Validator: Any = validators.extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema that has been checked."""

    source: Mapping[str, Any]
    _validator: Any

    @property
    def properties(self) -> tuple[str, ...]:
        """The parameters that it describes, at the top level."""
        return tuple(self.source.get("properties", ()))

    def complete(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters with the schema's defaults where they have nothing.

        A map that is missing is made of the defaults inside it, unless it would still lack something required.
        """
        filled: dict[str, Any] = _fill(self.source, dict(parameters))
        return filled

    def problems(self, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """Return a sentence for each field that is not accepted: which, what it holds, what it accepts."""
        errors = sorted(self._validator.iter_errors(parameters), key=lambda error: [str(key) for key in error.path])
        reasons = list(dict.fromkeys(reason for error in errors for reason in _explain(error)))
        more = [f"and {len(reasons) - _MOST_REASONS} more"] if len(reasons) > _MOST_REASONS else []
        return (*reasons[:_MOST_REASONS], *more)


def compile_schema(source: Mapping[str, Any]) -> Schema:
    """Return the schema, ready for use. ValueError: where it can't be used, and why."""
    if source.get("type") != "object":
        raise ValueError("type must be object, as parameters are a map")
    _check(source)
    schema = Schema(source, _Validator(source))
    for where, inner in _walk(source, ""):
        if "default" in inner and not _Validator(inner).is_valid(_default(inner)):
            raise ValueError(f"{where}default {_shorten(inner['default'])} is not accepted by its own schema")
    return schema


def _check(source: Mapping[str, Any]) -> None:
    for count, (where, inner) in enumerate(_walk(source, "")):
        if count == _MOST_SCHEMAS:
            raise ValueError(f"it has more than {_MOST_SCHEMAS} schemas in it")
        if unknown := sorted(set(inner) - _KEYWORDS):
            raise ValueError(f"{where}{unknown[0]} is not supported; supported are {', '.join(sorted(_KEYWORDS))}")
        if not isinstance(inner.get("type", "object"), str) or inner.get("type", "object") not in _TYPES:
            raise ValueError(f"{where}type holds {_shorten(inner['type'])}; it accepts {', '.join(_TYPES)}")
        if (pattern := inner.get("pattern")) is not None:
            _check_pattern(f"{where}pattern", pattern)
    try:
        Draft202012Validator.check_schema(source)
    except SchemaError as error:
        where = ".".join(str(part) for part in error.absolute_path)
        raise ValueError(f"{where or 'it'} can't be used: {error.message[:_SHOWN]}") from None


def _check_pattern(where: str, pattern: object) -> None:
    if not isinstance(pattern, str) or len(pattern) > _LONGEST_PATTERN:
        raise ValueError(f"{where} must be text of at most {_LONGEST_PATTERN} characters")
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise ValueError(f"{where} {pattern!r} is no regular expression: {error}") from None


def _walk(schema: object, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each schema in a schema with its path, which ends in a dot unless it is empty."""
    if not isinstance(schema, Mapping):
        raise ValueError(f"{where.rstrip('.')} must be a schema, a map")
    yield where, schema
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        raise ValueError(f"{where}properties must be a map of schemas")
    for name, inner in properties.items():
        yield from _walk(inner, f"{where}properties.{name}.")
    if "items" in schema:
        yield from _walk(schema["items"], f"{where}items.")
    if not isinstance(schema.get("additionalProperties", True), bool):
        yield from _walk(schema["additionalProperties"], f"{where}additionalProperties.")


def _fill(schema: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, list) and "items" in schema:
        return [_fill(schema["items"], item) for item in value]
    if not isinstance(value, dict):
        return value
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    filled = {}
    for key, held in value.items():
        inner = properties.get(key, others if isinstance(others, Mapping) else {})
        filled[key] = _fill(inner, held)
    for key, inner in properties.items():
        if key not in value and (default := _default(inner)) is not _NOTHING:
            filled[key] = default
    return filled


def _default(schema: Mapping[str, Any]) -> Any:
    if "default" in schema:
        return _fill(schema, copy.deepcopy(schema["default"]))
    if schema.get("type") == "object":
        filled = _fill(schema, {})
        if filled and set(schema.get("required", ())) <= set(filled):
            return filled
    return _NOTHING


def _explain(error: ValidationError) -> Iterator[str]:
    where = ".".join(("parameters", *(str(key) for key in error.absolute_path)))
    rule: Any = error.validator_value
    instance: Any = error.instance
    schema: Any = error.schema
    match error.validator:
        case "required":
            yield from (f"{where}.{name} is missing and has no default" for name in rule if name not in instance)
        case "additionalProperties":
            known = ", ".join(schema.get("properties", ())) or "none"
            extra = [name for name in instance if name not in schema.get("properties", ())]
            yield from (f"{where}.{name} is not known to the class; known are {known}" for name in extra)
        case "type":
            yield f"{where} holds {_shorten(instance)}; it accepts {_TYPES[rule]}"
        case keyword:
            shown = ", ".join(map(str, rule)) if isinstance(rule, list) else rule
            yield f"{where} holds {_shorten(instance)}; it accepts {_RULES[str(keyword)].format(shown)}"


def _shorten(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
