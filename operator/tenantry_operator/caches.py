"""What the operator knows of the cluster, and who is to be looked at when some of it changes.

One Reflector a kind. Each object of ours is indexed by its tenant, so that a look at one tenant costs as much with ten
thousand others as with none.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from tenantry.errors import InvalidTenant
from tenantry.kube import Kube
from tenantry.model import TenantClass, parse_class
from tenantry.names import ARGOCD_NAMESPACE, MANAGED_BY, MANAGED_BY_LABEL
from tenantry.reflector import Key, Reflector
from tenantry.resources import (
    APP_PROJECTS,
    LIMIT_RANGES,
    NAMESPACES,
    NETWORK_POLICIES,
    RESOURCE_QUOTAS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    TENANT_CLASSES,
    Resource,
)
from tenantry.telemetry import get_logger
from tenantry_operator.children import child, namespace
from tenantry_operator.children.child import ChildKey, Present
from tenantry_operator.children.namespace import Namespace
from tenantry_operator.claims import Claims
from tenantry_operator.projects import ProjectCache

__all__ = ["CHILD_KINDS", "Caches"]

log = get_logger(__name__)

CHILD_KINDS = (RESOURCE_QUOTAS, LIMIT_RANGES, NETWORK_POLICIES, ROLE_BINDINGS, SERVICE_ACCOUNTS)


class Caches:
    """The Reflectors and their indexes. `on_tenant(name)`: something of that tenant's, or that it waits for, changed;
    `on_class()`: a TenantClass did.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        on_tenant: Callable[[str], None],
        on_class: Callable[[], None],
        argocd_namespace: str = ARGOCD_NAMESPACE,
    ) -> None:
        self._on_tenant = on_tenant
        self._on_class = on_class
        self.classes: dict[str, TenantClass] = {}
        """The usable TenantClasses by name."""
        self.projects = ProjectCache(kube, argocd_namespace, tell=self._tell)
        self._namespaces = Reflector(
            kube,
            NAMESPACES,
            transform=partial(namespace.observe, argocd=argocd_namespace),
            on_change=self._namespace_changed,
        )
        self._classes = Reflector(kube, TENANT_CLASSES, transform=_read_class, on_change=self._class_changed)
        self._children = {resource.kind: self._reflector(kube, resource) for resource in CHILD_KINDS}
        self._namespaces_of: defaultdict[str, set[str]] = defaultdict(set)
        self._children_of: defaultdict[str, dict[ChildKey, Present]] = defaultdict(dict)
        self._claims = Claims()
        self._writer: str | None = None

    @property
    def reflectors(self) -> Iterable[Reflector[Any]]:
        """Every cache that is to be run, and to be waited for until it is complete; `projects` is not."""
        return (self._namespaces, self._classes, *self._children.values())

    def namespaces(self, tenant: str, wanted: frozenset[str]) -> dict[str, Namespace]:
        """Return the namespaces that exist of those that the tenant has and of those that it wants, by name.

        What it wants is remembered: it will be looked at when one of them changes hands.
        """
        self._claims.put(tenant, wanted)
        names = wanted | self._namespaces_of.get(tenant, set())
        items = self._namespaces.items
        return {name: found for name in names if (found := items.get(("", name))) is not None}

    def children(self, tenant: str) -> Mapping[ChildKey, Present]:
        """Return everything that the tenant has inside namespaces."""
        return self._children_of.get(tenant, {})

    def forget(self, tenant: str) -> None:
        """Stop waiting for anything on behalf of a tenant that is gone."""
        self._claims.put(tenant, frozenset())
        self.projects.forget(tenant)

    def absorb(self, tenant: str, body: dict[str, Any]) -> None:
        """Take in an object that a write for `tenant` just answered with; that tenant is not told of it."""
        self._writer = tenant
        self._cache(body["kind"]).absorb(body)
        self._writer = None

    def discard(self, tenant: str, key: ChildKey, resource_version: str) -> None:
        """Take out what a write for `tenant` just deleted; that tenant is not told of it."""
        kind, namespace, name = key
        self._writer = tenant
        self._cache(kind).discard((namespace, name), resource_version)
        self._writer = None

    def _cache(self, kind: str) -> Reflector[Any]:
        return self.projects.reflector if kind == APP_PROJECTS.kind else self._children.get(kind, self._namespaces)

    def _reflector(self, kube: Kube, resource: Resource) -> Reflector[Present]:
        return Reflector(
            kube,
            resource,
            transform=partial(child.observe, resource),
            on_change=partial(self._child_changed, resource.kind),
            label_selector=f"{MANAGED_BY_LABEL}={MANAGED_BY}",
        )

    def _tell(self, tenants: Iterable[str]) -> None:
        for tenant in tenants:
            if tenant != self._writer:
                self._on_tenant(tenant)

    def _namespace_changed(self, key: Key, before: Namespace | None, after: Namespace | None) -> None:
        _, name = key
        owners = {found.owner for found in (before, after) if found is not None and found.owner is not None}
        if before is not None and before.owner is not None:
            self._namespaces_of[before.owner].discard(name)
        if after is not None and after.owner is not None:
            self._namespaces_of[after.owner].add(name)
        self._tell(owners | self._claims.by(name))

    def _child_changed(self, kind: str, key: Key, before: Present | None, after: Present | None) -> None:
        whole = (kind, *key)
        owners = {found.owner for found in (before, after) if found is not None and found.owner is not None}
        if before is not None and before.owner is not None:
            self._children_of[before.owner].pop(whole, None)
        if after is not None and after.owner is not None:
            self._children_of[after.owner][whole] = after
        self._tell(owners)

    def _class_changed(self, key: Key, before: TenantClass | None, after: TenantClass | None) -> None:
        _, name = key
        if after is None:
            self.classes.pop(name, None)
        else:
            self.classes[name] = after
        self._on_class()


def _read_class(body: dict[str, Any]) -> TenantClass | None:
    try:
        return parse_class(body)
    except InvalidTenant as error:
        # Its tenants then find no class of that name, and hold still.
        log.warning("a TenantClass can't be used", error=str(error))
        return None
