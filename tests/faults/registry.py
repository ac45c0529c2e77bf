"""Every family of fault cases, in the order in which they run."""

from tests.faults.family import Family

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = ()
