"""JSON as the services exchange it: orjson for speed, the standard library where orjson gives up.

orjson reads no more than 1,024 levels, and the API server takes ten times as many: a single such object must not make
every list that holds it unreadable.
"""

import json
from typing import Any

import orjson

__all__ = ["dump_json", "load_json", "to_keep"]


def dump_json(value: Any, *, sort_keys: bool = False) -> bytes:
    """Return JSON in UTF-8 without spaces. TypeError: `value` is nothing that JSON has, or nested too deeply."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else 0)


def to_keep(raw: bytes) -> bytes:
    """Return a copy of what dump_json made, for keeping: the original holds on to a buffer of some 4 kB."""
    return bytes(memoryview(raw))


def load_json(raw: bytes) -> Any:
    """Read JSON. ValueError: it is none; RecursionError: it is nested deeper than sys.getrecursionlimit() bears."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return json.loads(raw)
