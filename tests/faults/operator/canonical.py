"""The state of a case's objects in a form that two runs can be compared in, as Sieve does it.

What must differ between any two runs is masked: uids, versions, times. What differs between two undisturbed runs is
masked besides, path by path; that is found out by making two.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tenantry.resources import TENANTS
from tests.faults.operator.observer import Key

__all__ = ["State", "canonical", "differences", "renamed"]

State = Mapping[str, Any]
"""Path of a leaf, `Kind namespace/name: metadata.labels.x`, to its value."""

_MASKED = {"uid", "resourceVersion", "creationTimestamp", "lastTransitionTime", "time", "deletionTimestamp"}
_SHOWN = 12


def canonical(objects: Mapping[Key, Mapping[str, Any]], token: str) -> dict[str, Any]:
    """Return every leaf of every object, with the token taken out of names and values."""
    leaves = {}
    for (kind, namespace, name), body in objects.items():
        where = renamed(f"{kind} {namespace}/{name}", token)
        for path, value in _leaves(_sorted(json.loads(renamed(json.dumps(body), token))), ""):
            # How often a child was changed depends on what had to wait.
            if path != "metadata.generation" or kind == TENANTS.kind:
                leaves[f"{where}: {path}"] = value
    return leaves


def renamed(text: str, token: str) -> str:
    """Return the text as it would be in any other run."""
    return text.replace(token, "TENANT")


def differences(wanted: State, found: State) -> list[str]:
    """Return a line for each leaf that is not as wanted, the first dozen."""
    lines = []
    for path in sorted(wanted.keys() | found.keys()):
        if path not in found:
            lines.append(f"missing  {path} = {wanted[path]!r}")
        elif path not in wanted:
            lines.append(f"too much {path} = {found[path]!r}")
        elif wanted[path] != found[path]:
            lines.append(f"changed  {path} = {found[path]!r} instead of {wanted[path]!r}")
    more = len(lines) - _SHOWN
    return lines[:_SHOWN] + ([f"and {more} more"] if more > 0 else [])


def _sorted(body: dict[str, Any]) -> dict[str, Any]:
    # The API server orders them by time.
    body["metadata"]["managedFields"] = sorted(
        body["metadata"].get("managedFields", ()),
        key=lambda each: (each["manager"], each["operation"], each.get("subresource", "")),
    )
    return body


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            if key not in _MASKED:
                yield from _leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, value
