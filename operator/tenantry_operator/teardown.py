"""Decides how a tenant lets go of its namespaces: when the Tenant is deleted, or when its spec drops one.

`deletionPolicy` says what becomes of them. Delete: they are deleted. Orphan, the default: they stay, without our labels
and with a note of where they came from. Retain: they stay as they are, and a new Tenant of the name finds them its own.
A namespace that joined by its label and was never listed is not the Tenant's to delete: where others are deleted it is
orphaned.
"""

from collections.abc import Mapping

from tenantry.classes import Resolved, namespaces_of
from tenantry.model import DeletionPolicy
from tenantry.names import FINALIZER
from tenantry_operator.actions import Action, DeleteNamespace, ReleaseNamespace, RemoveFinalizer
from tenantry_operator.children.child import ChildKey, Present
from tenantry_operator.children.namespace import Namespace, release_patch
from tenantry_operator.entry import Entry
from tenantry_operator.plan_children import delete_all
from tenantry_operator.plan_project import Projects, leave_project, project_status
from tenantry_operator.status import Findings, namespace_status

__all__ = ["leave_unwanted", "plan"]


def plan(
    entry: Entry,
    resolved: Resolved,
    present: Mapping[str, Namespace],
    children: Mapping[ChildKey, Present],
    failures: Mapping[str, str],
    projects: Projects,
) -> tuple[list[Action], Findings]:
    """Return the next steps of taking down a Tenant that has a deletionTimestamp, and what to report meanwhile.

    The AppProject goes after the namespaces, and the finalizer last, once nothing is left that the policy says should
    not be.
    """
    project = leave_project(entry, resolved, projects, failures)
    held = [] if resolved.spec.deletion_policy == DeletionPolicy.RETAIN else _owned(entry, present)
    actions: list[Action] = []
    if FINALIZER in entry.finalizers:
        # A namespace that stays must not keep the quota and the access of a tenant that is gone.
        orphaning = resolved.spec.deletion_policy == DeletionPolicy.ORPHAN
        staying = {found.name for found in held if not _goes(resolved, found)}
        stripped = delete_all({key: child for key, child in children.items() if orphaning or key[1] in staying})
        if stripped:
            actions = stripped  # and nothing before all of it is done: once the rest is gone, nobody comes back for it
        elif held:
            actions = _leave(entry, resolved, held)
        elif project.condition is not None:
            actions = list(project.actions)
        else:
            actions = [RemoveFinalizer()]
    waiting = [f"waiting for namespace {namespace.name} to be gone" for namespace in held if namespace.terminating]
    findings = Findings(
        generation=entry.generation,
        phase="Terminating",
        class_name=resolved.class_name,
        namespaces=[
            namespace_status(namespace.name, ready=False, phase="Terminating", reason="the Tenant is being deleted")
            for namespace in held
        ],
        problems=[message for target, message in failures.items() if target not in project.targets],
        waiting=[*waiting, *([project.waiting] if project.waiting else [])],
        project_ready=project.condition,
        argocd=project_status(project, projects),
    )
    return actions, findings


def leave_unwanted(entry: Entry, resolved: Resolved, present: Mapping[str, Namespace]) -> list[Action]:
    """Return what becomes of the namespaces that a living Tenant has and no longer asks for.

    One whose entry is still there is kept whatever its name: an entry that is renamed by a pattern loses nothing.
    """
    wanted = {namespace.name for namespace in namespaces_of(resolved)}
    entries = {namespace.entry for namespace in namespaces_of(resolved)} - {None}
    leaving = [found for found in _owned(entry, present) if found.name not in wanted and found.entry not in entries]
    return _leave(entry, resolved, leaving)


def _owned(entry: Entry, present: Mapping[str, Namespace]) -> list[Namespace]:
    return [namespace for _, namespace in sorted(present.items()) if namespace.owner == entry.name]


def _goes(resolved: Resolved, namespace: Namespace) -> bool:
    return resolved.spec.deletion_policy == DeletionPolicy.DELETE and namespace.entry is not None


def _leave(entry: Entry, resolved: Resolved, leaving: list[Namespace]) -> list[Action]:
    actions: list[Action] = []
    for namespace in leaving:
        if _goes(resolved, namespace):
            actions += [] if namespace.terminating else [DeleteNamespace(namespace.name, namespace.uid)]
        elif resolved.spec.deletion_policy != DeletionPolicy.RETAIN or namespace.entry is None:
            actions.append(ReleaseNamespace(namespace.name, release_patch(entry.name, namespace)))
    return actions
