"""The plugin generator's wire contract: the bytes that Argo CD sends, and the bytes that it can't misread.

Argo CD takes any success as the whole truth: an empty body, `{}` or a misspelt key mean "no tenants" to it and delete
every Application. So a request that is not understood to the last parameter is refused, and an answer is put together
and counted before its status line is sent.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from tenantry.jsontext import dump_json, load_json
from tenantry.render import Row, as_dict
from tenantry_generator.body import Body, Part
from tenantry_generator.errors import AssemblyError, Refused
from tenantry_generator.selector import EVERYTHING, Selector

__all__ = [
    "BODY_LIMIT",
    "Request",
    "accepts_gzip",
    "assemble",
    "encode_message",
    "encode_row",
    "encode_time",
    "parse_acknowledgement",
    "parse_request",
]

BODY_LIMIT = 64 * 1024
"""Bytes. A request holds the name of an ApplicationSet and a handful of parameters."""

_SHORT, _REPEATED = 2048, 512
"""Bytes of a body, and number of requests, that are remembered."""
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")
_LONGEST_NAME = 100
_HEAD, _COMMA, _TAIL = b'{"output":{"parameters":[', b",", b"]}}"


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What a request says. `applicationset` is empty unless it is a name that Kubernetes would accept.

    Equal to itself alone: who keeps something by it need not look into the parameters. `scope` is what the caller's
    token is bound to, and already a part of them.
    """

    applicationset: str
    parameters: Mapping[str, Any]
    scope: Selector = EVERYTHING


def parse_request(body: bytes, content_type: str | None) -> Request:
    """Read a request's body; an empty one asks for every tenant. Refused: 400, 413 or 415.

    Unknown keys outside of `input.parameters` are ignored: Argo CD may add some. Argo CD repeats itself to the byte, so
    the same short body gives the same Request as long as it is among the last few hundred.
    """
    if len(body) > BODY_LIMIT:
        raise Refused(413, f"the body is longer than {BODY_LIMIT} bytes")
    return _parse_again(body, content_type) if len(body) <= _SHORT else _parse_request(body, content_type)


def _parse_request(body: bytes, content_type: str | None) -> Request:
    if not body.strip():
        return Request("", {})
    if content_type is not None and content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "the body's Content-Type must be application/json")
    document = _object(_parse(body), "the body")
    given = _object(document.get("input"), "input")
    name = document.get("applicationSetName")
    known = isinstance(name, str) and len(name) <= 253 and _SUBDOMAIN.fullmatch(name) is not None
    return Request(str(name) if known else "", _object(given.get("parameters"), "input.parameters"))


_parse_again = lru_cache(maxsize=_REPEATED)(_parse_request)


def parse_acknowledgement(body: bytes) -> tuple[str, str]:
    """Read `{"hash": …, "by": …}`, the second empty when left out. Refused: 400."""
    document = _object(_parse(body), "the body")
    given, name = document.get("hash"), document.get("by", "")
    accepted = document.keys() <= {"hash", "by"} and isinstance(given, str) and isinstance(name, str)
    if not accepted or not given or len(name) > _LONGEST_NAME or not name.isprintable():
        accepts = f'{{"hash": "…"}} and, if you like, "by": a name of at most {_LONGEST_NAME} characters'
        raise Refused(400, f"the body must be {accepts}")
    return str(given), str(name)


def encode_row(row: Row) -> bytes:
    """Return one element of the answer as JSON, read back and compared. AssemblyError: it would not arrive as it is."""
    element = as_dict(row)
    try:
        encoded = dump_json(element)
    except TypeError:  # deeper than orjson goes, or nothing that JSON has
        encoded = json.dumps(element, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    if load_json(encoded) != element:
        raise AssemblyError("an element of the answer does not survive its own encoding")
    return encoded


def assemble(parts: Sequence[Part], *, count: int) -> Body:
    """Return the answer that consists of `parts`, which must be `count` elements. AssemblyError: it does not add up."""
    pieces = [each for part in parts for each in (_COMMA, part)][1:]
    body = Body((_HEAD, *pieces, _TAIL))
    length = len(_HEAD) + sum(part.ends[-1] for part in parts) + max(0, len(parts) - 1) + len(_TAIL)
    if sum(len(part.ends) for part in parts) != count or body.length != length:
        raise AssemblyError("the answer is not as long as its elements; it was not sent")
    return body


@lru_cache(maxsize=64)
def accepts_gzip(header: str) -> bool:
    """Whether a client that sends this Accept-Encoding takes gzip, with the weights of RFC 9110; "" is no header."""
    weights: dict[str, float] = {}
    for each in header.lower().split(","):
        coding, *parameters = (part.strip() for part in each.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        weights[coding] = float(weight) if _WEIGHT.fullmatch(weight) else 0.0
    return max(weights.get("gzip", weights.get("*", 0.0)), weights.get("x-gzip", 0.0)) > 0


def encode_message(message: str) -> bytes:
    """Return the body of an answer that is no success; Argo CD shows its `message`."""
    return json.dumps({"message": message}, separators=(",", ":")).encode()


def encode_time(seconds: float) -> str:
    """Return a Unix time as an answer shows it: ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _parse(body: bytes) -> object:
    try:
        # Numbers keep the text that they were sent as: that is what they are compared by.
        return json.loads(body.decode(), parse_int=str, parse_float=str, parse_constant=_refuse_constant)
    except RecursionError:
        raise Refused(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise Refused(400, f"the body is no JSON: {error}") from None


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _object(value: object, what: str) -> dict[str, Any]:
    if value is None and what != "the body":
        return {}
    if not isinstance(value, dict):
        raise Refused(400, f"{what} must be an object")
    return value
