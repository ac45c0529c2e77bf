"""What the operator knows of the cluster, and who is to be looked at when some of it changes.

One Reflector a kind. Each object of ours is indexed by its tenant, so that a look at one tenant costs as much with ten
thousand others as with none.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from tenantry.classes import KnownClass, UnusableClass, read_class
from tenantry.kube import Kube
from tenantry.names import ADOPT_LABEL, ARGOCD_NAMESPACE, MANAGED_BY, MANAGED_BY_LABEL
from tenantry.reflector import Key, Reflector, Timing
from tenantry.resources import (
    APP_PROJECTS,
    LIMIT_RANGES,
    NAMESPACES,
    NETWORK_POLICIES,
    RESOURCE_QUOTAS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    TENANT_CLASSES,
    TENANTS,
    Resource,
)
from tenantry.telemetry import get_logger
from tenantry_operator.children import child, namespace
from tenantry_operator.children.child import ChildKey, Present
from tenantry_operator.children.namespace import Namespace
from tenantry_operator.entry import Entry, Kept, keep, recall
from tenantry_operator.projects import ProjectCache
from tenantry_operator.waiting import Waiting

__all__ = ["CHILD_KINDS", "Caches"]

log = get_logger(__name__)

CHILD_KINDS = (RESOURCE_QUOTAS, LIMIT_RANGES, NETWORK_POLICIES, ROLE_BINDINGS, SERVICE_ACCOUNTS)
RESYNC_SECONDS = 600.0
"""How often, at least, all Tenants are listed again and each is looked at."""


class Caches:
    """The Reflectors and their indexes. `on_tenant(name)`: the Tenant, something of its own, or something that it waits
    for changed; `on_gone(name)`: the Tenant exists no longer; `on_all()`: every one is to be looked at, since a
    TenantClass changed or because it is time to; `on_usage(name)`: nothing but what the tenant uses changed.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        on_tenant: Callable[[str], None],
        on_gone: Callable[[str], None],
        on_all: Callable[[], None],
        on_usage: Callable[[str], None],
        argocd_namespace: str = ARGOCD_NAMESPACE,
    ) -> None:
        self._on_tenant = on_tenant
        self._on_gone = on_gone
        self._on_usage = on_usage
        self._on_all = on_all
        self.classes: dict[str, KnownClass] = {}
        """The TenantClasses by name."""
        self.projects = ProjectCache(kube, argocd_namespace, tell=self._tell)
        self._tenants = Reflector(
            kube,
            TENANTS,
            transform=keep,
            on_change=self._tenant_changed,
            on_listed=on_all,
            timing=Timing(relist=RESYNC_SECONDS),
        )
        self._namespaces = Reflector(
            kube,
            NAMESPACES,
            transform=partial(namespace.observe, argocd=argocd_namespace),
            on_change=self._namespace_changed,
        )
        self._classes = Reflector(kube, TENANT_CLASSES, transform=_read_class, on_change=self._class_changed)
        children = {resource.kind: self._reflector(kube, resource) for resource in CHILD_KINDS}
        self._by_kind: dict[str, Reflector[Any]] = {
            NAMESPACES.kind: self._namespaces,
            TENANT_CLASSES.kind: self._classes,
            **children,
            TENANTS.kind: self._tenants,
            APP_PROJECTS.kind: self.projects.reflector,
        }
        self._namespaces_of: defaultdict[str, set[str]] = defaultdict(set)
        self._opted_in: defaultdict[str, set[str]] = defaultdict(set)
        """Tenant → the namespaces that their owners have opted into being its."""
        self._children_of: defaultdict[str, dict[ChildKey, Present]] = defaultdict(dict)
        self._lost: defaultdict[str, dict[ChildKey, Present]] = defaultdict(dict)
        self._waiting = Waiting()
        self._writer: str | None = None

    @property
    def reflectors(self) -> Iterable[Reflector[Any]]:
        """Every cache that is to be run, and to be waited for until it is complete; `projects` is not."""
        return [cache for cache in self._by_kind.values() if cache is not self.projects.reflector]

    def tenants(self) -> Iterable[str]:
        """Return the names of all Tenants."""
        return [name for _, name in self._tenants.items]

    def phases(self) -> Mapping[str, int]:
        """Return how many Tenants are in each phase."""
        return Counter(kept.phase for kept in self._tenants.items.values())

    def ready(self) -> Mapping[str, int]:
        """Return how many Tenants have each status of the condition Ready."""
        return Counter(kept.ready for kept in self._tenants.items.values())

    def has(self, tenant: str) -> bool:
        """Whether there is such a Tenant."""
        return ("", tenant) in self._tenants.items

    def entry(self, tenant: str) -> Entry | None:
        """Return the Tenant, read anew from what is kept of it; None when there is none."""
        kept = self._tenants.items.get(("", tenant))
        return None if kept is None else recall(kept)

    def namespaces(self, tenant: str, wanted: frozenset[str]) -> dict[str, Namespace]:
        """Return the namespaces that exist of those that the tenant has, wants or is offered by label, by name.

        What it wants is remembered: it will be looked at when one of them changes hands.
        """
        self._waiting.put(tenant, wanted)
        names = wanted | self._namespaces_of.get(tenant, set()) | self._opted_in.get(tenant, set())
        items = self._namespaces.items
        return {name: found for name in names if (found := items.get(("", name))) is not None}

    def namespace(self, name: str) -> Namespace | None:
        """Return the namespace, whosever it is; None when there is none."""
        return self._namespaces.items.get(("", name))

    def children(self, tenant: str) -> Mapping[ChildKey, Present]:
        """Return everything that the tenant has inside namespaces."""
        return self._children_of.get(tenant, {})

    def lost(self, tenant: str) -> Mapping[ChildKey, Present]:
        """Return what the tenant had inside namespaces and what is gone, or no longer says whose it is."""
        return self._lost.get(tenant, {})

    def last_digest(self, tenant: str, key: ChildKey) -> str:
        """Return the digest of a child, also of one that somebody else has taken from the tenant; "" if none."""
        present = self._children_of.get(tenant, {}).get(key) or self._lost.get(tenant, {}).get(key)
        return present.digest if present is not None else ""

    def forget(self, tenant: str) -> None:
        """Stop waiting for anything on behalf of a tenant that is gone."""
        self._waiting.put(tenant, frozenset())
        self.projects.forget(tenant)
        self._lost.pop(tenant, None)

    def absorb(self, tenant: str, body: dict[str, Any]) -> None:
        """Take in an object that a write for `tenant` just answered with; that tenant is not told of it."""
        self._writer = tenant
        self._by_kind[body["kind"]].absorb(body)
        self._writer = None

    def absorb_class(self, body: dict[str, Any]) -> None:
        """Take in a TenantClass that somebody else has seen, unless it is known already."""
        self._classes.absorb(body)

    def discard(self, tenant: str, key: ChildKey, resource_version: str) -> None:
        """Take out what a write for `tenant` just deleted; that tenant is not told of it."""
        kind, namespace, name = key
        self._writer = tenant
        self._by_kind[kind].discard((namespace, name), resource_version)
        self._writer = None
        self._lost.get(tenant, {}).pop(key, None)  # the watch may have told of it first

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

    def _tenant_changed(self, key: Key, _before: Kept | None, after: Kept | None) -> None:
        _, name = key
        if after is None:
            self._on_gone(name)
        else:
            self._tell((name,))

    def _namespace_changed(self, key: Key, before: Namespace | None, after: Namespace | None) -> None:
        _, name = key
        owners = {found.owner for found in (before, after) if found is not None and found.owner is not None}
        if before is not None and before.owner is not None:
            self._namespaces_of[before.owner].discard(name)
        if after is not None and after.owner is not None:
            self._namespaces_of[after.owner].add(name)
        offered = self._index_opt_in(name, before, after)
        self._tell(owners | offered | self._waiting.by(name))

    def _index_opt_in(self, name: str, before: Namespace | None, after: Namespace | None) -> set[str]:
        told = set()
        if before is not None and (tenant := before.labels.get(ADOPT_LABEL)) is not None:
            self._opted_in[tenant].discard(name)
            told.add(tenant)
            if not self._opted_in[tenant]:
                del self._opted_in[tenant]
        if after is not None and (tenant := after.labels.get(ADOPT_LABEL)) is not None:
            self._opted_in[tenant].add(name)
            told.add(tenant)
        return told

    def _child_changed(self, kind: str, key: Key, before: Present | None, after: Present | None) -> None:
        whole = (kind, *key)
        if before is not None and after is not None and replace(before, used=after.used) == after:
            self._usage_changed(whole, after)
            return
        owners = {found.owner for found in (before, after) if found is not None and found.owner is not None}
        if before is not None and before.owner is not None:
            self._children_of[before.owner].pop(whole, None)
            if before.owner != self._writer and key[0] in self._waiting.of(before.owner):
                self._lost[before.owner][whole] = before
        if after is not None and after.owner is not None:
            self._children_of[after.owner][whole] = after
            self._lost.get(after.owner, {}).pop(whole, None)
        self._tell(owners)

    def _usage_changed(self, key: ChildKey, after: Present) -> None:
        if after.owner is not None:
            self._children_of[after.owner][key] = after
            if after.owner != self._writer:
                self._on_usage(after.owner)

    def _class_changed(self, key: Key, before: KnownClass | None, after: KnownClass | None) -> None:
        _, name = key
        if after is None:
            self.classes.pop(name, None)
        else:
            self.classes[name] = after
        self._on_all()


def _read_class(body: dict[str, Any]) -> KnownClass:
    found = read_class(body)
    if isinstance(found, UnusableClass):
        log.warning("a TenantClass can't be used; its tenants are kept as they are", error=found.reason)
    return found
