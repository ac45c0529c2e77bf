"""Deliberate mistakes in what makes the operator safe to kill, and to be refused, after any write."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from tenantry.errors import KubeError, Unavailable
from tenantry.kube import Kube
from tenantry.names import FIELD_MANAGER, MANAGED_BY_LABEL, TENANT_LABEL
from tenantry_operator import execute, plan, plan_children, reconcile, status
from tenantry_operator.actions import Action, ApplyChild, DeleteChild
from tenantry_operator.children.child import Child, ChildKey, Present
from tenantry_operator.entry import Entry

__all__ = [
    "believe_what_was_sent",
    "clear_what_was_half_done",
    "prune_only_what_was_applied",
    "renew_the_times",
    "undo_what_is_unclear",
]


def prune_only_what_was_applied() -> None:
    """Remember in memory what was wanted, and prune nothing else."""
    applied: set[ChildKey] = set()
    unwanted = plan_children._unwanted

    def remembered(children: Sequence[Child], present: Mapping[ChildKey, Present]) -> list[Action]:
        applied.update(child.key for child in children)
        return [each for each in unwanted(children, present) if isinstance(each, DeleteChild) and each.key in applied]

    plan_children._unwanted = remembered


def undo_what_is_unclear() -> None:
    """Delete what may have been made by a request without an answer."""
    carry_out = execute.execute

    async def undoing(kube: Kube, entry: Entry, action: Action, memory: execute.Memory) -> None:
        try:
            await carry_out(kube, entry, action, memory)
        except Unavailable:
            if isinstance(action, ApplyChild) and action.first:
                _, namespace, name = action.child.key
                live = (await kube.get(action.child.resource, name, namespace))["metadata"]
                versions = {"uid": live["uid"], "resource_version": live["resourceVersion"]}
                await kube.delete(action.child.resource, name, namespace, **versions)
            raise

    setattr(reconcile, "execute", undoing)  # noqa: B010 - mypy knows that it is not exported


def clear_what_was_half_done() -> None:
    """Upon the first look at a Tenant whose status is behind, remove what a predecessor has made for it."""
    known: set[str] = set()
    standing = plan._standing

    def tidied(view: plan.View, claims: Any) -> Any:
        actions, findings = standing(view, claims)
        new = view.entry.uid not in known
        known.add(view.entry.uid)
        if new and view.entry.status.get("observedGeneration") != view.entry.generation:
            return [*plan_children.delete_all(view.children), *actions], findings
        return actions, findings

    plan._standing = tidied


def believe_what_was_sent() -> None:
    """Put what is sent into the cache before it is sent, and pass over what comes back."""
    carry_out = execute.execute

    async def believing(kube: Kube, entry: Entry, action: Action, memory: execute.Memory) -> None:
        if not isinstance(action, ApplyChild):
            await carry_out(kube, entry, action, memory)
            return
        child = action.child
        ours: dict[str, Any] = {
            "f:metadata": {"f:labels": {f"f:{label}": {} for label in (TENANT_LABEL, MANAGED_BY_LABEL)}}
        }
        fields = [{"manager": FIELD_MANAGER, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": ours}]
        metadata = {**child.body["metadata"], "uid": "?", "resourceVersion": str(10**15), "managedFields": fields}
        memory.absorb(entry, {**child.body, "kind": child.resource.kind, "metadata": metadata})
        with suppress(KubeError):
            await kube.apply(child.resource, child.body, field_manager=FIELD_MANAGER)

    setattr(reconcile, "execute", believing)  # noqa: B010 - mypy knows that it is not exported


def renew_the_times() -> None:
    """Write the time of a look into conditions that have not turned."""
    timed = status._timed

    def renewed(condition: dict[str, Any], old: Any, generation: int, now: str) -> dict[str, Any]:
        return {**timed(condition, old, generation, now), "lastTransitionTime": now}

    status._timed = renewed
