"""Whether two ever acted at the same time, told from when each did, and from how often the Lease changed hands.

That B acted between two acts of A means that it was A's turn, B's and A's again, so that the Lease has changed hands
twice. Where it has not, somebody acted without it. Only acts that certainly came after each other are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.resources import LEASES
from tests.faults.family import Broken
from tests.faults.generator.client import Trace

__all__ = ["Act", "Terms", "turns"]


@dataclass(frozen=True, slots=True)
class Act:
    """Something that `who` did, no sooner than `earliest` and no later than `latest`, by one monotonic clock."""

    who: str
    earliest: float
    latest: float
    what: str = ""


class Terms:
    """Counts how often the Lease `name` changes hands, from when `begin` was called."""

    def __init__(self, kube: Kube, *, namespace: str, name: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._before = 0

    async def begin(self) -> None:
        """Count from here on."""
        self._before = await self._transitions()

    async def check(self, acts: Sequence[Act], trace: Trace) -> int:
        """Return how often the turn went to the other one. Broken: more often than the Lease changed hands."""
        found = turns(acts)
        changes = await self._transitions() - self._before
        if len(found) - 1 > changes:
            shown = "\n  ".join(f"{each.who} {each.what} ({each.earliest:.3f} to {each.latest:.3f})" for each in found)
            raise Broken(
                f"two acted by turns: the turn went {len(found) - 1} times to the other one and the Lease {self._name} "
                f"changed hands {changes} times:\n  {shown}\nwhat led there:\n  {trace}"
            )
        return len(found) - 1

    async def _transitions(self) -> int:
        try:
            body = await self._kube.get(LEASES, self._name, self._namespace)
        except NotFound:
            return 0
        return int(body["spec"].get("leaseTransitions", 0))


def turns(acts: Sequence[Act]) -> list[Act]:
    """Return the longest row of acts, each of another one than the one before and certainly later than that."""
    found: list[Act] = []
    for act in sorted(acts, key=lambda each: each.latest):
        if not found or (act.who != found[-1].who and act.earliest > found[-1].latest):
            found.append(act)
    return found
