"""Decides what to do about one Tenant. Pure: the same view of the cluster always gives the same plan.

A plan is computed from what is there, not from what happened, so it does not matter which events were missed or after
which write the process was killed: the next plan takes it from there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tenantry.classes import Reason, Resolved, namespaces_of
from tenantry.names import FINALIZER
from tenantry_operator import teardown
from tenantry_operator.actions import Action, AddFinalizer, CreateNamespace
from tenantry_operator.children.child import ChildKey, Present
from tenantry_operator.children.namespace import Namespace
from tenantry_operator.claims import MOST, Claims, claim
from tenantry_operator.entry import Entry
from tenantry_operator.plan_children import look_inside
from tenantry_operator.plan_namespaces import Look, look_at
from tenantry_operator.plan_project import Projects, look_at_project, project_status
from tenantry_operator.status import Findings, build_status, namespace_status
from tenantry_operator.status_quota import quota_status

__all__ = ["Plan", "View", "make_plan", "refused_plan", "wanted_names"]


@dataclass(frozen=True, slots=True)
class View:
    """Everything that a plan may depend on. `namespaces`: those that it has, wants or is offered, by name."""

    entry: Entry
    resolved: Resolved
    namespaces: Mapping[str, Namespace]
    children: Mapping[ChildKey, Present]
    """Everything in the cluster that is the tenant's own, but for its namespaces."""
    failures: Mapping[str, str]
    """What the API server refused when this version of the Tenant was last acted on: object → its words."""
    projects: Projects = field(default_factory=Projects)
    lost: Mapping[ChildKey, Present] = field(default_factory=dict)
    """What the tenant had as well: it is gone, or somebody has taken off it whose it is."""


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
    view = replace(view, children=_not_going(view, view.children), lost=_not_going(view, view.lost))
    if view.entry.deleting:
        had = {**view.lost, **view.children}
        actions, findings = teardown.plan(view.entry, view.resolved, view.namespaces, had, view.failures, view.projects)
    else:
        actions, findings = _living(view)
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
        argocd=entry.status.get("argocd"),
        quota=entry.status.get("quota"),
    )
    status = build_status(findings, previous=entry.status, now=now)
    return Plan((), None if status == entry.status else status)


def _not_going(view: View, children: Mapping[ChildKey, Present]) -> dict[ChildKey, Present]:
    # Kubernetes deletes what is in a namespace that is being deleted, and in an order of its own.
    going = {name for name, found in view.namespaces.items() if found.terminating}
    return {key: child for key, child in children.items() if key[1] not in going}


def _living(view: View) -> tuple[list[Action], Findings]:
    problem = view.resolved.problem
    if problem is not None and problem.without_class:
        return [], _without_class(view, problem.message)
    claims = claim(view.resolved, view.namespaces, argocd=view.projects.namespace)
    return _standing(replace(view, resolved=claims.resolved), claims)


def _standing(view: View, claims: Claims) -> tuple[list[Action], Findings]:
    problem = view.resolved.problem
    tenant, argocd = view.entry.name, view.projects.namespace
    actions: list[Action] = [] if FINALIZER in view.entry.finalizers else [AddFinalizer()]
    looks = [
        look_at(tenant, wanted, view.namespaces.get(wanted.name), view.failures.get(wanted.name, ""), argocd)
        for wanted in namespaces_of(view.resolved)
        if wanted.name not in claims.refused
    ]
    looks += [
        Look(namespace_status(name, ready=False, phase="Refused", reason=reason))
        for name, reason in claims.refused.items()
    ]
    actions += [look.action for look in looks if look.action is not None]
    standing = {name for name, found in view.namespaces.items() if found.owner == tenant and not found.terminating}
    # A namespace that is made by an earlier action of this plan can be filled by the later ones.
    standing |= {look.action.target for look in looks if look.action is not None and not look.problem}
    made = {look.action.target for look in looks if isinstance(look.action, CreateNamespace)}
    inside = look_inside(
        tenant, view.resolved, sorted(standing), view.children, view.failures, argocd, made=made, lost=view.lost
    )
    # Children go before the namespaces that they are in are let go.
    actions += [*inside.actions, *teardown.leave_unwanted(view.entry, view.resolved, view.namespaces)]
    project = look_at_project(view.entry, view.resolved, _destinations(view, looks), view.projects, view.failures)
    actions += project.actions
    spoken = {look.entry["name"] for look in looks} | project.targets
    others = [message for target, message in view.failures.items() if target not in spoken]
    findings = Findings(
        generation=view.entry.generation,
        phase=view.resolved.tenant.spec.lifecycle.state,
        class_name=view.resolved.class_name,
        class_note=problem.message if problem is not None and problem.reason is Reason.SEVERAL_DEFAULT_CLASSES else "",
        parameters_problem=view.resolved.parameters_problem,
        namespaces=[look.entry for look in looks][:MOST],
        unready=inside.unready,
        problems=list(
            dict.fromkeys(
                filter(
                    None,
                    [*claims.problems, *(look.problem for look in looks), *inside.problems, project.problem, *others],
                )
            )
        ),
        waiting=list(filter(None, [*(look.waiting for look in looks), *inside.waiting, project.waiting])),
        project_ready=project.condition,
        argocd=project_status(project, view.projects),
        quota=quota_status(view.resolved, view.children),
    )
    return actions, findings


def _destinations(view: View, looks: Sequence[Look]) -> list[str]:
    """Return the namespaces that are the tenant's own, or will be by an action of this plan, in their order.

    One that is being deleted stays among them, so that its Applications are not refused until it is back.
    """
    own = {name for name, found in view.namespaces.items() if found.owner == view.entry.name}
    own |= {look.action.target for look in looks if look.action is not None and not look.problem}
    return [look.entry["name"] for look in looks if look.entry["name"] in own]


def _without_class(view: View, message: str) -> Findings:
    # The class may be what asks for the namespaces that are there; until it is back, nothing is made or taken away.
    owned = sorted(name for name, found in view.namespaces.items() if found.owner == view.entry.name)
    return Findings(
        generation=view.entry.generation,
        phase=view.resolved.tenant.spec.lifecycle.state,
        class_name="",
        class_problem=message,
        namespaces=[namespace_status(name, ready=True) for name in owned],
        argocd=view.entry.status.get("argocd"),
        quota=view.entry.status.get("quota"),
    )
