"""What is served: one immutable set of rows, with its answer ready as bytes.

A snapshot is never changed, only replaced by one assignment, so no request can see half of an update.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenantry.render import Row
from tenantry_generator.contract import assemble, encode_row
from tenantry_generator.query import Query
from tenantry_generator.views import View, shown

__all__ = ["Snapshot", "build_snapshot"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every tenant by name, each with its bytes, and the answer to a request without a filter."""

    revision: int
    rows: Mapping[str, Row]
    encoded: Mapping[str, bytes]
    body: bytes

    def answer(self, query: Query, views: Sequence[View] = ()) -> bytes:
        """Return the answer to a query, with what `views` hold; one that nobody matches gets an empty list.

        NotReady: the query asks for an error then, or for namespaces that are not known.
        """
        return self.encode(self.elements(query, views))

    def elements(self, query: Query, views: Sequence[View] = ()) -> Mapping[str, Row]:
        """Return what `answer` answers with, by key; `rows` itself when that is all of them. NotReady as there."""
        elements = query.shaped(shown(query.of_tenants.elements(self.rows), views))
        query.require(elements)
        return elements

    def encode(self, elements: Mapping[str, Row]) -> bytes:
        """Return the answer that holds these elements."""
        if elements is self.rows:
            return self.body
        return assemble([self._encode(key, row) for key, row in elements.items()], count=len(elements))

    def _encode(self, key: str, row: Row) -> bytes:
        return self.encoded[key] if self.rows.get(key) is row else encode_row(row)


def build_snapshot(rows: Mapping[str, Row], previous: Snapshot | None, *, first: int = 1) -> Snapshot:
    """Return the snapshot that serves `rows`: `previous` itself when nothing changed, else one of the next revision.

    `first` is the revision if there is no previous one.
    """
    if previous is None:
        encoded = {name: encode_row(row) for name, row in rows.items()}
        return Snapshot(first, rows, encoded, assemble(list(encoded.values()), count=len(rows)))
    if previous.rows == rows:
        return previous
    encoded = {
        name: previous.encoded[name] if (old := previous.rows.get(name)) is row or old == row else encode_row(row)
        for name, row in rows.items()
    }
    return Snapshot(previous.revision + 1, rows, encoded, assemble(list(encoded.values()), count=len(rows)))
