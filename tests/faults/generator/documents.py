"""Requests drawn from the OpenAPI document that the generator publishes, and from what is nearly one of those.

Hypothesis draws them, since it is good at the values that nobody thinks of; a number is all that repeats a draw.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

__all__ = ["draw"]

_KEY = "[a-z]([-a-z0-9.]{0,8}[a-z0-9])?"
_TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)
_NUMBERS = st.one_of(st.integers(-3, 300), st.floats(allow_nan=False, allow_infinity=False), st.integers())
_ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_TEXTS, inner, max_size=3)),
    max_leaves=6,
)


def draw(document: Mapping[str, Any], words: Mapping[str, Sequence[str]], *, number: int, count: int) -> list[bytes]:
    """Return the bodies of about `count` requests, the same ones each time for the same `number`.

    `words` are texts that there are, by the key that has them: a filter by what nobody has finds nobody.
    """
    bodies: list[bytes] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_Schemas(document, words).requests())
    def collect(request: Any) -> None:
        bodies.append(json.dumps(request, ensure_ascii=len(bodies) % 2 == 0).encode(errors="surrogatepass"))

    collect()
    return bodies


class _Schemas:
    """The schemas of an OpenAPI document as strategies, as far as that of a request needs them."""

    def __init__(self, document: Mapping[str, Any], words: Mapping[str, Sequence[str]]) -> None:
        self._schemas: Mapping[str, Any] = document["components"]["schemas"]
        self._words = words

    def requests(self) -> st.SearchStrategy[Any]:
        """Return what draws requests, most of them valid."""
        valid = self._of({"$ref": "#/components/schemas/Request"})
        filters = st.fixed_dictionaries({}, optional={key: self._choice(key) for key in self._words})
        simple = st.builds(lambda given: {"input": {"parameters": given}}, filters)
        broken = st.builds(_with_something_else, valid, st.sampled_from(sorted(self._words)), _ANYTHING)
        return st.one_of(simple, valid, broken, simple, _ANYTHING)

    def _choice(self, key: str) -> st.SearchStrategy[Any]:
        word = st.sampled_from(list(self._words[key]))
        return st.one_of(word, st.lists(word, min_size=1, max_size=4))

    def _of(self, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return st.deferred(lambda: self._of(self._schemas[name]))
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return st.one_of(*(self._of(each) for each in schema[choice]))
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        kinds = schema.get("type", [])
        return st.one_of(*(self._typed(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds)))

    def _typed(self, kind: str, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        match kind:
            case "object":
                return self._object(schema)
            case "array":
                return st.lists(self._of(schema["items"]), min_size=schema.get("minItems", 0), max_size=3)
            case "string":
                return self._text(schema)
            case "integer":
                return st.integers(schema.get("minimum"), schema.get("maximum"))
            case "number":
                return _NUMBERS
            case "boolean":
                return st.booleans()
            case _:
                return st.none()

    def _object(self, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        properties = {key: self._of(each) for key, each in schema.get("properties", {}).items()}
        required = {key: properties.pop(key) for key in schema.get("required", [])}
        if not properties and not required:
            return st.dictionaries(st.from_regex(_KEY, fullmatch=True), self._of({"type": "string"}), max_size=2)
        return st.fixed_dictionaries(required, optional=properties)

    def _text(self, schema: Mapping[str, Any]) -> st.SearchStrategy[str]:
        if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True)
        words = sorted({word for each in self._words.values() for word in each})
        return st.one_of(st.sampled_from(words), _TEXTS)


def _with_something_else(request: Any, key: str, value: Any) -> Any:
    """Return a request one of whose parameters is anything."""
    given = request.get("input") or {}
    return {**request, "input": {**given, "parameters": {**(given.get("parameters") or {}), key: value}}}
