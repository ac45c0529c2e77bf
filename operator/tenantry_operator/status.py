"""What `kubectl get tenant` and `kubectl wait` see: phase and conditions, by kstatus' conventions.

Ready is the sum; Reconciling is true while there is something left to do; Stalled is true when only a person can help.
Nothing in a status changes by itself: a condition's time moves only when its status does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CHILD_CONDITIONS", "Findings", "build_status", "namespace_status", "status_patch"]

CHILD_CONDITIONS = ("QuotaReady", "NetworkPoliciesReady", "AccessReady")

_MESSAGE_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look at a Tenant found out. `problems` need a person; `waiting` will pass; both are sentences."""

    generation: int
    phase: str
    class_name: str
    namespaces: Sequence[Mapping[str, Any]]
    class_problem: str = ""
    class_note: str = ""
    parameters_problem: str = ""
    unready: Mapping[str, str] = field(default_factory=dict)
    """Condition type → what is not in order yet, for the kinds of children."""
    problems: Sequence[str] = ()
    waiting: Sequence[str] = ()
    project_ready: tuple[bool, str, str] | None = None
    """Status, reason and message of ProjectReady; None for a tenant without an AppProject."""
    argocd: Mapping[str, Any] | None = None
    quota: Mapping[str, Any] | None = None


def namespace_status(name: str, *, ready: bool, phase: str = "Active", reason: str = "") -> dict[str, Any]:
    """Return one entry of `status.namespaces`."""
    entry: dict[str, Any] = {"name": name, "phase": phase, "ready": ready}
    return {**entry, "reason": reason[:_MESSAGE_LIMIT]} if reason else entry


def build_status(findings: Findings, *, previous: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Return the whole status. `now` is an RFC 3339 time, used only where a condition turns."""
    troubles = (findings.class_problem, findings.parameters_problem, *findings.problems)
    stalled = "; ".join(trouble for trouble in troubles if trouble)
    waiting = "; ".join(findings.waiting)
    ready = not stalled and not waiting and findings.phase != "Terminating"
    namespaces_ready = all(entry["ready"] for entry in findings.namespaces)
    conditions = [
        _condition("Ready", ready, "Reconciled" if ready else _reason(findings), stalled or waiting),
        _condition("Reconciling", bool(waiting), "Progressing" if waiting else "Settled", waiting),
        _condition("Stalled", bool(stalled), "NeedsAttention" if stalled else "AsExpected", stalled),
        _condition(
            "NamespacesReady",
            namespaces_ready,
            "Reconciled" if namespaces_ready else "NamespaceNotReady",
            "; ".join(entry.get("reason", "") for entry in findings.namespaces if not entry["ready"]),
        ),
        *(
            _condition(kind, kind not in findings.unready, *_told(findings.unready.get(kind)))
            for kind in CHILD_CONDITIONS
        ),
        _condition(
            "ClassResolved",
            not findings.class_problem,
            "ClassProblem" if findings.class_problem else "Resolved" if findings.class_name else "NoClass",
            findings.class_problem or findings.class_note,
        ),
        _condition(
            "ParametersValid",
            # Without its class nobody knows what is accepted.
            None if findings.class_problem else not findings.parameters_problem,
            "ClassProblem" if findings.class_problem else "NotAccepted" if findings.parameters_problem else "Accepted",
            findings.parameters_problem,
        ),
    ]
    if findings.project_ready is not None:
        conditions.append(_condition("ProjectReady", *findings.project_ready))
    old = {condition.get("type"): condition for condition in previous.get("conditions") or ()}
    status: dict[str, Any] = {
        "observedGeneration": findings.generation,
        "phase": findings.phase if ready or findings.phase == "Terminating" else "Failed" if stalled else "Pending",
        "conditions": [
            _timed(condition, old.get(condition["type"]), findings.generation, now) for condition in conditions
        ],
        "namespaceCount": len(findings.namespaces),
        "namespaces": list(findings.namespaces),
    }
    if findings.class_name:
        status["class"] = {"name": findings.class_name}
    if findings.argocd:
        status["argocd"] = findings.argocd
    if findings.quota is not None:
        status["quota"] = dict(findings.quota)
    return status


def status_patch(status: Mapping[str, Any], *, previous: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch that puts a status wholly in the place of another, whoever has written into that.

    Server-side apply would leave what others have added to a list, and makes null of a map that becomes empty.
    """
    patch: dict[str, Any] = dict.fromkeys(sorted(previous.keys() - status.keys()))
    for key, value in status.items():
        before = previous.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            patch[key] = status_patch(value, previous=before)
        else:
            patch[key] = value
    return patch


def _told(trouble: str | None) -> tuple[str, str]:
    return ("Reconciled", "") if trouble is None else ("NotInSync", trouble)


def _reason(findings: Findings) -> str:
    if findings.phase == "Terminating":
        return "Terminating"
    needs_a_person = findings.class_problem or findings.parameters_problem or findings.problems
    return "NeedsAttention" if needs_a_person else "Progressing"


def _condition(kind: str, holds: bool | None, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": "Unknown" if holds is None else str(holds),
        "reason": reason,
        "message": message[:_MESSAGE_LIMIT],
    }


def _timed(condition: dict[str, Any], old: Mapping[str, Any] | None, generation: int, now: str) -> dict[str, Any]:
    turned = old is None or old.get("status") != condition["status"] or "lastTransitionTime" not in old
    time = now if old is None or turned else old["lastTransitionTime"]
    return {**condition, "observedGeneration": generation, "lastTransitionTime": time}
