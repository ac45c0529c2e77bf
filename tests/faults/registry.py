"""Every family of fault cases, in the order in which they run."""

from tests.faults.family import Family
from tests.faults.operator.views_time import T1

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = (T1,)
