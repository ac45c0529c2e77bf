"""What one request asks for, and which elements of the tenants' rows answer it.

An element has a key that tells it from every other of the same answer and stays the same while it is there; by that key
the guard tells that one has left. Two requests of one `key` get the same answer.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenantry.render import STATUS, Row
from tenantry_generator.errors import Refused

__all__ = ["Query", "accepted_parameters", "parse_query"]

_SCALARS = ("tenant", "name", "displayName", STATUS, "state", "class", "source", "project", "namespace")
_SHOWN = 64


@dataclass(frozen=True, slots=True)
class Query:
    """The tenants that have one of the wanted texts under each key of `wanted`; without any, all."""

    wanted: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A text that two queries share when they ask for the same, however they were written."""
        return json.dumps({name: sorted(choices) for name, choices in sorted(self.wanted.items())})

    def elements(self, rows: Mapping[str, Row]) -> Mapping[str, Row]:
        """Return the elements of the answer by key, in order; `rows` itself when they are all of them."""
        if not self.wanted:
            return rows
        return {name: row for name, row in rows.items() if self._matches(row)}

    def _matches(self, row: Row) -> bool:
        return all(_text_of(row[key]) in choices for key, choices in self.wanted.items())


def accepted_parameters(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the keys that an answer can be filtered by: its scalars."""
    return (*_SCALARS, *(column for column in columns if column != STATUS))


def parse_query(parameters: Mapping[str, Any], accepted: Collection[str]) -> Query:
    """Return what `input.parameters` ask for. Refused: 400, with what is accepted."""
    wanted: dict[str, frozenset[str]] = {}
    for key, value in parameters.items():
        if key not in accepted:
            raise Refused(400, f"input.parameters: unknown parameter {_quote(key)}; accepted are {', '.join(accepted)}")
        choices = value if isinstance(value, list) else [value]
        if not choices or not all(isinstance(choice, str | bool) for choice in choices):
            message = (
                f"input.parameters: {key} must be a string, a number, true, false, or a list of at least one of them"
            )
            raise Refused(400, message)
        wanted[key] = frozenset(_text_of(choice) for choice in choices)
    return Query(wanted)


def _text_of(scalar: str | bool) -> str:
    if isinstance(scalar, bool):
        return "true" if scalar else "false"
    return scalar


def _quote(text: str) -> str:
    return json.dumps(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…", ensure_ascii=False)
