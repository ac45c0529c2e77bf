"""Divides tenants among several ApplicationSets, for those that are too large for one.

Rendezvous hashing: a tenant belongs to the shard with the highest score for its name. So one more shard takes tenants
from each of the others and moves none between those, and no tenant's shard depends on which other tenants there are.
The scores must never change: moving a tenant from one ApplicationSet to another deletes its Application.
"""

import hashlib
import struct
from dataclasses import dataclass

__all__ = ["MOST_SHARDS", "Shard", "shard_of"]

MOST_SHARDS = 256

_SCORES = struct.Struct(">8Q")


@dataclass(frozen=True, slots=True)
class Shard:
    """The part `index`, from 0, of `count` parts."""

    index: int
    count: int


def shard_of(name: str, count: int) -> int:
    """Return the index of the shard, of `count`, that a tenant belongs to."""
    scores: list[int] = []
    while len(scores) < count:
        # One digest holds the scores of eight shards.
        scores += _SCORES.unpack(hashlib.blake2b(name.encode(), salt=len(scores).to_bytes(16, "big")).digest())
    return max(range(count), key=scores.__getitem__)
