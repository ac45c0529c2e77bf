"""Takes what was read into the state: of the sources of tenants, and of the clusters whose namespaces are asked for."""

import asyncio
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from tenantry_generator.feed import Feed
from tenantry_generator.guard import held_by
from tenantry_generator.membership import Membership, expire, know_keys, take
from tenantry_generator.membership_namespaces import follow_clusters
from tenantry_generator.sources import Read, kept

__all__ = ["take_clusters", "take_reads"]

_MANY = 5000
"""Rows of a read that is taken in beside the event loop."""


async def take_reads(
    membership: Membership, reads: Mapping[str, Read[Any]], *, configured: Collection[str], now: float
) -> Membership:
    """Return the state after these reads, by source, at a Unix time. `configured`: every source that there is now."""
    membership = expire(membership, now=now)
    for source in [source for source in membership.sources if source not in configured]:
        # No longer configured: its tenants are missing as if it listed none, and may not go unnoticed.
        if membership.sources[source].rows:
            membership = take(membership, source, {}, now=now)
    for source, read in reads.items():
        before = membership.sources.get(source)
        rows = read.rows if before is None else kept(read, before.rows, held_by(before.holds))
        membership = know_keys(membership, read.keys, now=now)
        taking = partial(take, membership, source, rows, now=now, doubted=read.doubted)
        # It takes long when everything has changed. Nothing else leads to another state meanwhile.
        membership = await asyncio.to_thread(taking) if len(rows) > _MANY else taking()
    return membership


def take_clusters(
    membership: Membership, clusters: Mapping[str, Feed], fresh: Collection[Feed], *, now: float
) -> Membership:
    """Return the state after what was read of the clusters; what is `fresh` of that has not been taken in before."""
    return follow_clusters(
        membership,
        {name: feed.read.rows for name, feed in clusters.items() if feed.read is not None},
        fresh={name for name, feed in clusters.items() if feed in fresh},
        sure={name for name, feed in clusters.items() if feed.up},
        doubted={name: feed.read.doubted for name, feed in clusters.items() if feed.read is not None},
        now=now,
    )
