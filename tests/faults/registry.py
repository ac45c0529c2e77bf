"""Every family of fault cases, in the order in which they run."""

from tests.faults.family import Family
from tests.faults.generator.acknowledgement import ACKNOWLEDGEMENT
from tests.faults.generator.answers import ANSWERS
from tests.faults.generator.applications import APPLICATIONS_KEPT
from tests.faults.generator.guard import GUARD
from tests.faults.generator.operators import OPERATORS
from tests.faults.generator.outages import OUTAGES
from tests.faults.generator.replicas import REPLICAS

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = (ANSWERS, GUARD, ACKNOWLEDGEMENT, OUTAGES, APPLICATIONS_KEPT, REPLICAS, OPERATORS)
