"""Every family of fault cases, in the order in which they run."""

from tests.faults.family import Family
from tests.faults.generator.acknowledgement import ACKNOWLEDGEMENT
from tests.faults.generator.answers import ANSWERS
from tests.faults.generator.applications import APPLICATIONS_KEPT
from tests.faults.generator.guard import GUARD
from tests.faults.generator.operators import OPERATORS
from tests.faults.generator.outages import OUTAGES
from tests.faults.generator.replicas import REPLICAS
from tests.faults.inputs import recovery, sequences, single
from tests.faults.operator import drift, monkey, unserved
from tests.faults.operator.crashes import C1, C2, C4
from tests.faults.operator.quiet import G1
from tests.faults.operator.rejections import C3
from tests.faults.operator.views_lost import U1, U2
from tests.faults.operator.views_silent import U3
from tests.faults.operator.views_split import T2
from tests.faults.operator.views_time import T1
from tests.faults.virtual import churn, outages, schedules, soak, starts

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
    single.FAMILY,
    sequences.FAMILY,
    recovery.FAMILY,
    drift.FAMILY,
    monkey.FAMILY,
    unserved.FAMILY,
    G1,
    soak.SOAK,
    schedules.SCHEDULES,
    churn.CHURN,
    starts.STARTS,
    outages.OUTAGES,
    ANSWERS,
    GUARD,
    ACKNOWLEDGEMENT,
    OUTAGES,
    APPLICATIONS_KEPT,
    REPLICAS,
    OPERATORS,
)
