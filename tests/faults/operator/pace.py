"""The operator's own times, shortened: what would take minutes to see then takes seconds.

Functions for tests/faults/mutant.py, and no mistakes: nothing but numbers changes.
"""

from collections.abc import Callable
from typing import Any

from tenantry.kube import Kube
from tenantry.reflector import Timing
from tenantry_operator import caches
from tenantry_operator.usage import UsagePace

__all__ = ["IMPATIENT", "RESTLESS", "impatient", "restless"]

IMPATIENT = "tests.faults.operator.pace:impatient"
RESTLESS = "tests.faults.operator.pace:restless"
_RELIST = 2.0


def impatient() -> None:
    """Wait three seconds for an answer instead of thirty, and one for usage to be written instead of ten."""
    _default(Kube.__init__, "timeout", 3.0)
    _default(UsagePace.__init__, "every", 1.0)


def restless() -> None:
    """Besides, list everything and look at every Tenant again every two seconds."""
    impatient()
    caches.RESYNC_SECONDS = _RELIST
    silence, _, first, last = Timing.__init__.__defaults__ or ()
    setattr(Timing.__init__, "__defaults__", (silence, _RELIST, first, last))  # noqa: B010 - mypy has it read-only


def _default(function: Callable[..., None], argument: str, value: float) -> None:
    defaults: dict[str, Any] = getattr(function, "__kwdefaults__")  # noqa: B009 - mypy takes it for one that may be None
    defaults[argument] = value
