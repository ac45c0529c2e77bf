"""Argo CD's health checks, run as Argo CD runs them: with hardly any of Lua's libraries.

Argo CD has its own Lua 5.1 (gopher-lua); this is the original one, stripped to the same functions.
"""

from collections.abc import Mapping
from typing import Any

from lupa.lua51 import LuaRuntime

__all__ = ["health"]

_KEPT = (
    *("_G", "_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget"),
    *("rawset", "select", "setmetatable", "table", "tonumber", "tostring", "type", "unpack", "xpcall"),
)


def health(script: str, obj: Mapping[str, Any]) -> tuple[str, str]:
    """Return the status and the message that a health check gives for an object."""
    runtime = LuaRuntime(register_eval=False, register_builtins=False, unpack_returned_tuples=True)
    names = runtime.globals()
    for name in [name for name in names if name not in _KEPT]:
        names[name] = None
    names.obj = runtime.table_from(dict(obj), recursive=True)
    answer = runtime.execute(script)
    return answer["status"], answer["message"]
