"""Decides what to do about one Tenant. Pure: the same view of the cluster always gives the same plan.

A plan is computed from what is there, not from what happened, so it does not matter which events were missed or after
which write the process was killed: the next plan takes it from there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenantry.classes import Reason, Resolved, TenantNamespace, namespaces_of
from tenantry.names import FINALIZER
from tenantry_operator import teardown
from tenantry_operator.actions import Action, AddFinalizer, ApplyNamespace, CreateNamespace
from tenantry_operator.children import namespace as namespaces
from tenantry_operator.children.namespace import Claim, Namespace
from tenantry_operator.entry import Entry
from tenantry_operator.status import Findings, build_status, namespace_status

__all__ = ["Plan", "View", "make_plan", "refused_plan", "wanted_names"]


@dataclass(frozen=True, slots=True)
class View:
    """Everything that a plan may depend on. `namespaces`: those that the tenant has or wants, by name, if present."""

    entry: Entry
    resolved: Resolved
    namespaces: Mapping[str, Namespace]
    failures: Mapping[str, str]
    """What the API server refused when this version of the Tenant was last acted on: object → its words."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`actions` in order, then `status` (None: it is as it should be)."""

    actions: tuple[Action, ...]
    status: dict[str, Any] | None


def wanted_names(resolved: Resolved) -> tuple[str, ...]:
    """Return the names of the namespaces that a Tenant asks for."""
    return tuple(namespace.name for namespace in namespaces_of(resolved))


def make_plan(view: View, *, now: str) -> Plan:
    """Return what is left to do. `now`: RFC 3339, for the time of conditions that turn."""
    if view.entry.deleting:
        actions, findings = teardown.plan(view.entry, view.resolved, view.namespaces, view.failures)
    else:
        actions, findings = _standing(view)
    status = build_status(findings, previous=view.entry.status, now=now)
    return Plan(tuple(actions), None if status == view.entry.status else status)


def refused_plan(entry: Entry, *, now: str) -> Plan:
    """Return the plan for a Tenant that the model can't read: touch nothing, and say so."""
    findings = Findings(
        generation=entry.generation,
        phase="Failed",
        class_name="",
        namespaces=list(entry.status.get("namespaces") or ()),
        problems=[entry.refusal],
    )
    status = build_status(findings, previous=entry.status, now=now)
    return Plan((), None if status == entry.status else status)


def _standing(view: View) -> tuple[list[Action], Findings]:
    problem = view.resolved.problem
    if problem is not None and problem.reason is Reason.CLASS_NOT_FOUND:
        return [], _without_class(view, problem.message)
    actions: list[Action] = []
    if FINALIZER not in view.entry.finalizers:
        actions.append(AddFinalizer())
    looks = [_look(view, wanted) for wanted in namespaces_of(view.resolved)]
    actions += [look.action for look in looks if look.action is not None]
    actions += teardown.leave_unwanted(view.entry, view.resolved, view.namespaces)
    refused = [message for target, message in view.failures.items() if target not in view.namespaces]
    findings = Findings(
        generation=view.entry.generation,
        phase=view.resolved.tenant.spec.lifecycle.state,
        class_name=view.resolved.class_name,
        class_note=problem.message if problem is not None and problem.reason is Reason.SEVERAL_DEFAULT_CLASSES else "",
        namespaces=[look.entry for look in looks],
        problems=list(dict.fromkeys([*(look.problem for look in looks if look.problem), *refused])),
        waiting=[look.waiting for look in looks if look.waiting],
    )
    return actions, findings


def _without_class(view: View, message: str) -> Findings:
    # The class may be what asks for the namespaces that are there; until it is back, nothing is made or taken away.
    owned = sorted(name for name, found in view.namespaces.items() if found.owner == view.entry.name)
    return Findings(
        generation=view.entry.generation,
        phase=view.resolved.tenant.spec.lifecycle.state,
        class_name="",
        class_problem=message,
        namespaces=[namespace_status(name, ready=True) for name in owned],
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """What is to be done about one wanted namespace, and what to say of it."""

    entry: dict[str, Any]
    action: Action | None = None
    problem: str = ""
    waiting: str = ""


def _look(view: View, wanted: TenantNamespace) -> _Look:
    name, tenant = wanted.name, view.entry.name
    body = namespaces.build(tenant, name, labels=wanted.labels, annotations=wanted.annotations)
    present = view.namespaces.get(name)
    verdict, why = namespaces.claim(tenant, name, present)
    if verdict is Claim.REFUSED:
        problem = f"namespace {name} is refused: {why}"
        return _Look(namespace_status(name, ready=False, phase="Refused", reason=problem), problem=problem)
    if present is not None and present.terminating:
        waiting = f"namespace {name} is being deleted; it is created again once it is gone"
        return _Look(namespace_status(name, ready=False, phase="Terminating", reason=waiting), waiting=waiting)
    if present is not None and verdict is Claim.KEEP and namespaces.agrees(present, body):
        return _Look(namespace_status(name, ready=True))
    action = _towards(body, present)
    if name in view.failures:
        problem = view.failures[name]
        return _Look(namespace_status(name, ready=False, phase="Pending", reason=problem), action, problem=problem)
    waiting = f"namespace {name} is not as it should be yet"
    return _Look(namespace_status(name, ready=False, phase="Pending", reason=waiting), action, waiting=waiting)


def _towards(body: dict[str, Any], present: Namespace | None) -> Action:
    if present is None:
        return CreateNamespace(body)
    return ApplyNamespace(body, present.uid, namespaces.stale_patch(present, body))
