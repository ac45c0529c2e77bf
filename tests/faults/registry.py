"""Every family of fault cases, in the order in which they run."""

from tests.faults.family import Family
from tests.faults.generator.churn import CHURN
from tests.faults.generator.outages import OUTAGES
from tests.faults.generator.schedules import SCHEDULES
from tests.faults.generator.soak import SOAK
from tests.faults.generator.starts import STARTS

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = (SOAK, SCHEDULES, CHURN, STARTS, OUTAGES)
