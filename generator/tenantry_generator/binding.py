"""Tells a query which namespaces there are: those that are recorded, guarded like everything that is served.

A cluster that no ApplicationSet has asked for costs no record. When one asks for the first time, what it is to see is
recorded before it is answered, and from then on a restart forgets nothing, and an outage at the start is bridged.
"""

from tenantry_generator.expand import Expansion
from tenantry_generator.membership import Membership
from tenantry_generator.membership_namespaces import ask, touch
from tenantry_generator.namespaces import by_tenant, namespaces_id
from tenantry_generator.publisher import Publisher
from tenantry_generator.query import Query
from tenantry_generator.sources.clusters import Clusters

__all__ = ["Binding"]

_DAY = 86400.0


class Binding:
    """Binds queries to the namespaces of the clusters that they name."""

    def __init__(self, publisher: Publisher, clusters: Clusters) -> None:
        self._publisher = publisher
        self._clusters = clusters

    @property
    def clusters(self) -> tuple[str, ...]:
        """The names of the clusters whose namespaces can be asked for."""
        return tuple(self._clusters.feeds)

    def bind(self, query: Query) -> Query:
        """Return a query that knows the namespaces it asks for.

        Refused: 400, a cluster that is not known; NotReady: nothing is recorded of it, and it has not been read yet.
        """
        if query.expansion is None:
            return query
        self._clusters.require(query.expansion.cluster)
        recorded = self._publisher.membership.namespaces.get(namespaces_id(query.expansion))
        if recorded is not None:
            return query.bound(recorded.places)
        return query.bound(by_tenant(self._clusters.read(query.expansion.cluster)))

    def unread(self, query: Query) -> bool:
        """Whether the cluster that is asked for has not been read since the start, so what is recorded may be old."""
        return query.expansion is not None and not self._clusters.feeds[query.expansion.cluster].complete

    async def make_known(self, query: Query) -> None:
        """Have recorded what the query asks for. NotReady: it could not be."""
        if (expansion := query.expansion) is None:
            return
        known = self._publisher.membership.namespaces.get(namespaces_id(expansion))
        if known is None:
            await self._publisher.change(lambda membership, now: self._ask(membership, expansion, now))
        elif self._publisher.now() - known.asked > _DAY:
            what = f"asked for {known.set}"
            self._publisher.change_later(what, lambda membership, now: touch(membership, expansion, now=now))

    def _ask(self, membership: Membership, expansion: Expansion, now: float) -> Membership:
        return ask(membership, expansion, self._clusters.read(expansion.cluster), now=now)
