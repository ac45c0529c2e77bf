"""Reads an answer as Argo CD does: by the rules of Go's encoding/json, which find "no tenants" in many a mistake.

Of `client.go` and `plugin.go` of its plugin generator: any 2xx counts; a body that ends before it starts is no error;
only the first document is read; keys match whatever their case; what is unknown is skipped; null leaves things as they
were; and so does everything that is missing.
"""

import json
from typing import Any

__all__ = ["read_answer"]

_HEAD = b'{"output":{"parameters":['
_DECODER = json.JSONDecoder()
_PAIRS = json.JSONDecoder(object_pairs_hook=lambda pairs: pairs if pairs else [("", None)])
_SPACE = " \t\r\n"

Element = dict[str, Any]


def read_answer(status: int, body: bytes) -> list[Element] | None:
    """Return the parameters that Argo CD takes from an answer, None if it takes it for an error."""
    if not 200 <= status <= 299:
        return None
    text = body.decode(errors="replace")
    if body.startswith(_HEAD):
        try:
            found, end = _DECODER.raw_decode(text, len(_HEAD) - 1)
        except ValueError:
            return None
        if text[end:] == "}}":
            return _elements(found)
    return _read(text.lstrip(_SPACE))


def _read(text: str) -> list[Element] | None:
    if not text:
        return []
    try:
        pairs, _ = _PAIRS.raw_decode(text)
    except ValueError:
        return None
    if pairs is None:
        return []
    if not _is_object(text):
        return None
    found: Any = None
    for key, output in pairs:
        if key.casefold() != "output" or output is None:
            continue
        if not isinstance(output, list) or any(not isinstance(each, tuple) for each in output):
            return None
        for inner, parameters in output:
            if inner.casefold() == "parameters":
                found = parameters
    plain = _plain(found)
    return None if plain is not None and not isinstance(plain, list) else _elements(plain or [])


def _is_object(text: str) -> bool:
    return text.startswith("{")


def _plain(value: Any) -> Any:
    """Return what was read as pairs with its objects as dicts, where the last of two equal keys counts."""
    if not isinstance(value, list):
        return value
    if value and all(isinstance(each, tuple) for each in value):
        return {key: _plain(each) for key, each in value if key or each is not None}
    return [_plain(each) for each in value]


def _elements(found: Any) -> list[Element] | None:
    if any(each is not None and not isinstance(each, dict) for each in found):
        return None
    return [each or {} for each in found]
