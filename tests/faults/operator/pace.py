"""The operator's own times, shortened: what would take minutes to see then takes seconds.

Functions for tests/faults/mutant.py, and no mistakes: nothing but numbers changes.
"""

from collections.abc import Callable
from typing import Any

from tenantry.kube import Kube
from tenantry.reflector import Timing
from tenantry_operator import caches
from tenantry_operator.events import Recorder
from tenantry_operator.usage import UsagePace

__all__ = ["IMPATIENT", "PROMPT", "RESTLESS", "SILENCE", "WATCHFUL", "impatient", "prompt", "restless", "watchful"]

PROMPT = "tests.faults.operator.pace:prompt"
IMPATIENT = "tests.faults.operator.pace:impatient"
RESTLESS = "tests.faults.operator.pace:restless"
WATCHFUL = "tests.faults.operator.pace:watchful"
SILENCE = 2.0
"""Seconds after which a watchful operator thinks that a watch is dead."""
_RELIST = 2.0


def prompt() -> None:
    """Write what tenants use after one second instead of ten."""
    _default(UsagePace.__init__, "every", 1.0)


def impatient() -> None:
    """Besides, wait three seconds for an answer instead of thirty."""
    prompt()
    _default(Kube.__init__, "timeout", 3.0)


def restless() -> None:
    """Besides what is prompt, list and look at everything every two seconds, and write Events ten times as fast."""
    prompt()
    _default(Recorder.__init__, "rate", 50.0)
    _default(Recorder.__init__, "give_way", 0.1)
    caches.RESYNC_SECONDS = _RELIST
    silence, _, first, last = Timing.__init__.__defaults__ or ()
    setattr(Timing.__init__, "__defaults__", (silence, _RELIST, first, last))  # noqa: B010 - mypy has it read-only


def watchful() -> None:
    """Besides what is prompt, take a watch for dead that has been silent for two seconds instead of seventy-five."""
    prompt()
    _, *rest = Timing.__init__.__defaults__ or ()
    setattr(Timing.__init__, "__defaults__", (SILENCE, *rest))  # noqa: B010 - mypy has it read-only


def _default(function: Callable[..., None], argument: str, value: float) -> None:
    defaults: dict[str, Any] = getattr(function, "__kwdefaults__")  # noqa: B009 - mypy takes it for one that may be None
    defaults[argument] = value
