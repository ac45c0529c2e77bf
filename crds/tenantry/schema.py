"""How objects of the Tenant API are read: the base of every model, the types that many fields share, and the words of
a refusal. A model that could be changed, or a refusal without its field, would cost its reader far more than these
lines.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from tenantry import quantities

__all__ = ["Amounts", "DnsLabel", "FreeForm", "Frozen", "explain"]

_MAX_DEPTH = 16
_SHOWN = 80


class Frozen(BaseModel):
    """Base of the models: read by the API's own names, passes over unknown fields, can't be changed."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # pydantic copies each default that can't be hashed for each object that it reads; what can't change needs none.
        return self


def _check_depth(free_form: dict[str, Any]) -> dict[str, Any]:
    # The schema can't bound the depth of free-form JSON, and what is done with it recurses into it.
    level: list[Any] = [free_form]
    for _ in range(_MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return free_form
    raise ValueError(f"is nested deeper than {_MAX_DEPTH} levels")


def _children(value: Any) -> Iterable[Any]:
    nested: Iterable[Any] = value.values() if isinstance(value, dict) else value
    return (child for child in nested if isinstance(child, dict | list))


def _check_amounts(amounts: dict[str, int | str]) -> dict[str, int | str]:
    for name, amount in amounts.items():
        try:
            quantities.parse(amount)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return amounts


DnsLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
FreeForm = Annotated[dict[str, Any], AfterValidator(_check_depth)]
"""JSON of the user's making, at most 16 levels deep."""
Amounts = Annotated[dict[str, int | str], AfterValidator(_check_amounts)]
"""Resource name to quantity, as written: `{"cpu": 2, "memory": "4Gi"}`."""


def explain(kind: str, body: Mapping[str, Any], error: ValidationError) -> str:
    """Return one line with every field that was refused, why, and what it held."""
    metadata = body.get("metadata") if isinstance(body, Mapping) else None
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    reasons = []
    for detail in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in detail["loc"]) or "object"
        reason = detail["msg"].removeprefix("Value error, ")
        held = "" if detail["type"] in ("missing", "value_error") else f", not {_shorten(detail['input'])}"
        reasons.append(f"{where}: {reason[0].lower()}{reason[1:]}{held}")
    called = f'"{name}"' if isinstance(name, str) else "without a name"
    return f"{kind} {called} can't be used: " + "; ".join(reasons)


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
