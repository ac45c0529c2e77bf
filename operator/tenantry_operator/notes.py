"""What a person should read about a Tenant under `kubectl describe`: what has just turned, and what was just done.

Pure: from two statuses, or from an action that has succeeded. Nothing follows from how things stand, so neither a
restart nor a resync says anything again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenantry.names import FINALIZER
from tenantry_operator.actions import (
    Action,
    ApplyChild,
    ApplyNamespace,
    CreateNamespace,
    DeleteNamespace,
    ReleaseNamespace,
)
from tenantry_operator.entry import Entry

__all__ = ["Note", "of_action", "of_deletion", "of_transition"]


@dataclass(frozen=True, slots=True)
class Note:
    """One Event's reason and text. `warning`: a person is needed."""

    reason: str
    text: str
    warning: bool = False


def of_transition(before: Mapping[str, Any], after: Mapping[str, Any]) -> Note | None:
    """Return what to say of a status that has just taken the place of another."""
    stalled = _condition(after, "Stalled")
    trouble = stalled.get("message", "") if stalled.get("status") == "True" else ""
    if trouble:
        known = _condition(before, "Stalled").get("message") == trouble
        return None if known else Note("NeedsAttention", trouble, warning=True)
    if _holds(after, "Ready") and not _holds(before, "Ready"):
        return Note("Reconciled", "everything is as the Tenant and its class want it")
    return None


def of_deletion(entry: Entry) -> Note | None:
    """Return that off-boarding begins, when this is the first look at a Tenant that is being deleted."""
    if entry.deleting and FINALIZER in entry.finalizers and entry.status.get("phase") != "Terminating":
        return Note("OffboardingStarted", "the Tenant is being deleted; its namespaces go by its deletionPolicy")
    return None


def of_action(action: Action, *, drift: bool) -> Note | None:
    """Return what to say of an action that was carried out; `drift`: it undid what somebody else had done."""
    match action:
        case CreateNamespace():
            return Note("NamespaceCreated", f"created namespace {action.target}")
        case ApplyNamespace():
            return Note("NamespaceUpdated", f"brought namespace {action.target} into line")
        case ReleaseNamespace():
            return Note("NamespaceReleased", f"released namespace {action.target}; it stays, and is no longer managed")
        case DeleteNamespace():
            return Note("NamespaceDeleted", f"deleted namespace {action.target}")
        case ApplyChild() if drift:
            what = "was missing and is there again" if action.first else "was changed and is put back"
            return Note("DriftRepaired", f"{action.target} {what}")
        case _:
            return None


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((found for found in status.get("conditions") or () if found.get("type") == kind), {})


def _holds(status: Mapping[str, Any], kind: str) -> bool:
    return bool(_condition(status, kind).get("status") == "True")
