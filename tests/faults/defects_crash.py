"""Deliberate mistakes in what makes the operator safe to kill, and to be refused, after any write."""

from collections.abc import Mapping, Sequence
from typing import Any

from tenantry.errors import Conflict
from tenantry.kube import Kube
from tenantry.names import ARGOCD_NAMESPACE
from tenantry.resources import APP_PROJECTS
from tenantry_operator import execute, plan_children, teardown
from tenantry_operator.actions import Action, DeleteChild, RemoveFinalizer
from tenantry_operator.children.child import Child, ChildKey, Present

__all__ = ["let_the_tenant_go_at_once", "make_the_project_again", "prune_only_what_was_applied"]


def prune_only_what_was_applied() -> None:
    """Remember in memory what was wanted, and prune nothing else."""
    applied: set[ChildKey] = set()
    unwanted = plan_children._unwanted

    def remembered(children: Sequence[Child], present: Mapping[ChildKey, Present]) -> list[Action]:
        applied.update(child.key for child in children)
        return [each for each in unwanted(children, present) if isinstance(each, DeleteChild) and each.key in applied]

    plan_children._unwanted = remembered


def make_the_project_again() -> None:
    """Take a Conflict of a create for something to be cleared away."""
    create = execute._create_project

    async def again(kube: Kube, body: dict[str, Any]) -> dict[str, Any]:
        try:
            return await create(kube, body)
        except Conflict:
            live = (await kube.get(APP_PROJECTS, body["metadata"]["name"], ARGOCD_NAMESPACE))["metadata"]
            versions = {"uid": live["uid"], "resource_version": live["resourceVersion"]}
            await kube.delete(APP_PROJECTS, live["name"], ARGOCD_NAMESPACE, **versions)
            return await create(kube, body)

    execute._create_project = again


def let_the_tenant_go_at_once() -> None:
    """Remove the finalizer in the same pass that deletes the namespaces."""
    leave = teardown._leave

    def and_go(entry: Any, resolved: Any, leaving: Any) -> list[Action]:
        return [*leave(entry, resolved, leaving), *([RemoveFinalizer()] if entry.deleting else [])]

    teardown._leave = and_go
