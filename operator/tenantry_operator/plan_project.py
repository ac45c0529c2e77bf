"""Decides what to do about a tenant's AppProject. Pure.

An AppProject must outlive the Applications that name it, since without it Argo CD can neither sync nor delete them. So
one that is not wanted any more goes when no Application refers to it, and not before.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tenantry.argocd import EffectiveProject
from tenantry.classes import Resolved
from tenantry.model import DeletionPolicy
from tenantry.names import ARGOCD_NAMESPACE
from tenantry_operator.actions import Action, ApplyProject, CreateProject, DeleteProject
from tenantry_operator.children import project
from tenantry_operator.children.child import Child, agrees, called
from tenantry_operator.children.project import FoundProject
from tenantry_operator.entry import Entry

__all__ = ["ProjectLook", "Projects", "awaited", "concerned", "leave_project", "look_at_project", "project_status"]


@dataclass(frozen=True, slots=True)
class Projects:
    """What is known of AppProjects: `found` by name, whosever, of those that the tenant has and the one that it wants.

    `served`: whether the cluster has the kind; `trouble`: why nothing is known, or "".
    """

    namespace: str = ARGOCD_NAMESPACE
    served: bool = True
    trouble: str = ""
    found: Mapping[str, FoundProject] = field(default_factory=dict)

    def owned(self, tenant: str) -> list[FoundProject]:
        """Return the AppProjects that the tenant has."""
        return [found for _, found in sorted(self.found.items()) if found.owner == tenant] if self.served else []


@dataclass(frozen=True, slots=True)
class ProjectLook:
    """What is left to do, and what to say of it.

    `condition`: status, reason and message of ProjectReady; None where the tenant has nothing to do with it. `current`:
    the name of the AppProject that it has. `problem` and `waiting` are sentences, `targets` what they speak for.
    """

    actions: tuple[Action, ...] = ()
    condition: tuple[bool, str, str] | None = None
    current: str = ""
    problem: str = ""
    waiting: str = ""
    targets: frozenset[str] = frozenset()


def concerned(entry: Entry, resolved: Resolved) -> bool:
    """Whether a plan for this Tenant needs to know of AppProjects."""
    return resolved.spec.app_project is not None or bool(_remembered(entry))


def awaited(entry: Entry, resolved: Resolved) -> str:
    """Return the name of the AppProject that the Tenant asks for, else of the one that it has had, else ""."""
    return resolved.spec.project if resolved.spec.app_project is not None else _remembered(entry)


def look_at_project(
    entry: Entry,
    resolved: Resolved,
    destinations: Collection[str],
    projects: Projects,
    failures: Mapping[str, str],
) -> ProjectLook:
    """Return what is left to do for a living tenant that may deploy to `destinations`."""
    spec = resolved.spec.app_project
    if spec is None:
        return leave_project(entry, resolved, projects, failures)
    if blind := _blind(entry, projects):
        return blind
    left = leave_project(entry, resolved, projects, failures, but=resolved.spec.project)
    own = _towards(entry, resolved, spec, destinations, projects, failures)
    if left.condition is None:
        return own
    return ProjectLook(
        actions=(*own.actions, *left.actions),
        condition=left.condition if own.condition is None or own.condition[0] else own.condition,
        current=own.current or left.current,
        problem=own.problem,
        waiting="; ".join(filter(None, (own.waiting, left.waiting))),
        targets=own.targets | left.targets,
    )


def leave_project(
    entry: Entry, resolved: Resolved, projects: Projects, failures: Mapping[str, str], *, but: str = ""
) -> ProjectLook:
    """Return what becomes of the AppProjects that the tenant has and no longer asks for, all `but` one."""
    if resolved.spec.deletion_policy is DeletionPolicy.RETAIN:
        return ProjectLook()
    if projects.trouble and projects.served and concerned(entry, resolved):
        return _blind(entry, projects) or ProjectLook()
    leaving = [found for found in projects.owned(entry.name) if found.name != but]
    if not leaving:
        return ProjectLook()
    actions, sentences, reason = [], [], "Leaving"
    for found in leaving:
        key = _key(projects, found.name)
        action = DeleteProject(key, found.present.uid, found.present.resource_version)
        if not found.present.terminating:
            actions.append(action)
        if action.target in failures:
            reason = "InUse"
        sentences.append(failures.get(action.target, f"{action.target} is to be deleted"))
    waiting = "; ".join(sentences)
    return ProjectLook(
        actions=tuple(actions),
        condition=(False, reason, waiting),
        current=leaving[0].name,
        waiting=waiting,
        targets=frozenset(action.target for action in actions),
    )


def project_status(look: ProjectLook, projects: Projects) -> dict[str, dict[str, str]] | None:
    """Return `status.argocd`, None when the tenant has no AppProject."""
    return {"project": {"name": look.current, "namespace": projects.namespace}} if look.current else None


def _towards(
    entry: Entry,
    resolved: Resolved,
    spec: EffectiveProject,
    destinations: Collection[str],
    projects: Projects,
    failures: Mapping[str, str],
) -> ProjectLook:
    tenant, owners, name = entry.name, resolved.tenant.spec.owners, resolved.spec.project
    wanted = project.build(spec, owners, tenant=tenant, name=name, argocd=projects.namespace, namespaces=destinations)
    found = projects.found.get(name)
    target = called(wanted.key)
    if why := project.refusal(wanted, tenant, found):
        problem = f"{target} is refused: {why}"
        return ProjectLook(condition=(False, "Refused", problem), problem=problem)
    current = name if found is not None and found.owner == tenant else ""
    if found is not None and found.present.terminating:
        waiting = f"{target} is being deleted; it is created again once it is gone"
        return ProjectLook(condition=(False, "Terminating", waiting), current=current, waiting=waiting)
    if found is not None and found.owner == tenant and agrees(wanted, found.present):
        problem = "; ".join(project.group_refusals(owners))
        condition = (False, "NotInSync", problem) if problem else (True, "Reconciled", "")
        return ProjectLook(condition=condition, current=current, problem=problem)
    action = _step(wanted, tenant, projects, found)
    if failure := failures.get(target, ""):
        return ProjectLook((action,), (False, "NotInSync", failure), current, failure, targets=frozenset({target}))
    waiting = f"{target} is not as it should be yet"
    return ProjectLook((action,), (False, "NotInSync", waiting), current, waiting=waiting)


def _step(wanted: Child, tenant: str, projects: Projects, found: FoundProject | None) -> Action:
    if found is None:
        name = wanted.key[2]
        return CreateProject(wanted.key, project.seed(tenant, name, argocd=projects.namespace))
    return ApplyProject(wanted, found.present.uid)


def _blind(entry: Entry, projects: Projects) -> ProjectLook | None:
    remembered = _remembered(entry)
    if not projects.served:
        waiting = (
            "this cluster does not serve AppProjects; install Argo CD, which is noticed by itself, or set "
            "argocd.enabled to false"
        )
        return ProjectLook(condition=(False, "ArgoCDNotInstalled", waiting), waiting=waiting)
    if projects.trouble:
        waiting = f"the AppProjects of the namespace {projects.namespace} can't be read: {projects.trouble}"
        return ProjectLook(condition=(False, "Unknown", waiting), current=remembered, waiting=waiting)
    return None


def _remembered(entry: Entry) -> str:
    name: str = ((entry.status.get("argocd") or {}).get("project") or {}).get("name", "")
    return name


def _key(projects: Projects, name: str) -> tuple[str, str, str]:
    return "AppProject", projects.namespace, name
