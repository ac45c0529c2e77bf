"""What the families of inputs run on: the real operator under its own ServiceAccount, and an observer's own eyes."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tenantry.kube import Kube
from tenantry.resources import TENANT_CLASSES, Resource
from tests.faults.family import Defect
from tests.faults.inputs.subject import Subject
from tests.faults.operator.observer import KINDS, Observer
from tests.faults.stage import Stage
from tests.support.control_plane import ControlPlane
from tests.support.tenantry import Operator

__all__ = ["Arena", "arena"]

_CLASSES: dict[str, dict[str, Any]] = {
    "faults-red": {"defaults": {"namespaces": {"metadata": {"labels": {"colour": "red"}}}}},
    "faults-blue": {"defaults": {"networkPolicies": {"isolation": "Namespace"}, "parameters": {"colour": "blue"}}},
    "faults-".ljust(63, "x"): {"overrides": {"namespaces": {"metadata": {"labels": {"colour": "none"}}}}},
    "faults-strict": {
        "limits": {"namespaces": {"quota": 2}, "resourceQuotas": {"hard": {"pods": 10}}},
        "parametersSchema": {
            "openAPIV3Schema": {"type": "object", "properties": {"size": {"type": "string", "enum": ["small", "big"]}}}
        },
    },
}


@dataclass(frozen=True, slots=True)
class Arena:
    """The parts that cases share."""

    plane: ControlPlane
    kube: Kube
    observer: Observer
    operator: Operator

    def subject(self) -> Subject:
        """Return a Tenant that is not made yet."""
        return Subject(self.kube, self.observer)


@asynccontextmanager
async def arena(stage: Stage, defect: Defect | None, *, kinds: Sequence[Resource] = KINDS) -> AsyncIterator[Arena]:
    """Run the operator, with the defect if there is one, and the TenantClasses that the values name.

    `kinds`: those that the observer sees.
    """
    plane, kube, identities = await stage.control_plane(), await stage.kube(), await stage.identities()
    for name, spec in _CLASSES.items():
        await kube.apply(TENANT_CLASSES, {"metadata": {"name": name}, "spec": spec}, field_manager="faults")
    observer = Observer(kube, kinds)
    operator = Operator(
        kubeconfig=identities.operator,
        directory=stage.directory / "inputs",
        env={"TENANTRY_LEASE_NAMESPACE": identities.namespace},
        defect=defect.place if defect else None,
    )
    async with observer.watching():
        try:
            await operator.start()
            yield Arena(plane, kube, observer, operator)
        finally:
            await operator.stop()
