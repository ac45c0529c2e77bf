"""Deliberate defects of the generator: mistakes of the kind that somebody could make, to see that cases find them."""

import hashlib
from collections.abc import Mapping

from tenantry.render import CLUSTER, POSTGRES, Row
from tenantry_generator import guard, membership
from tenantry_generator.blockmap import BlockMap
from tenantry_generator.body import Body
from tenantry_generator.contract import encode_row
from tenantry_generator.guard import Ledger
from tenantry_generator.membership import Membership
from tenantry_generator.merge import merge
from tenantry_generator.publisher import Publisher
from tenantry_generator.snapshot import Snapshot, build_snapshot

__all__ = [
    "follow_acknowledgements_for_ever",
    "forget_the_last",
    "hold_nobody",
    "let_one_more_go",
    "serve_only_what_can_be_read",
]


def forget_the_last() -> None:
    """Leave out the last element of every answer with a filter, and compare no count with what was to be sent."""

    def encode(self: Snapshot, elements: Mapping[str, Row]) -> Body:
        if elements is self.rows:
            return self.body
        parts = [encode_row(row) for row in list(elements.values())[:-1]]
        return Body((b'{"output":{"parameters":[', b",".join(parts), b"]}}"))

    Snapshot.encode = encode  # type: ignore[method-assign]


def _acknowledged(membership: Membership) -> frozenset[str]:
    return frozenset(membership.acknowledged)


def let_one_more_go() -> None:
    """Let one more leave a set than may."""
    room = Ledger.room

    def generous(self: Ledger, *, share: int, now: float) -> int:
        return room(self, share=share, now=now) + 1

    Ledger.room = generous  # type: ignore[method-assign]


def follow_acknowledgements_for_ever() -> None:
    """Tell holds apart by their set and their tenants alone, and follow an acknowledgement whenever that turns up."""

    def same(name: str, names: frozenset[str], now: float) -> str:
        return hashlib.sha256(f"{name} {sorted(names)}".encode()).hexdigest()[:16]

    guard._hash = same
    membership.waiting = _acknowledged


def serve_only_what_can_be_read() -> None:
    """Serve the sources that can be read now, as if the others listed nobody."""
    current = Publisher.current

    def only_what_is_up(self: Publisher) -> Snapshot:
        whole = current(self)
        if self.feeds.all_up:
            return whole
        listed = {name: each.rows for name, each in self.membership.sources.items() if self.feeds.is_sure(name)}
        merged = merge(listed.get(CLUSTER, BlockMap()), listed.get(POSTGRES, BlockMap()))
        return build_snapshot(merged.rows, None)

    Publisher.current = only_what_is_up  # type: ignore[method-assign]


def hold_nobody() -> None:
    """Find no reason to hold anybody."""

    def no_reason(*_: object, **__: object) -> None:
        return None

    guard._reason = no_reason
