"""What is asked of the tenants' table, and what its records become.

Every column is cast to text by Postgres itself, so that a value looks in Argo CD as it does in psql, whatever its type.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tenantry.render import Row, render_row
from tenantry_generator.settings import Table
from tenantry_generator.sources import Read

__all__ = [
    "CONFLICTING",
    "EMPTY",
    "LONGEST",
    "NO_TEXT",
    "TOO_LONG",
    "Record",
    "Rendering",
    "decode",
    "qualified",
    "render",
    "select",
]

Record = tuple[str, ...]
"""The text of the tenant column, then of each configured column; NULL is empty."""

EMPTY = "empty_tenant"
CONFLICTING = "conflicting_rows"
TOO_LONG = "tenant_too_long"
NO_TEXT = "not_utf8"

_SHOWN, _FEW = 80, 3

LONGEST = 1000
"""Characters of a tenant's raw name. A longer one is a mistake, and would be part of every answer."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """A read, without what it quarantines; each record's row for the next time; how many records belong to nobody."""

    read: Read[Row]
    rendered: Mapping[Record, Row] = field(default_factory=dict)
    nameless: int = 0


def select(table: Table, *, raw: bool = False) -> str:
    """Return the query for every record of `table`; `raw`: as bytes, where the database does not vouch for its text."""
    texts = [f"coalesce({_quote(column)}::text, '')" for column in (table.tenant_column, *table.columns)]
    columns = ", ".join(f"convert_to({text}, 'SQL_ASCII')" if raw else text for text in texts)
    return f"SELECT {columns} FROM {qualified(table)}"  # noqa: S608 - quoted, and checked in settings


def qualified(table: Table) -> str:
    """Return the name of `table` as SQL has it, without its schema where the search_path decides."""
    parts = (table.name,) if table.schema is None else (table.schema, table.name)
    return ".".join(map(_quote, parts))


def decode(values: Iterable[bytes]) -> Record:
    """Return the record of raw values. Bytes that are no UTF-8 become lone surrogates, which `render` quarantines."""
    return tuple(value.decode(errors="surrogateescape") for value in values)


def render(records: Iterable[Record], columns: Sequence[str], known: Mapping[Record, Row]) -> Rendering:
    """Render all records of a table. `known` holds rows of before, so that only what changed costs anything.

    A record without a readable tenant belongs to nobody and is left out. Equal records are one; differing ones for one
    name quarantine that tenant, since nothing tells which is right.
    """
    rejected: Counter[str] = Counter()
    found: dict[str, list[Record]] = {}
    rendered: dict[Record, Row] = {}
    nameless = 0
    for record, count in Counter(records).items():
        if not record[0].strip() or not _is_text(record[0]):
            rejected[NO_TEXT if record[0].strip() else EMPTY] += count
            nameless += count
            continue
        row = known.get(record) or render_row(record[0], dict(zip(columns, record[1:], strict=True)))
        rendered[record] = row
        found.setdefault(row["name"], []).append(record)
    rows: dict[str, Row] = {}
    quarantined: dict[str, str] = {}
    for name, claims in found.items():
        if len(claims) > 1:
            rejected[CONFLICTING] += len(claims)
            quarantined[name] = _conflict(claims, columns)
        elif len(claims[0][0]) > LONGEST:
            rejected[TOO_LONG] += 1
            quarantined[name] = f"the tenant's name is longer than {LONGEST} characters"
        elif bad := [column for column, text in zip(columns, claims[0][1:], strict=True) if not _is_text(text)]:
            rejected[NO_TEXT] += 1
            quarantined[name] = f"not UTF-8: {', '.join(bad)}"
        else:
            rows[name] = rendered[claims[0]]
    return Rendering(Read(rows, dict(rejected), quarantined), rendered, nameless)


def _conflict(claims: Sequence[Record], columns: Sequence[str]) -> str:
    """Return what differs between the records of one name, the same text whatever their order."""
    if len({record[0] for record in claims}) > 1:
        shown = ", ".join(repr(raw[:_SHOWN]) for raw in sorted({record[0] for record in claims})[:_FEW])
        return f"several tenants lead to this name: {shown}; rename one"
    values = zip(*(record[1:] for record in claims), strict=True)
    differing = [column for column, held in zip(columns, values, strict=True) if len(set(held)) > 1]
    return f"{len(claims)} rows of this tenant differ in {', '.join(differing)}; leave one of them"


def _is_text(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _quote(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
