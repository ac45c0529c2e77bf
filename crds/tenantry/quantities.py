"""Kubernetes quantities, exactly: `0.1` is not a binary fraction, and `1000m`, `1` and `1e0` are one amount.

A quota that was written as `1000m` comes back from the API server as `1`. Whoever compares the two as text would write
for ever; and whoever adds up quotas in floating point would refuse what fits. So amounts are whole thousandths, the
finest that the API server keeps in a list of resources, and are written as it writes them.
"""

import enum
import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Form", "Quantity", "parse", "total"]

_MILLI = 3
_PATTERN = re.compile(
    r"(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?"
    r"(?:(?P<binary>[KMGTPE]i)|(?P<decimal>[numkMGTPE])|[eE](?P<exponent>[-+]?[0-9]{1,2}))?"
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_MOST = 9 * 10 ** (18 + _MILLI)
_LONGEST = 64


class Form(enum.Enum):
    """How an amount is written; the API server keeps to the form that it was given."""

    DECIMAL = "1k"
    BINARY = "1Ki"
    EXPONENT = "1e3"


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """An amount in thousandths. Compared by amount first, so `<` and `>` mean what they say."""

    millis: int
    form: Form = Form.DECIMAL

    def __str__(self) -> str:
        """Return the canonical text: no fraction, and the largest suffix that needs none."""
        if self.form is Form.BINARY and self.millis >= 1024 * 10**_MILLI and self.millis % 10**_MILLI == 0:
            return _binary(self.millis // 10**_MILLI)
        return _decimal(self.millis, exponent=self.form is Form.EXPONENT)


def parse(text: int | str) -> Quantity:
    """Return the quantity for `2`, `"500m"`, `"1.5Gi"`, `"1e3"`; what is finer than a thousandth is rounded up.

    ValueError: it is no such text, is negative, or is more than 9E, where the API server itself loses exactness.
    """
    return _parse(str(text))


@lru_cache(maxsize=1024)
def _parse(written: str) -> Quantity:
    # Most tenants have one of a few sizes, and each look reads some twenty amounts.
    found = _PATTERN.fullmatch(written) if len(written) <= _LONGEST else None
    if found is None or not (found["whole"] or found["fraction"]):
        raise ValueError(f"{written[:_LONGEST]!r} is not a quantity such as 2, 500m, 1.5Gi or 1e3")
    fraction = found["fraction"] or ""
    digits = int(found["whole"] + fraction)
    form, power, factor = Form.DECIMAL, 0, 1
    if found["binary"]:
        form, factor = Form.BINARY, 1024 ** _BINARY.index(found["binary"])
    elif found["exponent"]:
        form, power = Form.EXPONENT, int(found["exponent"])
    else:
        power = _DECIMAL[found["decimal"] or ""]
    shift = _MILLI + power - len(fraction)
    millis = digits * factor * 10**shift if shift >= 0 else -(-digits * factor // 10**-shift)
    if millis > _MOST:
        raise ValueError(f"{written!r} is more than 9E, the most that a quantity can be")
    return Quantity(millis, form)


def total(quantities: list[Quantity]) -> Quantity:
    """Return the sum, in the form of the first that is not zero."""
    form = next((quantity.form for quantity in quantities if quantity.millis), Form.DECIMAL)
    return Quantity(sum(quantity.millis for quantity in quantities), form)


def _binary(amount: int) -> str:
    power = 0
    while amount % 1024 == 0 and power < len(_BINARY) - 1:
        amount, power = amount // 1024, power + 1
    return f"{amount}{_BINARY[power]}"


def _decimal(millis: int, *, exponent: bool) -> str:
    if millis == 0:
        return "0"
    power = -_MILLI
    while millis % 1000 == 0 and (exponent or power < _DECIMAL["E"]):
        millis, power = millis // 1000, power + 3
    if exponent:
        return f"{millis}e{power}" if power else str(millis)
    return f"{millis}{_DECIMAL_SUFFIX[power]}"
