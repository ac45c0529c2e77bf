"""Kubernetes' label selectors, in each form in which people write them, with Kubernetes' own meaning.

A selector that was mistyped matches nobody, and an answer with nobody deletes every Application; so what no label could
ever satisfy is refused, not tried.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenantry_generator.errors import Refused

__all__ = ["EVERYTHING", "IN", "OPERATORS", "Requirement", "Selector", "parse_label_selector", "parse_selector"]

IN, NOT_IN, EXISTS, DOES_NOT_EXIST = "In", "NotIn", "Exists", "DoesNotExist"
OPERATORS = (IN, NOT_IN, EXISTS, DOES_NOT_EXIST)

_KEY_TEXT = (
    r"(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_VALUE_TEXT = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_KEY, _VALUE = re.compile(_KEY_TEXT), re.compile(_VALUE_TEXT)
_REQUIREMENT = re.compile(
    rf"\s*(?:!\s*(?P<absent>{_KEY_TEXT})"
    rf"|(?P<key>{_KEY_TEXT})"
    rf"(?:\s*(?P<sign>==|=|!=)\s*(?P<value>{_VALUE_TEXT})|\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|$)"
)
_LONGEST_TEXT = 4096
_FORMS = "matchLabels, an object of texts, and matchExpressions, a list of {key, operator, values}"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. An absent label satisfies NotIn and DoesNotExist, as in Kubernetes."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def accepts(self, value: str | None) -> bool:
        """Whether the label may have this value; None: there is no such label."""
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
            case _:
                return value is None


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that must all be satisfied; without any, everything matches."""

    requirements: frozenset[Requirement] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether `labels` satisfy every requirement."""
        return all(requirement.accepts(labels.get(requirement.key)) for requirement in self.requirements)

    @property
    def key(self) -> list[list[Any]]:
        """JSON that two selectors of the same requirements share, however they were written."""
        return sorted([each.key, each.operator, sorted(each.values)] for each in self.requirements)


EVERYTHING = Selector()


def parse_selector(value: object, where: str) -> Selector:
    """Read a selector with matchLabels and matchExpressions. Refused: 400, naming `where` and what is accepted."""
    if not isinstance(value, dict) or not value.keys() <= {"matchLabels", "matchExpressions"}:
        raise Refused(400, f"{where} must be an object with {_FORMS}")
    labels, expressions = value.get("matchLabels", {}), value.get("matchExpressions", [])
    if not isinstance(labels, dict) or not isinstance(expressions, list):
        raise Refused(400, f"{where} must be an object with {_FORMS}")
    return Selector(
        frozenset(
            (
                *_equalities(labels, f"{where}.matchLabels"),
                *(_expression(each, f"{where}.matchExpressions[{i}]") for i, each in enumerate(expressions)),
            )
        )
    )


def parse_label_selector(value: object, where: str) -> Selector:
    """Read a selector as text (`env=prod,tier in (a,b),!old`), as {label: value}, or as `parse_selector` does."""
    if isinstance(value, str):
        return Selector(frozenset(_parse_text(value, where)))
    if not isinstance(value, dict):
        raise Refused(400, f'{where} must be a text such as "env=prod,tier in (a,b)", or an object')
    if value.keys() & {"matchLabels", "matchExpressions"}:
        return parse_selector(value, where)
    return Selector(frozenset(_equalities(value, where)))


def _parse_text(text: str, where: str) -> list[Requirement]:
    if len(text) > _LONGEST_TEXT:
        raise Refused(400, f"{where} is longer than {_LONGEST_TEXT} characters")
    requirements: list[Requirement] = []
    at = 0
    while at < len(text) or text[-1:] == ",":
        found = _REQUIREMENT.match(text, at)
        if found is None:
            message = f"{where}: can't read it from character {at + 1} on; accepted are KEY=VALUE, KEY!=VALUE, "
            raise Refused(400, f"{message}KEY in (A,B), KEY notin (A,B), KEY and !KEY, separated by commas")
        requirements.append(_of_text(found, where))
        if found.end() == len(text) and not found[0].endswith(","):
            break
        at = found.end()
    return requirements


def _of_text(found: re.Match[str], where: str) -> Requirement:
    if found["absent"]:
        return _requirement(found["absent"], DOES_NOT_EXIST, [], where)
    if found["sign"]:
        return _requirement(found["key"], NOT_IN if found["sign"] == "!=" else IN, [found["value"]], where)
    if found["word"]:
        values = [value.strip() for value in found["values"].split(",")]
        return _requirement(found["key"], IN if found["word"] == "in" else NOT_IN, values, where)
    return _requirement(found["key"], EXISTS, [], where)


def _equalities(labels: Mapping[str, Any], where: str) -> list[Requirement]:
    return [_requirement(key, IN, [value], where) for key, value in labels.items()]


def _expression(value: object, where: str) -> Requirement:
    if not isinstance(value, dict) or not value.keys() <= {"key", "operator", "values"}:
        raise Refused(400, f"{where} must be an object with key, operator and values")
    operator = value.get("operator")
    if operator not in OPERATORS:
        raise Refused(400, f"{where}.operator must be one of {', '.join(OPERATORS)}")
    values = value.get("values") or []
    needs = operator in (IN, NOT_IN)
    if not isinstance(values, list) or bool(values) != needs:
        raise Refused(400, f"{where}.values must be {'a list of at least one text' if needs else 'left out'}")
    return _requirement(value.get("key"), operator, values, where)


def _requirement(key: object, operator: str, values: list[Any], where: str) -> Requirement:
    if not isinstance(key, str) or _KEY.fullmatch(key) is None or len(key.rpartition("/")[0]) > 253:
        raise Refused(400, f"{where}: a key must be a label's name, [PREFIX/]NAME with a NAME of at most 63 characters")
    if not all(isinstance(value, str) and _VALUE.fullmatch(value) for value in values):
        accepted = "at most 63 letters, digits, '-', '_' and '.', with a letter or digit at either end"
        raise Refused(400, f"{where}: a value of {key} must be a text that a label can have: {accepted}")
    return Requirement(key, operator, frozenset(values))
