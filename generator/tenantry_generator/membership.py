"""Who is served, what is held, and what has left: the state that is recorded before anything of it is served.

One immutable value, and the functions that lead from one to the next: a source's complete read, an acknowledgement, a
view that is asked for. They do no I/O and read no clock.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from tenantry.render import CLUSTER, POSTGRES
from tenantry_generator.block import Block
from tenantry_generator.blockmap import BlockMap, replaced_keys
from tenantry_generator.guard import SHARE, SHARE_OF_ALL, Hold, Ledger, Room, Verdict, held_by, judge
from tenantry_generator.merge import Merged, changed_names, merge, with_keys
from tenantry_generator.namespaces import Namespaces
from tenantry_generator.views import View, follow, release

__all__ = [
    "ACKNOWLEDGED_FOR",
    "KEPT",
    "Acknowledgement",
    "Departed",
    "Fate",
    "Listing",
    "Membership",
    "acknowledge",
    "expire",
    "forget_unused",
    "holds",
    "know_keys",
    "mark_used",
    "release_views",
    "take",
    "unheld",
    "waiting",
]

ACKNOWLEDGED_FOR = 3600.0
"""Seconds for which an acknowledgement that can't be followed yet stays valid."""
KEPT = 7 * 86400.0
"""Seconds for which it is remembered that a tenant has left, that a hash was acknowledged, and a view unasked for."""


class Fate(StrEnum):
    """What became of a tenant that a source no longer lists."""

    HELD = "held"
    LEFT = "left"
    LISTED = "listedByOtherSource"


@dataclass(frozen=True, slots=True)
class Departed:
    """A tenant that `source` no longer lists, since the Unix time `at`."""

    fate: Fate
    source: str
    at: float


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Somebody has agreed to a hold. `used`: when it was followed; None: not yet, as a source can't be read."""

    by: str
    at: float
    used: float | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """One source: its rows by tenant name, held ones among them."""

    rows: BlockMap[Any] = field(default_factory=BlockMap)
    holds: tuple[Hold, ...] = ()
    ledger: Ledger = field(default_factory=Ledger)


@dataclass(frozen=True, slots=True)
class Membership:
    """Everything that outlives the process. A source is missing in `sources` until it was read completely once."""

    revision: int = 0
    sources: Mapping[str, Listing] = field(default_factory=dict)
    merged: Merged = field(default_factory=Merged)
    everything: Ledger = field(default_factory=Ledger)
    views: Mapping[str, View] = field(default_factory=dict)
    namespaces: Mapping[str, Namespaces] = field(default_factory=dict)
    departed: BlockMap[Departed] = field(default_factory=BlockMap)
    acknowledged: Mapping[str, Acknowledgement] = field(default_factory=dict)


def holds(membership: Membership) -> list[Hold]:
    """Return every hold, the oldest first."""
    found = [hold for listing in membership.sources.values() for hold in listing.holds]
    found += [hold for view in membership.views.values() for hold in view.holds]
    found += [hold for each in membership.namespaces.values() for hold in each.holds]
    return sorted(found, key=lambda hold: (hold.since, hold.hash))


def unheld(listing: Listing) -> BlockMap[Any]:
    """Return what the source itself listed when it was last read."""
    return listing.rows.updated({}, held_by(listing.holds))


def take(
    membership: Membership,
    source: str,
    read: Mapping[str, Any],
    *,
    now: float,
    doubted: Mapping[str, str] | None = None,
) -> Membership:
    """Return the state after a complete read of a source: `membership` itself if that changed nothing.

    `doubted`: why tenants that are missing may not have left, by name.
    """
    before = membership.sources.get(source)
    if before is None:
        listing = Listing(BlockMap.of(read))
        return _with(membership, source, listing, Verdict((), frozenset()), now, came=listing.rows)
    read = before.rows.replaced(read)
    # Everything that is not as it was, also what only is another object: to know it makes the next look quick.
    touched = replaced_keys(before.rows, read)
    missing = frozenset(name for name in touched if name not in read)
    followed = [hold for hold in before.holds if hold.hash in waiting(membership)]
    agreed = held_by(followed) & missing
    verdict = judge(
        f"source {source}",
        [hold for hold in before.holds if hold not in followed],
        missing=missing - agreed,
        remaining=len(read),
        room=Room(
            here=before.ledger.room(share=SHARE, now=now),
            everywhere=membership.everything.room(share=SHARE_OF_ALL, now=now),
            leaving=frozenset(name for name in missing if not _listed_elsewhere(membership, source, name)),
        ),
        now=now,
        doubted=doubted,
    )
    rows = read.updated({name: before.rows[name] for name in verdict.held})
    if verdict.holds == before.holds and touched <= verdict.held:
        return membership
    membership = mark_used(membership, [hold.hash for hold in followed], now=now)
    after = Listing(rows, verdict.holds, before.ledger)
    came = touched - missing | held_by(before.holds)
    return _with(membership, source, after, verdict, now, came=came, agreed=agreed)


def know_keys(membership: Membership, keys: Collection[str], *, now: float) -> Membership:
    """Return the state in which every element has these keys too. None ever goes: a template may ask for it."""
    known = tuple(sorted({*membership.merged.keys, *keys}))
    if known == membership.merged.keys:
        return membership
    views = {
        key: replace(view, held=view.held.updated({name: with_keys(row, known) for name, row in view.held.items()}))
        for key, view in membership.views.items()
    }
    membership = replace(membership, views=views)
    merged = merge(
        _rows(membership.sources, CLUSTER), _rows(membership.sources, POSTGRES), membership.merged, keys=known
    )
    return replace(membership, merged=merged, views=_views(membership, merged, now))


def acknowledge(membership: Membership, given: str, *, by: str, now: float) -> Membership:
    """Note that somebody agrees to the hold of the hash `given`; it is followed at the source's next read."""
    return replace(membership, acknowledged={**membership.acknowledged, given: Acknowledgement(by, now)})


def release_views(membership: Membership, *, now: float) -> Membership:
    """Let go of what views hold and somebody has agreed to; only while every source can be read."""
    agreed = waiting(membership)
    views = {key: release(view, agreed, now=now) for key, view in membership.views.items()}
    done = [hold.hash for view in membership.views.values() for hold in view.holds if hold.hash in agreed]
    if not done:
        return membership
    return replace(mark_used(membership, done, now=now), views=views)


def mark_used(membership: Membership, hashes: Iterable[str], *, now: float) -> Membership:
    """Note that the acknowledgements of these hashes have been followed."""
    used = {each: replace(membership.acknowledged[each], used=now) for each in hashes}
    return replace(membership, acknowledged={**membership.acknowledged, **used})


def expire(membership: Membership, *, now: float) -> Membership:
    """Forget acknowledgements that were not followed within an hour, whichever way the clock went, and old ones."""
    kept = {
        key: each
        for key, each in membership.acknowledged.items()
        if abs(now - (each.used or each.at)) <= (ACKNOWLEDGED_FOR if each.used is None else KEPT)
    }
    return membership if len(kept) == len(membership.acknowledged) else replace(membership, acknowledged=kept)


def forget_unused(membership: Membership, *, now: float) -> Membership:
    """Forget the views that nobody has asked for in a week, of an ApplicationSet that is gone; but no hold."""
    kept = {key: view for key, view in membership.views.items() if view.holds or now - view.asked <= KEPT}
    return membership if len(kept) == len(membership.views) else replace(membership, views=kept)


def waiting(membership: Membership) -> frozenset[str]:
    """Return the hashes that somebody has agreed to and that have not been followed yet."""
    return frozenset(key for key, each in membership.acknowledged.items() if each.used is None)


def _with(
    membership: Membership,
    source: str,
    listing: Listing,
    verdict: Verdict,
    now: float,
    *,
    came: Collection[str],
    agreed: frozenset[str] = frozenset(),
) -> Membership:
    """Return the state with a source's new listing, and everything that follows from it.

    `came`: everybody who may be back, those that are in the listing and were not, or were held.
    """
    left = verdict.left
    leaving = [name for name in left if not _listed_elsewhere(membership, source, name)]
    listing = replace(listing, ledger=listing.ledger.note(left=len(left), served=len(listing.rows), now=now))
    departed = _departed(membership, source, listing, came=came, gone=left | agreed, now=now)
    sources = {**membership.sources, source: listing}
    merged = merge(_rows(sources, CLUSTER), _rows(sources, POSTGRES), membership.merged)
    return replace(
        membership,
        sources=sources,
        merged=merged,
        everything=membership.everything.note(left=len(leaving), served=len(merged.rows), now=now),
        views=_views(membership, merged, now),
        departed=departed,
    )


def _views(membership: Membership, merged: Merged, now: float) -> Mapping[str, View]:
    if not membership.views:
        return membership.views
    was, now_is = membership.merged.rows, merged.rows
    changed = changed_names(was, now_is)
    before = BlockMap.of({name: was[name] for name in changed if name in was})
    after = BlockMap.of({name: now_is[name] for name in changed if name in now_is})
    return {key: follow(view, before=before, after=after, now=now) for key, view in membership.views.items()}


def _departed(
    membership: Membership,
    source: str,
    listing: Listing,
    *,
    came: Collection[str],
    gone: Collection[str],
    now: float,
) -> BlockMap[Departed]:
    was, held = membership.departed, held_by(listing.holds)
    over = {name for block in was.blocks for name in _forgotten(block, now)}
    if was:
        over |= {
            name
            for name in came
            if (each := was.get(name)) is not None
            and (name in listing.rows and name not in held)
            and (each.source == source or each.fate is Fate.LEFT)
        }
    found = {
        name: Departed(Fate.HELD, source, now)
        for name in held
        if (each := was.get(name)) is None or name in over or each.fate is not Fate.HELD
    }
    for name in gone:
        fate = Fate.LISTED if _listed_elsewhere(membership, source, name) else Fate.LEFT
        found[name] = Departed(fate, source, now)
    return was.updated(found, over - found.keys())


def _forgotten(block: Block[Departed], now: float) -> list[str]:
    return [name for name, each in block.items() if each.fate is not Fate.HELD and now - each.at > KEPT]


def _listed_elsewhere(membership: Membership, source: str, name: str) -> bool:
    return any(name in each.rows for key, each in membership.sources.items() if key != source)


def _rows(sources: Mapping[str, Listing], source: str) -> BlockMap[Any]:
    return sources[source].rows if source in sources else BlockMap()
