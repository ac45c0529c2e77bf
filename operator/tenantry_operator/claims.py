"""Decides which namespaces a living tenant is to have, in view of those that it has. Pure.

What the spec lists is only the wish. An entry keeps the namespace that it has, whatever a changed pattern would call
it; namespaces join that their owners offer by label; and what is beyond the quota or the class's limits is not made,
while nothing that is there is given up for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tenantry.classes import Resolved, TenantNamespace
from tenantry.model import DeletionPolicy
from tenantry.names import ADOPT_LABEL, ARGOCD_NAMESPACE, is_system_namespace
from tenantry_operator.children.namespace import Namespace
from tenantry_operator.children.quota import excess

__all__ = ["MOST", "Claims", "claim"]

MOST = 128
"""Namespaces that a tenant can have when nothing else limits them: as many as its status can name."""


@dataclass(frozen=True, slots=True)
class Claims:
    """`resolved` with the namespaces that the tenant is to have: those that are listed, then those that joined.

    `refused`: those that are not made or taken over for now, with the reason. `problems`: sentences.
    """

    resolved: Resolved
    refused: Mapping[str, str]
    problems: tuple[str, ...]


def claim(resolved: Resolved, present: Mapping[str, Namespace], *, argocd: str = ARGOCD_NAMESPACE) -> Claims:
    """Match what the spec lists with what is there, `present`: the tenant's namespaces, and those it may get.

    `argocd`: where Argo CD is.
    """
    owned = {name: found for name, found in present.items() if found.owner == resolved.tenant.name}
    listed, problems = _keep_what_entries_have(resolved.namespaces, owned)
    joining = _joining(resolved, {namespace.name for namespace in listed}, present, argocd)
    refused, over_quota = _beyond_quota(replace(resolved, namespaces=(*listed, *joining)), owned)
    new = [found.name for found in (*listed, *joining) if found.name not in owned]
    before = replace(resolved, namespaces=(*listed, *(found for found in joining if found.name in owned)))
    after = replace(resolved, namespaces=(*listed, *(found for found in joining if found.name not in refused)))
    if over := excess(before):
        refused |= dict.fromkeys(new, f"the tenant is {over}")
    elif over := excess(after):
        # An offer that nobody asked for must not make the tenant's own wishes too many.
        offers = [found.name for found in joining if found.name in new]
        refused |= dict.fromkeys(offers, f"with it the tenant would be {over}")
        problems.append(f"namespaces: {', '.join(offers)} can't join, or the tenant would be {over}")
    settled = (*listed, *(found for found in joining if found.name not in refused))
    return Claims(replace(resolved, namespaces=settled), refused, (*problems, *over_quota))


def _keep_what_entries_have(
    wanted: Sequence[TenantNamespace], owned: Mapping[str, Namespace]
) -> tuple[list[TenantNamespace], list[str]]:
    has: dict[str | None, str] = {found.entry: name for name, found in sorted(owned.items(), reverse=True)}
    # Should several be for one entry, it is the one of the right name.
    for found in wanted:
        if found.name in owned and owned[found.name].entry == found.entry:
            has[found.entry] = found.name
    taken = {has[found.entry]: found.entry for found in wanted if found.entry in has}
    kept, problems = [], []
    for namespace in wanted:
        name = has.get(namespace.entry, namespace.name)
        holder = taken.setdefault(name, namespace.entry)
        if holder != namespace.entry:
            problems.append(
                f"namespaces: the entries {holder} and {namespace.entry} are both for the namespace {name}; "
                f"{holder} has it; give {namespace.entry} another fullName, or take it out"
            )
            continue
        if name != namespace.name:
            problems.append(
                f"namespaces: the entry {namespace.entry} has the namespace {name}, which would now be called "
                f"{namespace.name}; a namespace can't be renamed, so it is kept; give the entry the fullName {name}, "
                "or delete the namespace to have a new one"
            )
        kept.append(replace(namespace, name=name))
    return kept, problems


def _joining(
    resolved: Resolved, listed: set[str], present: Mapping[str, Namespace], argocd: str
) -> list[TenantNamespace]:
    if not resolved.spec.adopt_by_label:
        return []
    tenant, spec = resolved.tenant.name, resolved.spec
    return [
        TenantNamespace(name, {**spec.labels, **spec.pod_security}, spec.annotations, entry=None)
        for name, found in sorted(present.items())
        if found.labels.get(ADOPT_LABEL) == tenant and found.owner in (None, tenant)
        if name not in listed and not found.terminating and not is_system_namespace(name, argocd)
    ]


def _beyond_quota(settled: Resolved, owned: Mapping[str, Namespace]) -> tuple[dict[str, str], list[str]]:
    asked, most = settled.spec.namespace_quota, settled.limits.namespaces.quota
    quota = min(MOST if asked is None else asked, MOST if most is None else most)
    problems = []
    if asked is not None and asked > quota:
        problems.append(
            f"namespaces.quota: {asked} is {asked - quota} more than the {quota} that TenantClass {settled.class_name} "
            f"allows; lower it; until then it counts as {quota}"
        )
    names = [namespace.name for namespace in settled.namespaces]
    retained = owned.keys() - set(names) if settled.spec.deletion_policy == DeletionPolicy.RETAIN else set()
    surplus = len(names) + len(retained) - quota
    if surplus <= 0:
        return {}, problems
    missing = [name for name in names if name not in owned]
    refused = missing[max(0, len(missing) - surplus) :]
    told = f"; not made: {', '.join(refused)}" if refused else "; what is there is kept"
    problems.append(
        f"namespaces.quota: {quota + surplus} namespaces are {surplus} more than the {quota} that the tenant may have"
        f"{told}; take entries out of namespaces.items, or raise the quota"
    )
    reason = f"it is beyond the {quota} namespaces that the tenant may have"
    return dict.fromkeys(refused, reason), problems
