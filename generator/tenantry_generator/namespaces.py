"""What requests for namespaces see of a cluster, and that not much of it goes at once.

Whoever takes a label off many namespaces, points a kubeconfig elsewhere, or relabels what a `labelSelector` looks for,
has Argo CD delete Applications as surely as a TRUNCATE does. So the namespaces that one cluster and one `labelSelector`
give are a set that is guarded like a source. A namespace whose tenant is no longer served has not left: the tenant has,
and it passed its own guard.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tenantry.render import Row
from tenantry_generator.blockmap import BlockMap
from tenantry_generator.expand import Expansion, Place, Places, is_shown
from tenantry_generator.guard import SHARE, Hold, Ledger, Room, judge

__all__ = ["Namespaces", "by_tenant", "first_seen", "follow", "namespaces_id"]

_ID = 12


@dataclass(frozen=True, slots=True)
class Namespaces:
    """`rows`: by name, as they are answered with; held ones as they last were. `asked`: about when last asked for.

    `places` are the same by tenant.
    """

    expansion: Expansion
    rows: BlockMap[Place]
    places: Places = field(compare=False, repr=False)
    holds: tuple[Hold, ...] = ()
    ledger: Ledger = field(default_factory=Ledger)
    asked: float = 0.0

    @property
    def set(self) -> str:
        """What a hold calls it."""
        wanted = self.expansion.selector.key
        return f"namespaces of {self.expansion.cluster}{f' matching {json.dumps(wanted)}' if wanted else ''}"


def namespaces_id(expansion: Expansion) -> str:
    """Return what tells a set from every other, also across restarts."""
    text = json.dumps([expansion.cluster, expansion.selector.key])
    return hashlib.sha256(text.encode()).hexdigest()[:_ID]


def by_tenant(rows: Mapping[str, Place]) -> Places:
    """Return namespaces by their tenant, in the order of their names."""
    found: dict[str, list[Place]] = {}
    for place in BlockMap.of(rows).values():
        found.setdefault(place.tenant, []).append(place)
    return {tenant: tuple(places) for tenant, places in found.items()}


def first_seen(
    expansion: Expansion, read: Mapping[str, Place], *, tenants: Mapping[str, Row], now: float
) -> Namespaces:
    """Return the set when it is asked for the first time; `tenants` are those that are served."""
    rows = BlockMap.of(_matching(expansion, read))
    ledger = Ledger().note(left=0, served=len(_shown(rows, tenants)), now=now)
    return Namespaces(expansion, rows, by_tenant(rows), ledger=ledger, asked=now)


def follow(
    before: Namespaces,
    read: Mapping[str, Place],
    *,
    tenants: Mapping[str, Row],
    agreed: frozenset[str] = frozenset(),
    doubted: Mapping[str, str] | None = None,
    now: float,
) -> Namespaces:
    """Return the set after a complete read of its cluster: `before` itself if that changed nothing.

    One that has another tenant now has left its tenant, but is in the answer once. `agreed`: hashes of holds to let go.
    `doubted`: why namespaces that are missing may not have left, by name.
    """
    found = _matching(before.expansion, read)
    present = _shown(found, tenants)
    missing = frozenset(
        name
        for name, was in _shown(before.rows, tenants).items()
        if name not in present or present[name].tenant != was.tenant
    )
    released = missing & frozenset(name for hold in before.holds if hold.hash in agreed for name in hold.names)
    verdict = judge(
        before.set,
        [hold for hold in before.holds if hold.hash not in agreed],
        missing=missing - released,
        remaining=len(present.keys() - missing),
        room=Room(before.ledger.room(share=SHARE, now=now)),
        now=now,
        doubted=doubted,
    )
    rows = before.rows.replaced({**found, **{name: before.rows[name] for name in verdict.held}})
    if verdict.holds == before.holds and rows == before.rows:
        return before
    ledger = before.ledger.note(left=len(verdict.left), served=len(_shown(rows, tenants)), now=now)
    return replace(before, rows=rows, places=by_tenant(rows), holds=verdict.holds, ledger=ledger)


def _matching(expansion: Expansion, read: Mapping[str, Place]) -> dict[str, Place]:
    return {name: place for name, place in read.items() if expansion.selector.matches(place.labels)}


def _shown(rows: Mapping[str, Place], tenants: Mapping[str, Row]) -> dict[str, Place]:
    return {
        name: place
        for name, place in rows.items()
        if place.tenant in tenants and is_shown(place, tenants[place.tenant])
    }
