"""Every family of fault cases, in the order in which they run."""

from tests.faults.family import Family
from tests.faults.generator.acknowledgement import ACKNOWLEDGEMENT
from tests.faults.generator.answers import ANSWERS
from tests.faults.generator.applications import APPLICATIONS_KEPT
from tests.faults.generator.guard import GUARD
from tests.faults.generator.operators import OPERATORS
from tests.faults.generator.outages import OUTAGES
from tests.faults.generator.replicas import REPLICAS
from tests.faults.operator.crashes import C1, C2, C4
from tests.faults.operator.quiet import G1
from tests.faults.operator.rejections import C3

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = (
    C1,
    C2,
    C3,
    C4,
    G1,
    ANSWERS,
    GUARD,
    ACKNOWLEDGEMENT,
    OUTAGES,
    APPLICATIONS_KEPT,
    REPLICAS,
    OPERATORS,
)
