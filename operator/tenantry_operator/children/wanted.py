"""Everything that a tenant is to have inside its namespaces, put together from the builders of each kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tenantry.classes import Resolved, namespaces_of
from tenantry.names import ARGOCD_NAMESPACE, is_system_namespace
from tenantry.resources import LIMIT_RANGES, NETWORK_POLICIES, RESOURCE_QUOTAS, ROLE_BINDINGS, Resource
from tenantry_operator.children import access, deployer, limits, network, quota

__all__ = ["Wanted", "wanted_children"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be there, and what is wrong with what was asked for.

    `kept`: kinds of which nothing may be written or removed until the problem is solved; `bodies` has none of them.
    `problems`: the kind that a problem is with, and a sentence with what, where and what to do.
    """

    bodies: tuple[tuple[Resource, dict[str, Any]], ...]
    problems: tuple[tuple[Resource, str], ...] = ()
    kept: frozenset[Resource] = frozenset()


def wanted_children(resolved: Resolved, namespaces: Sequence[str], argocd: str = ARGOCD_NAMESPACE) -> Wanted:
    """Return what the tenant should have in those of its namespaces that are named, namespace by namespace.

    Those that are named are the tenant's own; the problems are those of all that it asks for. `argocd`: where Argo CD
    is.
    """
    tenant, spec, all_namespaces = resolved.tenant, resolved.spec, namespaces_of(resolved)
    # What is asked for and refused is somebody else's, however it is called.
    own = frozenset(
        found.name
        for found in all_namespaces
        if found.name in namespaces and not is_system_namespace(found.name, argocd)
    )
    refusals = [refusal for refusal in (quota.overdraft(spec, all_namespaces), quota.overlimit(resolved)) if refusal]
    bodies: list[tuple[Resource, dict[str, Any]]] = []
    for namespace in all_namespaces:
        if namespace.name not in namespaces:
            continue
        if not refusals:
            bodies += [(RESOURCE_QUOTAS, body) for body in quota.build(spec, namespace)]
        bodies += [(LIMIT_RANGES, body) for body in limits.build(spec, namespace.name)]
        bodies += [(NETWORK_POLICIES, body) for body in network.build(spec, namespace.name, own)]
        bindings = access.build(tenant.spec.owners, spec, namespace=namespace.name, own=own)
        bodies += [(ROLE_BINDINGS, body) for body in bindings]
        if spec.app_project is not None and spec.app_project.impersonation:
            bodies += deployer.build(namespace.name)
    return Wanted(
        bodies=tuple(bodies),
        problems=(
            *((RESOURCE_QUOTAS, refusal) for refusal in refusals),
            *((ROLE_BINDINGS, refusal) for refusal in access.refusals(tenant.spec.owners, spec, own)),
        ),
        kept=frozenset({RESOURCE_QUOTAS} if refusals else ()),
    )
