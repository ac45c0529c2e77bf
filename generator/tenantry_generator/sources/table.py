"""What is asked of the tenants' table, and what its records become.

Every column is cast to text by Postgres itself, so that a value looks in Argo CD as it does in psql, whatever its type.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tenantry.render import Row, render_row
from tenantry_generator.settings import Table
from tenantry_generator.sources import Read

__all__ = ["CONFLICTING", "EMPTY", "Record", "Rendering", "qualified", "render", "select"]

Record = tuple[str, ...]
"""The text of the tenant column, then of each configured column; NULL is empty."""

EMPTY = "empty_tenant"
CONFLICTING = "conflicting_rows"


@dataclass(frozen=True, slots=True)
class Rendering:
    """A read, the names that several differing records claim, and each record's row for the next time."""

    read: Read[Row]
    conflicts: tuple[str, ...] = ()
    rendered: Mapping[Record, Row] = field(default_factory=dict)


def select(table: Table) -> str:
    """Return the query for every record of `table`."""
    columns = ", ".join(f"coalesce({_quote(column)}::text, '')" for column in (table.tenant_column, *table.columns))
    return f"SELECT {columns} FROM {qualified(table)}"  # noqa: S608 - quoted, and checked in settings


def qualified(table: Table) -> str:
    """Return the name of `table` as SQL has it, without its schema where the search_path decides."""
    parts = (table.name,) if table.schema is None else (table.schema, table.name)
    return ".".join(map(_quote, parts))


def render(records: Iterable[Record], columns: Sequence[str], known: Mapping[Record, Row]) -> Rendering:
    """Render all records of a table. `known` holds rows of before, so that only what changed costs anything.

    A record without a tenant is left out. Equal records are one; of differing ones for one name the one that sorts
    first stands, so that the answer does not depend on the order of the table.
    """
    rejected: Counter[str] = Counter()
    chosen: dict[str, Record] = {}
    rendered: dict[Record, Row] = {}
    conflicts: set[str] = set()
    for record, count in Counter(records).items():
        if not record[0].strip():
            rejected[EMPTY] += count
            continue
        row = known.get(record) or render_row(record[0], dict(zip(columns, record[1:], strict=True)))
        rendered[record] = row
        other = chosen.setdefault(row["name"], record)
        if other != record:
            rejected[CONFLICTING] += 1
            conflicts.add(row["name"])
            chosen[row["name"]] = min(other, record)
    rows = {name: rendered[record] for name, record in chosen.items()}
    return Rendering(Read(rows, dict(rejected)), tuple(sorted(conflicts)), rendered)


def _quote(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
