"""The administrator's hand in one case: what a workload does to the cluster, and what it waits for."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.names import ADOPT_LABEL
from tenantry.resources import NAMESPACES, TENANT_CLASSES, TENANTS, Resource
from tests.faults.operator.observer import KINDS, Key, Observer
from tests.support.eventually import eventually

__all__ = ["Hand"]

_MANAGER = "faults"
_DEADLINE = 60.0
_TAKEN_APART = 90.0
"""Seconds more for Kubernetes to take the namespaces of a Tenant apart, ten at a time, with those of other cases."""
_PATIENCE = 30.0
_BY_KIND = {resource.kind: resource for resource in KINDS}


class Hand:
    """Acts for the tenant `token`, past the proxy; `deadline` in seconds is for every wait."""

    def __init__(self, kube: Kube, observer: Observer, token: str, *, deadline: float = _DEADLINE) -> None:
        self.kube = kube
        self.token = token
        self._observer = observer
        self._deadline = deadline
        self._asked = ("", 0)

    @property
    def objects(self) -> Mapping[Key, Mapping[str, Any]]:
        """What there is of the case at present."""
        return self._observer.objects[self.token]

    @property
    def tenant(self) -> Mapping[str, Any] | None:
        """The Tenant at present."""
        return self.objects.get((TENANTS.kind, "", self.token))

    async def apply(self, **spec: Any) -> None:
        """Make the Tenant, or change it, so that its spec is this and nothing else."""
        body = {"metadata": {"name": self.token}, "spec": spec}
        applied = (await self.kube.apply(TENANTS, body, field_manager=_MANAGER)).object
        self._asked = applied["metadata"]["uid"], applied["metadata"]["generation"]

    async def apply_class(self, **spec: Any) -> None:
        """The same for a TenantClass of the tenant's name."""
        body = {"metadata": {"name": self.token}, "spec": spec}
        await self.kube.apply(TENANT_CLASSES, body, field_manager=_MANAGER)

    async def delete(self) -> None:
        """Ask for the Tenant's deletion."""
        await self.kube.delete(TENANTS, self.token)

    async def offer(self, suffix: str) -> None:
        """Make a namespace that is somebody else's, and offered to the tenant."""
        labels = {ADOPT_LABEL: self.token, "theirs": "kept"}
        await self.kube.create(NAMESPACES, {"metadata": {"name": f"{self.token}{suffix}", "labels": labels}})

    async def withdraw(self, suffix: str) -> None:
        """End the offer."""
        patch = {"metadata": {"labels": {ADOPT_LABEL: None}}}
        await self.kube.merge_patch(NAMESPACES, f"{self.token}{suffix}", patch)

    async def foreign(self, resource: Resource, suffix: str, body: Mapping[str, Any]) -> None:
        """Make an object called `theirs`, which nobody but its maker is to touch, in a namespace of the tenant's."""
        await self.kube.create(resource, {"metadata": {"name": "theirs"}, **body}, f"{self.token}{suffix}")

    def is_settled(self) -> bool:
        """Whether the Tenant's newest generation is Ready and nothing is on its way."""
        if self.tenant is None or any("deletionTimestamp" in body["metadata"] for body in self.objects.values()):
            return False
        metadata = self.tenant["metadata"]
        if (metadata["uid"], metadata["generation"]) != self._asked:
            return False
        found = {each["type"]: each for each in self.tenant.get("status", {}).get("conditions", ())}
        return bool(
            found.get("Ready", {}).get("observedGeneration") == metadata["generation"]
            and found["Ready"]["status"] == "True"
        )

    def is_gone(self) -> bool:
        """Whether there is no Tenant any more, and nothing of it on its way."""
        return self.tenant is None and not any(
            "deletionTimestamp" in each["metadata"] for each in self.objects.values()
        )

    async def settled(self) -> None:
        """Wait until the Tenant is as its spec says."""
        await eventually(self.is_settled, within=self._deadline, what=f"the Tenant {self.token} has settled")

    def has_said(self, suffix: str) -> bool:
        """Whether the Tenant's status lists the namespace."""
        listed = self.tenant.get("status", {}).get("namespaces", ()) if self.tenant is not None else ()
        return any(each["name"] == f"{self.token}{suffix}" for each in listed)

    async def until(self, check: Callable[[], bool], what: str) -> None:
        """Wait for something else."""
        await eventually(check, within=self._deadline, what=f"{self.token}: {what}")

    async def gone(self) -> None:
        """Wait until the Tenant is gone."""
        await eventually(self.is_gone, within=self._deadline + _TAKEN_APART, what=f"the Tenant {self.token} is gone")

    async def clear(self) -> None:
        """Remove all that there is of the case but its namespaces, whose deletion would cost most of all."""
        if self.tenant is not None:
            await _whatever(self.kube.merge_patch(TENANTS, self.token, {"spec": {"deletionPolicy": "Retain"}}))
            await _whatever(self.kube.delete(TENANTS, self.token))
            try:
                await eventually(lambda: self.tenant is None, within=_PATIENCE, what="the operator lets it go")
            except AssertionError:  # it may have been made to do otherwise
                await _whatever(self.kube.merge_patch(TENANTS, self.token, {"metadata": {"finalizers": []}}))
        await _whatever(self.kube.delete(TENANT_CLASSES, self.token))
        children = [key for key in self.objects if key[1]]
        await asyncio.gather(
            *(_whatever(self.kube.delete(_BY_KIND[kind], name, space)) for kind, space, name in children)
        )

    def is_cleared(self) -> bool:
        """Whether `clear` has been successful."""
        return all(kind == NAMESPACES.kind for kind, _, _ in self.objects)


async def _whatever(step: Any) -> None:
    try:
        await step
    except NotFound:
        return
