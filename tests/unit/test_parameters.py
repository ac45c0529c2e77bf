"""A class's schema for parameters: what it fills in, what it does not accept and says, and which schemas are none."""

import re
from typing import Any

import pytest

from tenantry.errors import InvalidTenant
from tenantry.model import parse_class
from tenantry.parameters import compile_schema

CHART = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"replicas": {"type": "integer", "minimum": 1, "default": 2}, "size": {"enum": ["s", "l"]}},
}


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("properties", "parameters", "expected"),
    [
        ({"a": {"default": 1}}, {}, {"a": 1}),
        ({"a": {"default": 1}}, {"a": 2, "b": 3}, {"a": 2, "b": 3}),
        ({"a": {"default": 1}}, {"a": None}, {"a": None}),
        ({"chart": CHART}, {}, {"chart": {"replicas": 2}}),
        ({"chart": CHART}, {"chart": {"size": "l"}}, {"chart": {"size": "l", "replicas": 2}}),
        ({"chart": CHART}, {"chart": "text"}, {"chart": "text"}),
        ({"chart": {**CHART, "default": {"size": "s"}}}, {}, {"chart": {"size": "s", "replicas": 2}}),
        ({"chart": {**CHART, "required": ["size"]}}, {}, {}),
        ({"list": {"type": "array", "items": CHART}}, {"list": [{}, 1]}, {"list": [{"replicas": 2}, 1]}),
        ({"map": {"additionalProperties": CHART}}, {"map": {"x": {}}}, {"map": {"x": {"replicas": 2}}}),
        ({"empty": {"type": "object"}}, {}, {}),
    ],
)
def test_defaults_fill_what_is_missing_at_every_depth(
    properties: dict[str, Any], parameters: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert compile_schema(schema(**properties)).complete(parameters) == expected


def test_a_default_is_nobodys_to_change() -> None:
    compiled = compile_schema(schema(a={"default": {"b": []}}))
    compiled.complete({})["a"]["b"].append(1)
    assert compiled.complete({}) == {"a": {"b": []}}


@pytest.mark.parametrize(
    ("rules", "value", "accepts"),
    [
        ({"type": "integer"}, "three", 'parameters.x holds "three"; it accepts a whole number'),
        ({"type": "integer"}, True, "parameters.x holds true; it accepts a whole number"),
        ({"type": "string"}, None, "parameters.x holds null; it accepts text"),
        ({"enum": ["a", 1]}, "b", 'parameters.x holds "b"; it accepts one of a, 1'),
        ({"minimum": 1}, 0.5, "parameters.x holds 0.5; it accepts a number of at least 1"),
        ({"maxLength": 2}, "abc", 'parameters.x holds "abc"; it accepts text of at most 2 characters'),
        (
            {"pattern": "^a+$"},
            "b",
            'parameters.x holds "b"; it accepts text of at most 1024 characters that matches ^a+$',
        ),
        ({"minItems": 1}, [], "parameters.x holds []; it accepts a list of at least 1 items"),
        ({"uniqueItems": True}, [1, 1], "parameters.x holds [1, 1]; it accepts a list without repetitions"),
        ({"items": {"type": "string"}}, ["a", 2], "parameters.x.1 holds 2; it accepts text"),
        (CHART, {"replica": 1}, "parameters.x.replica is not known to the class; known are replicas, size"),
        ({"required": ["y"]}, {}, "parameters.x.y is missing and has no default"),
        ({"additionalProperties": {"type": "string"}}, {"y": 1}, "parameters.x.y holds 1; it accepts text"),
    ],
)
def test_what_is_not_accepted_is_said_with_the_field_its_value_and_what_is(
    rules: dict[str, Any], value: Any, accepts: str
) -> None:
    assert compile_schema(schema(x=rules)).problems({"x": value}) == (accepts,)


def test_every_field_that_is_not_accepted_is_said_and_no_novel_is_written() -> None:
    compiled = compile_schema(schema(**{f"p{number:02}": {"type": "string"} for number in range(30)}))
    said = compiled.problems({f"p{number:02}": number for number in range(30)})
    assert len(said) == 17
    assert said[:2] == ("parameters.p00 holds 0; it accepts text", "parameters.p01 holds 1; it accepts text")
    assert said[-1] == "and 14 more"
    assert len(compile_schema(schema(x={"type": "integer"})).problems({"x": "y" * 5000})[0]) < 150


def test_a_pattern_is_not_tried_on_a_long_text() -> None:
    compiled = compile_schema(schema(x={"pattern": "^a*$"}))
    assert compiled.problems({"x": "a" * 1024}) == ()
    assert len(compiled.problems({"x": "a" * 1025})) == 1


def test_parameters_that_are_accepted_give_no_problem() -> None:
    assert compile_schema(schema(chart=CHART)).problems({"chart": {"replicas": 3}, "free": None}) == ()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ({}, "type must be object"),
        ({"type": "array"}, "type must be object"),
        (schema(a={"oneOf": []}), "properties.a.oneOf is not supported; supported are additionalProperties, default,"),
        (schema(a={"$ref": "https://example.com"}), "properties.a.$ref is not supported"),
        (schema(a={"nullable": True}), "properties.a.nullable is not supported"),
        (schema(a={"exclusiveMinimum": True}), "properties.a.exclusiveMinimum is not supported"),
        (schema(a={"type": ["string"]}), 'properties.a.type holds ["string"]; it accepts string, integer, number'),
        (schema(a={"type": "null"}), 'properties.a.type holds "null"'),
        (schema(a={"pattern": "("}), "properties.a.pattern '(' is no regular expression"),
        (schema(a={"pattern": 1}), "properties.a.pattern must be text of at most 256 characters"),
        (schema(a={"pattern": "a" * 257}), "properties.a.pattern must be text of at most 256 characters"),
        (schema(a={"items": [{}]}), "properties.a.items must be a schema, a map"),
        (schema(a=True), "properties.a must be a schema, a map"),
        ({"type": "object", "properties": []}, "properties must be a map of schemas"),
        (schema(a={"minimum": "1"}), "properties.a.minimum can't be used: '1' is not of type 'number'"),
        (schema(a={"required": "b"}), "properties.a.required can't be used"),
        (schema(a={"type": "integer", "default": "x"}), 'properties.a.default "x" is not accepted by its own schema'),
        (schema(**{f"p{number}": {} for number in range(512)}), "it has more than 512 schemas in it"),
    ],
)
def test_a_schema_that_can_t_be_kept_to_the_letter_is_refused(source: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        compile_schema(source)


def test_a_class_with_such_a_schema_can_t_be_used() -> None:
    spec = {"parametersSchema": {"openAPIV3Schema": schema(a={"oneOf": []})}}
    with pytest.raises(InvalidTenant, match=r'"gold" can\'t be used: .*openAPIV3Schema: properties\.a\.oneOf is not'):
        parse_class({"metadata": {"name": "gold"}, "spec": spec})
