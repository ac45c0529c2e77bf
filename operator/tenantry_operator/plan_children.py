"""Decides what to do about what a tenant has inside its namespaces. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tenantry.classes import Resolved
from tenantry.names import ARGOCD_NAMESPACE
from tenantry_operator.actions import Action, ApplyChild, DeleteChild
from tenantry_operator.children.child import Child, ChildKey, Present, agrees, complete
from tenantry_operator.children.wanted import wanted_children

__all__ = ["Inside", "delete_all", "look_inside"]

_CONDITION = {
    "ResourceQuota": "QuotaReady",
    "LimitRange": "QuotaReady",
    "NetworkPolicy": "NetworkPoliciesReady",
    "RoleBinding": "AccessReady",
    "ServiceAccount": "AccessReady",
}


@dataclass(frozen=True, slots=True)
class Inside:
    """What is left to do inside the namespaces, and what to say of it. `unready`: condition type → sentence."""

    actions: tuple[Action, ...]
    unready: Mapping[str, str]
    problems: tuple[str, ...]
    waiting: tuple[str, ...]


def look_inside(
    tenant: str,
    resolved: Resolved,
    standing: Sequence[str],
    present: Mapping[ChildKey, Present],
    failures: Mapping[str, str],
    argocd: str = ARGOCD_NAMESPACE,
    *,
    made: Collection[str] = (),
    lost: Mapping[ChildKey, Present] | None = None,
) -> Inside:
    """Compare what the tenant should have in the namespaces `standing` with what it has, `present`.

    `made`: those of `standing` that an earlier action of the plan makes: what is known of their insides was in others
    of the same names. `lost`: what it has had; if it is not wanted any more, and still there, it goes too.
    """
    present = {key: found for key, found in present.items() if key[1] not in made}
    wanted = wanted_children(resolved, standing, argocd)
    children = [complete(tenant, resource, body) for resource, body in wanted.bodies]
    actions: list[Action] = []
    unready: dict[str, str] = {}
    for kind, sentence in wanted.problems:
        unready.setdefault(_CONDITION[kind.kind], sentence)
    waiting: list[str] = []
    for child in children:
        found = present.get(child.key)
        if found is not None and (found.terminating or agrees(child, found)):
            continue
        action = ApplyChild(child, first=found is None, alone=child.key[1] in made)
        actions.append(action)
        sentence = failures.get(action.target, f"{action.target} is not as it should be yet")
        unready.setdefault(_CONDITION[child.resource.kind], sentence)
        if action.target not in failures:
            waiting.append(sentence)
    kept = {kind.kind for kind in wanted.kept}
    had = {**(lost or {}), **present}
    actions += _unwanted(
        children, {key: found for key, found in had.items() if key[0] not in kept and key[1] not in made}
    )
    return Inside(tuple(actions), unready, tuple(sentence for _, sentence in wanted.problems), tuple(waiting))


def delete_all(present: Mapping[ChildKey, Present]) -> list[Action]:
    """Return the deletion of every child that is not being deleted already."""
    return _unwanted([], present)


def _unwanted(children: Sequence[Child], present: Mapping[ChildKey, Present]) -> list[Action]:
    kept = {child.key for child in children}
    return [
        DeleteChild(found.resource, key, found.uid, found.resource_version)
        for key, found in sorted(present.items(), key=lambda item: item[0])
        if key not in kept and not found.terminating
    ]
