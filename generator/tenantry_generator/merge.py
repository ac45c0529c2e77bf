"""Joins the two sources into one set of tenants: a Tenant object wins over a database row of the same name."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenantry.render import ClusterRow, Row, merge_rows

__all__ = ["Merged", "changed_names", "merge", "shadowed"]


@dataclass(frozen=True, slots=True)
class Merged:
    """Every tenant of either source by name, in the order of the names, and what it was made of."""

    rows: Mapping[str, Row] = field(default_factory=dict)
    cluster: Mapping[str, ClusterRow] = field(default_factory=dict)
    database: Mapping[str, Row] = field(default_factory=dict)


def merge(cluster: Mapping[str, ClusterRow], database: Mapping[str, Row], before: Merged | None = None) -> Merged:
    """Merge the sources. Rows whose parts are those of `before` stay the same objects, so that little is compared."""
    before = before or Merged()
    names = cluster.keys() | database.keys()
    if names == before.rows.keys():
        order = list(before.rows)
    else:
        # Nearly in order already, which is what Python's sort is fast at.
        order = sorted([*(name for name in before.rows if name in names), *(names - before.rows.keys())])
    if not cluster:
        rows = {name: database[name] for name in order}
    else:
        rows = {name: _one(name, cluster, database, before) for name in order}
    return Merged(rows, cluster, database)


def changed_names(before: Mapping[str, Row], after: Mapping[str, Row]) -> list[str]:
    """Return the names that came, went, or have another row."""
    if list(before) == list(after):
        # Side by side, which with many tenants takes a third of the time.
        pairs = zip(after, before.values(), after.values(), strict=True)
        return [name for name, old, row in pairs if old is not row and old != row]
    changed = [name for name, row in after.items() if (old := before.get(name)) is not row and old != row]
    return [*changed, *(before.keys() - after.keys())]


def shadowed(cluster: Mapping[str, ClusterRow], database: Mapping[str, Row]) -> int:
    """Return how many database rows have a Tenant object over them."""
    return len(cluster.keys() & database.keys())


def _one(name: str, cluster: Mapping[str, ClusterRow], database: Mapping[str, Row], before: Merged) -> Row:
    if name not in cluster:
        return database[name]
    if name not in database:
        return cluster[name].element
    if cluster[name] is before.cluster.get(name) and database[name] is before.database.get(name):
        return before.rows[name]
    return merge_rows(cluster[name], database[name])
