"""What is asked of the tenants' table, and what its records become.

Every column is cast to text by Postgres itself, so that a value looks in Argo CD as it does in psql, whatever its type.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tenantry.render import Row, TableRow
from tenantry_generator.blockmap import BlockMap
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
    """A read, without what it quarantines, and how many records belong to nobody."""

    read: Read[Row]
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


def render(records: Iterable[Record], columns: tuple[str, ...], known: Mapping[str, Row]) -> Rendering:
    """Render all records of a table. `known` are rows of before: where a record says the same, the row is kept.

    A record without a readable tenant belongs to nobody and is left out. Equal records are one; differing ones for one
    name quarantine that tenant, since nothing tells which is right.
    """
    rejected: Counter[str] = Counter()
    found: dict[str, TableRow] = {}
    claims: dict[str, set[Record]] = {}
    texts: dict[str, str] = {}
    nameless = 0
    for record in records:
        if not record[0].strip() or not _is_text(record[0]):
            rejected[NO_TEXT if record[0].strip() else EMPTY] += 1
            nameless += 1
            continue
        # Of a text that many rows have there is one.
        new = TableRow((record[0], *[texts.setdefault(text, text) for text in record[1:]]), columns)
        other = found.setdefault(new.name, new)
        if other.record != new.record:
            claims.setdefault(new.name, {other.record}).add(new.record)
    quarantined: dict[str, str] = {}
    before = dict(known.items())
    rows: dict[str, Row] = {}
    for name, row in found.items():
        if (problem := _problem(row, claims.get(name, ()), columns)) is not None:
            reason, quarantined[name] = problem
            rejected[reason] += max(1, len(claims.get(name, ())))
        else:
            was = before.get(name)
            rows[name] = row if was is None or was != row else was
    return Rendering(Read(BlockMap.of(known).replaced(rows), dict(rejected), quarantined), nameless)


def _problem(row: Row, claims: Collection[Record], columns: Sequence[str]) -> tuple[str, str] | None:
    """Return the reason and the explanation why a tenant can't be published; `claims`: its records if they differ."""
    if claims:
        return CONFLICTING, _conflict(claims, columns)
    if len(row["tenant"]) > LONGEST:
        return TOO_LONG, f"the tenant's name is longer than {LONGEST} characters"
    if bad := [column for column in columns if not _is_text(row[column])]:
        return NO_TEXT, f"not UTF-8: {', '.join(bad)}"
    return None


def _conflict(claims: Collection[Record], columns: Sequence[str]) -> str:
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
