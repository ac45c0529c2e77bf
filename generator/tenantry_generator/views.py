"""What each ApplicationSet sees, and that not much of it goes at once while the tenants are still there.

A mass change of status deletes the Applications of an ApplicationSet that filters by status as surely as a TRUNCATE. So
an element that no longer matches, of a tenant that is still in its source, is a departure of the view, and one that is
held is served as it was when it last matched. A tenant that leaves its source has passed that source's guard, and
leaves every view with it.

A view follows from a request's parameters and the selector of the generator that sends it. Which elements it showed
follows from the rows that were served, so only what it holds is kept.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tenantry.render import Row
from tenantry_generator.blockmap import BlockMap
from tenantry_generator.generator_selector import Selector, select
from tenantry_generator.guard import SHARE, Hold, Ledger, Room, held_by, judge
from tenantry_generator.query import Query

__all__ = ["View", "follow", "make_view", "matches", "release", "shown", "view_id"]

_ID = 12


@dataclass(frozen=True, slots=True)
class View:
    """`parameters` are those that `query` was read from. `matching`: how many elements match now, held ones aside.

    `held`: the elements that are held, by key, as they last matched. `asked`: about when it was last asked for.
    """

    id: str
    applicationset: str
    parameters: Mapping[str, Any]
    query: Query
    selector: Selector | None
    matching: int = 0
    held: BlockMap[Row] = field(default_factory=BlockMap)
    holds: tuple[Hold, ...] = ()
    ledger: Ledger = field(default_factory=Ledger)
    asked: float = 0.0

    @property
    def set(self) -> str:
        """What a hold calls it."""
        return f"view {self.id} of ApplicationSet {self.applicationset}"


def view_id(applicationset: str, query: Query, selector: Selector | None) -> str:
    """Return what tells a view from every other, also across restarts."""
    text = json.dumps([applicationset, query.of_tenants.key, None if selector is None else selector.key])
    return hashlib.sha256(text.encode()).hexdigest()[:_ID]


def make_view(
    applicationset: str,
    *,
    parameters: Mapping[str, Any],
    query: Query,
    selector: Selector | None,
    rows: Mapping[str, Row],
    now: float,
) -> View:
    """Return a view that is asked for the first time."""
    matching = len(matches(query, selector, rows))
    return View(
        id=view_id(applicationset, query, selector),
        applicationset=applicationset,
        parameters=parameters,
        query=query,
        selector=selector,
        matching=matching,
        ledger=Ledger().note(left=0, served=matching, now=now),
        asked=now,
    )


def matches(query: Query, selector: Selector | None, rows: Mapping[str, Row]) -> Mapping[str, Row]:
    """Return the tenants out of `rows` that Argo CD is left with by name, however the query wants them shown."""
    return select(selector, query.of_tenants.elements(rows))


def shown(elements: Mapping[str, Row], views: Sequence[View]) -> Mapping[str, Row]:
    """Return the elements of an answer with what its views hold, in the order of the keys."""
    held = {key: row for view in views for key, row in view.held.items()}
    return BlockMap.of(elements).updated(held) if held else elements


def follow(view: View, *, before: Mapping[str, Row], after: Mapping[str, Row], now: float) -> View:
    """Return the view after a change; `before` and `after` are the rows of the tenants that changed, by name."""
    old, new = (matches(view.query, view.selector, rows) for rows in (before, after))
    touched = {key: row for key, row in view.held.items() if row["name"] in before or row["name"] in after}
    if not old and not new and not touched:
        return view
    gone = {key: row for key, row in {**old, **touched}.items() if key not in new}
    departing = {key: row for key, row in gone.items() if row["name"] in after}
    matching = view.matching - len(old) + len(new)
    verdict = judge(
        view.set,
        view.holds,
        missing=(view.held.keys() - touched.keys()) | departing.keys(),
        remaining=matching,
        room=Room(view.ledger.room(share=SHARE, now=now)),
        now=now,
    )
    kept = verdict.held
    anew = {key: row for key, row in departing.items() if key in kept and key not in view.held}
    held = view.held.updated(anew, view.held.keys() - kept)
    ledger = view.ledger.note(left=len(verdict.left), served=matching + len(held), now=now)
    return replace(view, matching=matching, held=held, holds=verdict.holds, ledger=ledger)


def release(view: View, hashes: frozenset[str], *, now: float) -> View:
    """Return the view without the holds of these hashes: what they held leaves it."""
    holds = tuple(hold for hold in view.holds if hold.hash not in hashes)
    if len(holds) == len(view.holds):
        return view
    held = view.held.updated({}, view.held.keys() - held_by(holds))
    ledger = view.ledger.note(left=0, served=view.matching + len(held), now=now)
    return replace(view, held=held, holds=holds, ledger=ledger)
