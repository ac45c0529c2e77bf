"""Every family of fault cases, in the order in which they run."""

from tests.faults.family import Family
from tests.faults.inputs import recovery, sequences, single
from tests.faults.operator import drift, monkey, unserved

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = (
    single.FAMILY,
    sequences.FAMILY,
    recovery.FAMILY,
    drift.FAMILY,
    monkey.FAMILY,
    unserved.FAMILY,
)
