"""Joins the two sources into one set of tenants: a Tenant object wins over a database row of the same name.

Here every element gets the keys that the classes' schemas describe, so that all of an answer have the same: a template
that meets a missing key freezes its ApplicationSet, or renders a name that deletes an Application.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tenantry.render import ClusterRow, Row, merge_rows

__all__ = ["Merged", "changed_names", "merge", "shadowed", "with_keys"]


@dataclass(frozen=True, slots=True)
class Merged:
    """Every tenant of either source by name, in the order of the names, and what it was made of.

    `keys`: those that each row has besides the fixed and the configured ones, sorted.
    """

    rows: Mapping[str, Row] = field(default_factory=dict)
    cluster: Mapping[str, ClusterRow] = field(default_factory=dict)
    database: Mapping[str, Row] = field(default_factory=dict)
    keys: tuple[str, ...] = ()


def merge(
    cluster: Mapping[str, ClusterRow],
    database: Mapping[str, Row],
    before: Merged | None = None,
    *,
    keys: tuple[str, ...] | None = None,
) -> Merged:
    """Merge the sources. Rows whose parts are those of `before` stay the same objects, so that little is compared.

    `keys` are those of `before` if they are not given.
    """
    before = before or Merged()
    keys = before.keys if keys is None else keys
    names = cluster.keys() | database.keys()
    if names == before.rows.keys():
        order = list(before.rows)
    else:
        # Nearly in order already, which is what Python's sort is fast at.
        order = sorted([*(name for name in before.rows if name in names), *(names - before.rows.keys())])
    if keys:
        reused = before if keys == before.keys else Merged()
        rows = {name: _with_all(name, cluster, database, reused, keys) for name in order}
    elif not cluster:
        rows = {name: database[name] for name in order}
    else:
        rows = {name: _one(name, cluster, database, before) for name in order}
    return Merged(rows, cluster, database, keys)


def with_keys(row: Row, keys: Sequence[str]) -> Row:
    """Return the row with each of `keys` that it lacks, as it is in the tenant's parameters, else ""."""
    lacking = {key: row["parameters"].get(key, "") for key in keys if key not in row}
    return {**row, **lacking} if lacking else row


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


def _with_all(
    name: str,
    cluster: Mapping[str, ClusterRow],
    database: Mapping[str, Row],
    before: Merged,
    keys: tuple[str, ...],
) -> Row:
    known = before.rows.get(name)
    unchanged = cluster.get(name) is before.cluster.get(name) and database.get(name) is before.database.get(name)
    if known is not None and unchanged:
        return known
    return with_keys(_one(name, cluster, database, Merged()), keys)
