"""One element for each of a tenant's namespaces, rather than one for each tenant.

The namespaces are those that the cluster really has, found by the label `tenantry.dev/tenant`; what a Tenant only
wishes for is in its element's `namespaces`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tenantry.render import CLUSTER, Row
from tenantry_generator.selector import EVERYTHING, Selector

__all__ = ["CLUSTER_KEY", "IN_CLUSTER", "Expansion", "Place", "Places", "expand", "is_shown"]

CLUSTER_KEY = "cluster"
"""The key that an expanded element has besides those of its tenant."""
IN_CLUSTER = "in-cluster"
"""What Argo CD calls the cluster that it runs in, and so what its namespaces' elements have under `cluster`."""


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace that is labelled as a tenant's. `given`: whether the operator did that, or is not there to do it."""

    name: str
    tenant: str
    labels: Mapping[str, str]
    given: bool


Places = Mapping[str, tuple[Place, ...]]
"""The namespaces of each tenant, by the tenant's name, in the order of their names."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """Whose namespaces: those in `cluster` whose own labels match."""

    cluster: str = IN_CLUSTER
    selector: Selector = EVERYTHING


def expand(rows: Iterable[tuple[str, Row]], expansion: Expansion, places: Places) -> Iterator[tuple[str, Row]]:
    """Yield (tenant/namespace, element) for each namespace of each tenant in `rows`."""
    for name, row in rows:
        for place in places.get(name, ()):
            if is_shown(place, row) and expansion.selector.matches(place.labels):
                element = {**row, "namespace": place.name, CLUSTER_KEY: expansion.cluster}
                yield f"{name}/{place.name}", element


def is_shown(place: Place, row: Row) -> bool:
    """Whether a namespace with the tenant's label counts as its, `row` being the tenant's.

    Whoever may label namespaces must not get another Tenant's Application into one.
    """
    return place.given or row["source"] != CLUSTER
