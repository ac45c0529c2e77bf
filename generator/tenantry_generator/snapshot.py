"""What is served: one immutable set of rows, with its answer ready as bytes.

A snapshot is never changed, only replaced by one assignment, so no request can see half of an update.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tenantry.render import Row
from tenantry_generator.contract import assemble, encode_row
from tenantry_generator.errors import NotReady
from tenantry_generator.query import Query

__all__ = ["Snapshot", "build_snapshot"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every tenant by name, each with its bytes, and the answer to a request without a filter."""

    revision: int
    rows: Mapping[str, Row]
    encoded: Mapping[str, bytes]
    body: bytes

    def answer(self, query: Query) -> bytes:
        """Return the answer to a query; one that nobody matches gets an empty list. NotReady: no tenant is known."""
        if not self.rows:
            raise NotReady("no source has any tenant; an empty answer would delete every Application")
        elements = query.elements(self.rows)
        query.require(elements)
        if elements is self.rows:
            return self.body
        return assemble([self._encode(key, row) for key, row in elements.items()], count=len(elements))

    def _encode(self, key: str, row: Row) -> bytes:
        return self.encoded[key] if self.rows.get(key) is row else encode_row(row)


def build_snapshot(rows: Mapping[str, Row], previous: Snapshot | None) -> Snapshot:
    """Return the snapshot that serves `rows`: `previous` itself when nothing changed, else one of the next revision."""
    if previous is None:
        encoded = {name: encode_row(row) for name, row in rows.items()}
        return Snapshot(1, rows, encoded, assemble(list(encoded.values()), count=len(rows)))
    if previous.rows == rows:
        return previous
    encoded = {
        name: previous.encoded[name] if previous.rows.get(name) == row else encode_row(row)
        for name, row in rows.items()
    }
    return Snapshot(previous.revision + 1, rows, encoded, assemble(list(encoded.values()), count=len(rows)))
