"""What becomes of the recorded state when namespaces are asked for, read, and when holds of them are acknowledged."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from tenantry_generator.errors import NotReady
from tenantry_generator.expand import Expansion, Place
from tenantry_generator.membership import KEPT, Membership, mark_used, waiting
from tenantry_generator.namespaces import Namespaces, first_seen, follow, namespaces_id

__all__ = ["ask", "follow_clusters", "forget_clusters", "touch"]

_MOST = 500


def ask(membership: Membership, expansion: Expansion, read: Mapping[str, Place], *, now: float) -> Membership:
    """Make known that a cluster's namespaces are asked for, as they are in its last `read`. NotReady: too many are."""
    key = namespaces_id(expansion)
    if key in membership.namespaces:
        return membership
    if len(membership.namespaces) >= _MOST:
        raise NotReady(f"{_MOST} different clusters and labelSelectors are followed already; ask with fewer")
    seen = first_seen(expansion, read, tenants=membership.merged.rows, now=now)
    return replace(membership, namespaces={**membership.namespaces, key: seen})


def follow_clusters(
    membership: Membership,
    reads: Mapping[str, Mapping[str, Place]],
    *,
    fresh: Collection[str],
    sure: Collection[str],
    doubted: Mapping[str, Mapping[str, str]] | None = None,
    now: float,
) -> Membership:
    """Return the state after the last complete reads of clusters; those in `fresh` have not been taken in before.

    What is held is looked at each time: its tenant may have left, or somebody has agreed. That is followed only in
    clusters of which it is sure how they are now. `doubted`: by cluster, why what it lacks may not have left.
    """
    pending = waiting(membership)
    after: dict[str, Namespaces] = {}
    used: set[str] = set()
    for key, each in membership.namespaces.items():
        cluster = each.expansion.cluster
        after[key] = each
        if cluster in reads and (cluster in fresh or each.holds):
            agreed = pending.intersection(hold.hash for hold in each.holds) if cluster in sure else frozenset[str]()
            doubts = (doubted or {}).get(cluster)
            tenants = membership.merged.rows
            after[key] = follow(each, reads[cluster], tenants=tenants, agreed=agreed, doubted=doubts, now=now)
            used |= agreed
    if all(after[key] is each for key, each in membership.namespaces.items()):
        return membership
    return replace(mark_used(membership, used, now=now), namespaces=after)


def touch(membership: Membership, expansion: Expansion, *, now: float) -> Membership:
    """Note that a set is still asked for."""
    key = namespaces_id(expansion)
    if key not in membership.namespaces:
        return membership
    asked = replace(membership.namespaces[key], asked=now)
    return replace(membership, namespaces={**membership.namespaces, key: asked})


def forget_clusters(membership: Membership, *, known: Collection[str], now: float) -> Membership:
    """Forget what nobody has asked for in a week; but no hold, unless its cluster is no longer configured."""
    kept = {
        key: each
        for key, each in membership.namespaces.items()
        if now - each.asked <= KEPT or (each.holds and each.expansion.cluster in known)
    }
    return membership if len(kept) == len(membership.namespaces) else replace(membership, namespaces=kept)
