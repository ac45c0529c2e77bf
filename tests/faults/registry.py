"""Every family of fault cases, in the order in which they run."""

from tests.faults.family import Family
from tests.faults.operator.crashes import C1, C2, C4

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = (C1, C2, C4)
