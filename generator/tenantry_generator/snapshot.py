"""What is served: one immutable set of rows, with its answer ready as bytes.

A snapshot is never changed, only replaced by one assignment, so no request can see half of an update. The bytes are
kept by block of the rows, and those of a block that has not changed are those of the snapshot before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from tenantry.render import Row
from tenantry_generator.block import Block
from tenantry_generator.blockmap import BlockMap
from tenantry_generator.body import Body, Part
from tenantry_generator.contract import assemble, encode_row
from tenantry_generator.query import Query
from tenantry_generator.views import View, shown

__all__ = ["Snapshot", "build_snapshot", "prepare"]

_TOGETHER = 256
"""Elements that are no whole block are joined by about so many."""

Parts = Mapping[Block[Row], Part]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every tenant by name, the bytes of each block of them, and the answer to a request without a filter."""

    revision: int
    rows: BlockMap[Row]
    parts: Parts = field(compare=False, repr=False)
    body: Body = field(compare=False, repr=False)

    def answer(self, query: Query, views: Sequence[View] = ()) -> Body:
        """Return the answer to a query, with what `views` hold; one that nobody matches gets an empty list.

        NotReady: the query asks for an error then, or for namespaces that are not known.
        """
        return self.encode(self.elements(query, views))

    def elements(self, query: Query, views: Sequence[View] = ()) -> Mapping[str, Row]:
        """Return what `answer` answers with, by key; `rows` itself when that is all of them. NotReady as there."""
        elements = query.shaped(shown(query.of_tenants.elements(self.rows), views))
        query.require(elements)
        return elements

    def encode(self, elements: Mapping[str, Row]) -> Body:
        """Return the answer that holds these elements."""
        if elements is self.rows:
            return self.body
        return assemble(list(self._encoded(elements)), count=len(elements))

    def _encoded(self, elements: Mapping[str, Row]) -> Iterator[Part]:
        waiting: list[bytes] = []
        for block in elements.blocks if isinstance(elements, BlockMap) else _blocks(elements):
            whole = self.parts.get(block)
            if waiting and (whole is not None or len(waiting) >= _TOGETHER):
                yield Part.of(waiting)
                waiting = []
            if whole is not None:
                yield whole
            else:
                waiting += self._elements(block)
        if waiting:
            yield Part.of(waiting)

    def _elements(self, block: Block[Row]) -> Iterator[bytes]:
        """Yield the bytes of each of some elements, those of rows without encoding them again."""
        for row, known, at in self.rows.located(block):
            yield encode_row(row) if known is None else self.parts[known].element(at)


def _blocks(elements: Mapping[str, Row]) -> Iterator[Block[Row]]:
    """Yield elements, in the order that they have, in blocks."""
    entries = iter(elements.items())
    while some := tuple(islice(entries, _TOGETHER)):
        keys, values = zip(*some, strict=True)
        yield Block(keys, values)


def prepare(rows: BlockMap[Row], previous: Snapshot | None) -> Iterator[tuple[Block[Row], Part]]:
    """Yield each block of `rows` with its bytes, out of `previous` where it has them. AssemblyError."""
    known: Parts = {} if previous is None else previous.parts
    for block in rows.blocks:
        part = known.get(block)
        if part is None and previous is not None and previous.rows:
            before = previous.rows.block_of(block.keys[0])
            # Read anew, as after a restart, rows are other objects and often still the same.
            part = known[before] if before.equals(block) else None
            block.index_like(before)
        yield block, part or Part.of([encode_row(row) for row in block.values])


def build_snapshot(
    rows: Mapping[str, Row], previous: Snapshot | None, *, first: int = 1, parts: Parts | None = None
) -> Snapshot:
    """Return the snapshot that serves `rows`: of the revision of `previous` if that serves the same, else of the next.

    `first` is the revision if there is no previous one, `parts` is what `prepare` yielded.
    """
    rows = BlockMap.of(rows)
    if previous is not None and previous.rows is rows:
        return previous
    if parts is None:
        parts = dict(prepare(rows, previous))
    body = assemble([parts[block] for block in rows.blocks], count=len(rows))
    if previous is not None:
        first = previous.revision + (previous.body.parts != body.parts)
    return Snapshot(first, rows, parts, body)
