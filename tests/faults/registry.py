"""Every family of fault cases, in the order in which they run."""

from tests.faults.family import Family
from tests.faults.operator.crashes import C1, C2, C4
from tests.faults.operator.quiet import G1
from tests.faults.operator.rejections import C3
from tests.faults.operator.views_lost import U1, U2
from tests.faults.operator.views_silent import U3
from tests.faults.operator.views_split import T2
from tests.faults.operator.views_time import T1
from tests.faults.real_acknowledgement import ACKNOWLEDGEMENT
from tests.faults.real_answers import ANSWERS
from tests.faults.real_applications import APPLICATIONS_KEPT
from tests.faults.real_guard import GUARD
from tests.faults.real_operators import OPERATORS
from tests.faults.real_outages import OUTAGES
from tests.faults.real_replicas import REPLICAS

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = (
    C1,
    C2,
    C3,
    C4,
    T1,
    T2,
    U1,
    U2,
    U3,
    G1,
    ANSWERS,
    GUARD,
    ACKNOWLEDGEMENT,
    OUTAGES,
    APPLICATIONS_KEPT,
    REPLICAS,
    OPERATORS,
)
