"""An answer as Argo CD's client reads it, so that an oracle judges what would be deleted and not what was meant.

Go's `json.Decoder` into `struct{Output struct{Parameters []map[string]any}}` is lenient where it hurts: an empty body
is no error, an unknown key is skipped, letter case doesn't count, `null` is nothing, and nobody looks at what follows
the first value. tests/e2e/test_truth_table.py asks the real client.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any, TypeAlias

__all__ = ["Parameters", "Unread", "decode", "gunzip", "read"]

Parameters: TypeAlias = list[dict[str, Any]]

_SPACE = " \t\n\r"
_HEAD = '{"output":{"parameters":['
_MEMBER = 31
"""zlib's name for one gzip member."""


class Unread(Exception):
    """Argo CD takes this for an error, and leaves everything as it is; the text says why."""


class _Object(list[tuple[str, Any]]):
    """A JSON object with its keys as they came, those that repeat too."""


def read(status: int, headers: Mapping[str, str], body: bytes) -> Parameters:
    """Return the parameters that an answer has to Argo CD; its headers have names in lower case. Unread: none.

    A redirect is Unread here, though Argo CD follows it: whoever gets one has to judge it before.
    """
    if not 200 <= status < 300:
        raise Unread(f"status {status}")
    coding = headers.get("content-encoding", "identity").lower()
    return decode(gunzip(body) if coding == "gzip" else body)


def gunzip(body: bytes) -> bytes:
    """Return what Go's reader gets out of gzip members that follow each other. Unread: they are damaged or cut short.

    Go would not notice what is wrong behind the first JSON value; here that is an error as well, as it never helps.
    """
    found: list[bytes] = []
    while body:
        member = zlib.decompressobj(_MEMBER)
        try:
            found.append(member.decompress(body))
        except zlib.error as error:
            raise Unread(f"gzip: {error}") from None
        if not member.eof:
            raise Unread("gzip: unexpected EOF")
        body = member.unused_data
    return b"".join(found)


def decode(body: bytes) -> Parameters:
    """Return the parameters in a body; an empty list is what deletes every Application. Unread: it is no answer."""
    text = body.decode(errors="replace").lstrip(_SPACE)
    if not text:
        return []
    if text.startswith(_HEAD) and (elements := _at_once(text)) is not None:
        return elements
    try:
        document, _ = _DECODER.raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise Unread(f"no JSON: {error}") from None
    parameters: Parameters = []
    for output in _fields(document, "output"):
        for listed in _fields(output, "parameters"):
            parameters = _elements(listed, parameters)
    return parameters


def _at_once(text: str) -> Parameters | None:
    """Return what the general way comes to, of an answer in the very form that ours have; None: it is in another one.

    Ten thousand elements take a fifth of the time so.
    """
    try:
        elements, end = _PLAIN.raw_decode(text, len(_HEAD) - 1)
    except (ValueError, RecursionError):
        return None
    if text[end:] != "}}" or any(each is not None and not isinstance(each, dict) for each in elements):
        return None
    return [each or {} for each in elements]


def _fields(value: object, name: str) -> list[Any]:
    """Return the values of a struct's field, each of which Go lays over the one before. null sets nothing."""
    if value is None:
        return []
    if not isinstance(value, _Object):
        raise Unread(f"cannot unmarshal {type(value).__name__} into the struct with {name}")
    return [each for key, each in value if _folded(key) == name]


def _elements(listed: object, before: Parameters) -> Parameters:
    if listed is None:
        return []
    if not isinstance(listed, list) or isinstance(listed, _Object):
        raise Unread(f"cannot unmarshal {type(listed).__name__} into parameters")
    elements: Parameters = []
    for number, each in enumerate(listed):
        if each is not None and not isinstance(each, _Object):
            raise Unread(f"cannot unmarshal {type(each).__name__} into an element of parameters")
        # Go reuses the maps of a list that is given twice.
        known = before[number] if number < len(before) and each is not None else {}
        elements.append({**known, **{key: _plain(value) for key, value in each or ()}})
    return elements


def _plain(value: Any) -> Any:
    if isinstance(value, _Object):
        return {key: _plain(each) for key, each in value}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _folded(key: str) -> str:
    """Return a key as Go compares it: two letters beyond ASCII are taken for their look-alikes."""
    return key.replace("\u017f", "s").replace("\u212a", "k").lower()


def _number(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"cannot unmarshal number {text} into float64")
    return number


def _no_number(text: str) -> float:
    raise ValueError(f"invalid character in {text}")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=_number, parse_float=_number, parse_constant=_no_number
)
_PLAIN = json.JSONDecoder(parse_int=_number, parse_float=_number, parse_constant=_no_number)
