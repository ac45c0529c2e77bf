"""Joins the two sources into one set of tenants: a Tenant object wins over a database row of the same name.

Here every element gets the keys that the classes' schemas describe, so that all of an answer have the same: a template
that meets a missing key freezes its ApplicationSet, or renders a name that deletes an Application.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tenantry.render import ClusterRow, Row, TableRow, merge_rows
from tenantry_generator.blockmap import BlockMap, changed_keys, replaced_keys

__all__ = ["Merged", "changed_names", "merge", "with_keys"]


@dataclass(frozen=True, slots=True)
class Merged:
    """Every tenant of either source by name, in the order of the names, and what it was made of.

    `shadowed`: how many database rows have a Tenant object over them. `keys`: those that each row has besides the fixed
    and the configured ones, sorted.
    """

    rows: BlockMap[Row] = field(default_factory=BlockMap)
    cluster: BlockMap[ClusterRow] = field(default_factory=BlockMap)
    database: BlockMap[Row] = field(default_factory=BlockMap)
    shadowed: int = 0
    keys: tuple[str, ...] = ()


def merge(
    cluster: Mapping[str, ClusterRow],
    database: Mapping[str, Row],
    before: Merged | None = None,
    *,
    keys: tuple[str, ...] | None = None,
) -> Merged:
    """Merge the sources. Where `before` has the same parts its blocks are kept, and nothing else is looked at.

    `keys` are those of `before` if they are not given.
    """
    before = before or Merged()
    keys = before.keys if keys is None else keys
    cluster, database = BlockMap.of(cluster), BlockMap.of(database)
    if keys != before.keys or not before.rows:
        # A database row without a Tenant object is its own element, so its blocks are those of the answer.
        before = Merged(database, BlockMap(), database, 0, keys) if not keys else Merged(keys=keys)
    elif not cluster and not before.cluster and not keys:
        return Merged(database, cluster, database, 0, keys)
    names = replaced_keys(before.cluster, cluster) | replaced_keys(before.database, database)
    rows: dict[str, Row] = {}
    both = before.shadowed
    for name in names:
        both += (name in cluster and name in database) - (name in before.cluster and name in before.database)
        if (row := _one(name, cluster, database)) is not None:
            rows[name] = with_keys(row, keys)
    return Merged(before.rows.updated(rows, names - rows.keys()), cluster, database, both, keys)


def with_keys(row: Row, keys: Sequence[str]) -> Row:
    """Return the row with each of `keys` that it lacks, as it is in the tenant's parameters, else ""."""
    lacking = [key for key in keys if key not in row]
    if not lacking:
        return row
    if isinstance(row, TableRow):
        return row.with_empty(lacking)
    return {**row, **{key: row["parameters"].get(key, "") for key in lacking}}


def changed_names(before: Mapping[str, Row], after: Mapping[str, Row]) -> list[str]:
    """Return in order the names that came, went, or have another row."""
    return changed_keys(before, after)


def _one(name: str, cluster: Mapping[str, ClusterRow], database: Mapping[str, Row]) -> Row | None:
    of_cluster, of_database = cluster.get(name), database.get(name)
    if of_cluster is None:
        return of_database
    return of_cluster.element if of_database is None else merge_rows(of_cluster, of_database)
