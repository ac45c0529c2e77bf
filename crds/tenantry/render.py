"""What Argo CD's templates see of a tenant, the same keys in the same order whichever source the tenant comes from.

A template that meets a missing key freezes its whole ApplicationSet, and Go templates print numbers as floats; so every
element has every key, numbers are strings, and nothing is null. The keys are fixed by configuration and by the classes'
schemas: no tenant can add, shadow or remove one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenantry.classes import KnownClass, Resolved, namespaces_of
from tenantry.model import Owner, TenantClass
from tenantry.names import slug

__all__ = [
    "CLUSTER",
    "FIXED",
    "INPUTS",
    "POSTGRES",
    "RESERVED",
    "STATUS",
    "ClusterRow",
    "Row",
    "TableRow",
    "as_dict",
    "inherited_columns",
    "merge_rows",
    "render_row",
    "render_tenant",
    "schema_keys",
]

Row = Mapping[str, Any]
"""One element of the answer: JSON without nulls and numbers. What is in it is never changed."""

CLUSTER = "cluster"
POSTGRES = "postgres"
STATUS = "status"

FIXED = (
    "tenant",
    "name",
    "displayName",
    STATUS,
    "state",
    "class",
    "source",
    "project",
    "namespace",
    "namespaces",
    "labels",
    "annotations",
    "owners",
    "parameters",
)
"""The keys of every element, in order."""
INPUTS = ("selector", "shard", "expand", "cluster", "labelSelector", "fields", "failOnEmpty")
"""What a request is put with, besides the keys that it filters by."""
RESERVED = frozenset((*FIXED, *INPUTS, "generator", "values"))
"""Keys that no configured column may have, but for `status`.

An element of a namespace has `cluster` too; Argo CD puts `generator` and `values` there itself.
"""

_OF_EVERY_ROW: Row = {
    STATUS: "",
    "state": "Active",
    "class": "",
    "source": POSTGRES,
    "project": "",
    "namespace": "",
    "namespaces": [],
    "labels": {},
    "annotations": {},
    "owners": [],
    "parameters": {},
}
"""What a database row has when no column says otherwise."""

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """A Tenant's element, and the columns (of `status` and the configured ones) that the Tenant itself has set, or its
    class's overrides.
    """

    element: Row
    own_columns: frozenset[str]


def render_tenant(resolved: Resolved, columns: Sequence[str] = (STATUS,)) -> ClusterRow:
    """Render a Tenant. Each of `columns` but `status` becomes a key of its own, last, taken from the parameters."""
    tenant, spec = resolved.tenant, resolved.spec
    namespaces = list(dict.fromkeys(namespace.name for namespace in namespaces_of(resolved)))
    parameters: dict[str, Any] = _plain(spec.parameters)
    annotations = {key: value for key, value in tenant.metadata.annotations.items() if key != _LAST_APPLIED}
    state = tenant.spec.lifecycle.state.value
    element: dict[str, Any] = {
        "tenant": tenant.name,
        "name": tenant.name,
        "displayName": tenant.spec.display_name or tenant.name,
        STATUS: parameters[STATUS] if _is_set(spec.parameters, STATUS) else state.lower(),
        "state": state,
        "class": resolved.class_name,
        "source": CLUSTER,
        "project": spec.project,
        "namespace": namespaces[0] if namespaces else "",
        "namespaces": namespaces,
        "labels": dict(tenant.metadata.labels),
        "annotations": annotations,
        "owners": [_owner(owner) for owner in tenant.spec.owners],
        "parameters": parameters,
    }
    for column in columns:
        if column != STATUS:
            element[column] = parameters[column] if _is_set(spec.parameters, column) else ""
    own = frozenset(column for column in (STATUS, *columns) if _is_set(resolved.own_parameters, column))
    return ClusterRow(element, own)


class TableRow(Row):
    """A database row's element, of which only what differs from row to row is kept: a tenth of what a dict takes.

    `record` is the raw value of the tenant column, then the text of each of `columns`, which the rows of a table share;
    `name` is the slug of the raw value.
    """

    __slots__ = ("columns", "name", "record")

    def __init__(self, record: tuple[str, ...], columns: tuple[str, ...]) -> None:
        self.record = record
        self.columns = columns
        self.name = slug(record[0])

    def element(self) -> dict[str, Any]:
        """Return the same as a dict, which is not to be changed."""
        raw = self.record[0]
        columns = dict(zip(self.columns, self.record[1:], strict=True))
        return {"tenant": raw, "name": self.name, "displayName": raw, **_OF_EVERY_ROW, **columns}

    def with_empty(self, keys: Sequence[str]) -> "TableRow":
        """Return the row with further columns, which are empty."""
        return TableRow((*self.record, *("" for _ in keys)), (*self.columns, *keys))

    def __getitem__(self, key: str) -> Any:
        if key in ("tenant", "displayName"):
            return self.record[0]
        if key == "name":
            return self.name
        if key in self.columns:
            return self.record[self.columns.index(key) + 1]
        return _OF_EVERY_ROW[key]

    def __iter__(self) -> Iterator[str]:
        yield from FIXED
        yield from (column for column in self.columns if column != STATUS)

    def __len__(self) -> int:
        return len(FIXED) + len(self.columns) - (STATUS in self.columns)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TableRow) and self.columns == other.columns:
            return self.record == other.record
        return isinstance(other, Mapping) and self.element() == as_dict(other)

    __hash__ = None  # type: ignore[assignment]


def as_dict(row: Row) -> dict[str, Any]:
    """Return an element as a dict, which is what JSON is made of; it is not to be changed."""
    if isinstance(row, dict):
        return row
    return row.element() if isinstance(row, TableRow) else dict(row)


def render_row(raw: str, columns: Mapping[str, str]) -> dict[str, Any]:
    """Render a database row: the raw value of its tenant column, and the text of each configured column in order."""
    own: dict[str, Any] = {"namespaces": [], "labels": {}, "annotations": {}, "owners": [], "parameters": {}}
    return {**TableRow((raw, *columns.values()), tuple(columns)).element(), **own}


def merge_rows(cluster_row: ClusterRow, database_row: Row) -> Row:
    """Merge a Tenant over the database row of the same name: `tenant` keeps the row's raw value.

    Columns that neither the Tenant itself nor an override of its class has set come from the row, before any default of
    the class; an empty one (NULL) is no value.
    """
    merged = dict(cluster_row.element)
    merged["tenant"] = database_row["tenant"]
    for column in inherited_columns(cluster_row, database_row):
        merged[column] = database_row[column]
    return merged


def inherited_columns(cluster_row: ClusterRow, database_row: Row) -> list[str]:
    """Return the columns that a Tenant gets from the database row of the same name."""
    return [
        column
        for column, value in database_row.items()
        if (column == STATUS or column not in RESERVED)
        and value
        and column in cluster_row.element
        and column not in cluster_row.own_columns
    ]


def schema_keys(classes: Iterable[KnownClass]) -> tuple[str, ...]:
    """Return the parameters that the schemas of the usable classes describe, sorted, without the reserved keys."""
    schemas = [found.spec.parameters_schema for found in classes if isinstance(found, TenantClass)]
    described = {name for schema in schemas if schema is not None for name in schema.compiled.properties}
    return tuple(sorted(described - RESERVED))


def _is_set(parameters: Mapping[str, Any], key: str) -> bool:
    return isinstance(parameters.get(key), str | int | float)  # bool is an int


def _plain(value: Any) -> Any:
    match value:
        case None:
            return ""
        case bool() | str():
            return value
        case Mapping():
            return {key: _plain(inner) for key, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
        case _:
            return str(value)


def _owner(owner: Owner) -> dict[str, str]:
    return {
        "kind": owner.kind.value,
        "name": owner.name,
        "namespace": owner.namespace,
        "role": owner.role.value,
    }
