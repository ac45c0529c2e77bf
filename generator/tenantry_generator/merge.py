"""Joins the two sources into one set of tenants: a Tenant object wins over a database row of the same name."""

from collections.abc import Mapping

from tenantry.render import ClusterRow, Row, merge_rows

__all__ = ["merge", "shadowed"]


def merge(cluster: Mapping[str, ClusterRow], database: Mapping[str, Row]) -> dict[str, Row]:
    """Return every tenant of either source by name, in the order of the names."""
    return {name: _one(name, cluster, database) for name in sorted(cluster.keys() | database.keys())}


def shadowed(cluster: Mapping[str, ClusterRow], database: Mapping[str, Row]) -> int:
    """Return how many database rows have a Tenant object over them."""
    return len(cluster.keys() & database.keys())


def _one(name: str, cluster: Mapping[str, ClusterRow], database: Mapping[str, Row]) -> Row:
    if name not in cluster:
        return database[name]
    if name not in database:
        return cluster[name].element
    return merge_rows(cluster[name], database[name])
