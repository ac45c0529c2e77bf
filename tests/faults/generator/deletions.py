"""Who watches Argo CD's Applications: each that is deleted, is to be, or is another one of the same name, is noted.

The whole history counts. An Application that is deleted and made again a second later has lost what ran in it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tenantry.kube import Kube
from tenantry.reflector import Key, Reflector
from tenantry.resources import APPLICATIONS
from tests.faults.family import Broken
from tests.faults.generator.client import Trace
from tests.support.argocd import NAMESPACE
from tests.support.background import background
from tests.support.eventually import eventually

__all__ = ["TENANT", "Applications", "Owed"]

TENANT = "faults.example/tenant"
"""The label by which an Application says whose it is."""


@dataclass(frozen=True, slots=True)
class _Application:
    application_set: str
    tenant: str
    uid: str
    leaves: bool


class Owed:
    """The tenants of one ApplicationSet: those in `owed` must keep their Applications, those in `has` have one."""

    def __init__(self, trace: Trace) -> None:
        self.owed: set[str] = set()
        self.has: set[str] = set()
        self._trace = trace
        self._broken = asyncio.Event()
        self._why = ""

    def lost(self, tenant: str, how: str) -> None:
        """Note that the Application of a tenant goes, or has gone."""
        self._trace.note(f"the Application of {tenant} {how}")
        self.has.discard(tenant)
        if tenant in self.owed and not self._why:
            self._why = f"the Application of {tenant}, whom nobody has let go, {how}; what led there:\n  {self._trace}"
            self._broken.set()

    async def watch(self) -> None:
        """Wait until one is lost that must not be, for ever if need be, and raise Broken."""
        await self._broken.wait()
        raise Broken(self._why)

    async def becomes(self, *, within: float) -> None:
        """Wait until exactly those in `owed` have an Application."""
        try:
            await eventually(lambda: self.has == self.owed, within=within, what="the Applications are those owed")
        except AssertionError:
            differ = f"missing {sorted(self.owed - self.has)}, too many {sorted(self.has - self.owed)}"
            raise Broken(f"the Applications are not what they ought to be: {differ}\n  {self._trace}") from None


class Applications:
    """Follows every Application and tells the Owed of its ApplicationSet."""

    def __init__(self, kube: Kube) -> None:
        self.sets: dict[str, Owed] = {}
        self._reflector = Reflector(kube, APPLICATIONS, namespace=NAMESPACE, transform=_read, on_change=self._changed)

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Follow them during the block."""
        async with background(self._reflector.run()):
            await self._reflector.synced.wait()
            yield

    def names(self, application_set: str) -> list[str]:
        """Return the names of the Applications of an ApplicationSet."""
        return [key[1] for key, each in self._reflector.items.items() if each.application_set == application_set]

    def _changed(self, key: Key, before: _Application | None, after: _Application | None) -> None:
        known = after or before
        owed = self.sets.get(known.application_set) if known is not None else None
        if known is None or owed is None:
            return
        if after is None:
            if before is not None and not before.leaves:
                owed.lost(known.tenant, "is deleted")
        elif after.leaves:
            if before is None or not before.leaves:
                owed.lost(known.tenant, "has a deletionTimestamp")
        else:
            if before is not None and before.uid != after.uid:
                owed.lost(known.tenant, "is another one of the same name")
            owed.has.add(known.tenant)


def _read(body: Mapping[str, Any]) -> _Application:
    metadata = body["metadata"]
    owners = [each["name"] for each in metadata.get("ownerReferences", []) if each["kind"] == "ApplicationSet"]
    tenant = (metadata.get("labels") or {}).get(TENANT, "")
    return _Application("".join(owners), tenant, metadata["uid"], "deletionTimestamp" in metadata)
