"""Which tenants wait for which names, so that each is looked at when something of that name changes hands."""

from collections import defaultdict
from collections.abc import Set

__all__ = ["Waiting"]


class Waiting:
    """The names that each tenant wants."""

    def __init__(self) -> None:
        self._wants: dict[str, Set[str]] = {}
        self._wanted_by: defaultdict[str, set[str]] = defaultdict(set)

    def put(self, tenant: str, wanted: Set[str]) -> None:
        """Replace what `tenant` wants; an empty set forgets it."""
        before = self._wants.get(tenant, frozenset())
        for name in before - wanted:
            self._wanted_by[name].discard(tenant)
            if not self._wanted_by[name]:
                del self._wanted_by[name]
        for name in wanted - before:
            self._wanted_by[name].add(tenant)
        if wanted:
            self._wants[tenant] = wanted
        else:
            self._wants.pop(tenant, None)

    def by(self, name: str) -> Set[str]:
        """Return the tenants that want `name`."""
        return self._wanted_by.get(name, frozenset())

    def of(self, tenant: str) -> Set[str]:
        """Return the names that `tenant` wants."""
        return self._wants.get(tenant, frozenset())

    def tenants(self) -> Set[str]:
        """Return every tenant that wants anything."""
        return self._wants.keys()
