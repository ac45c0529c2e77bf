"""What one generator of an ApplicationSet would get now, against what it got last.

Both are looked at as Argo CD is left with them, after the generator's own `selector`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tenantry.render import Row
from tenantry_generator.contract import encode_time
from tenantry_generator.generator_selector import Selector, select
from tenantry_generator.guard import Hold
from tenantry_generator.merge import changed_names
from tenantry_generator.received import Receipt

__all__ = ["compare", "holds_on", "listed"]

_SHOWN = 100


def compare(now: Mapping[str, Row], last: Receipt | None, selector: Selector | None) -> dict[str, Any]:
    """Return as JSON the elements by key, and which would be added, removed or changed: null where that isn't known."""
    now = select(selector, now)
    told: dict[str, Any] = {"now": listed(now), "last": None, "added": None, "removed": None, "changed": None}
    if last is None:
        return told
    told["last"] = {"at": encode_time(last.at), "revision": last.revision}
    if last.elements is None:
        return told
    before = select(selector, last.elements)
    differing = changed_names(before, now)
    return {
        **told,
        "added": listed(key for key in differing if key not in before),
        "removed": listed(key for key in differing if key not in now),
        "changed": listed(key for key in differing if key in before and key in now),
    }


def holds_on(elements: Mapping[str, Row], holds: Sequence[Hold]) -> list[dict[str, Any]]:
    """Return as JSON those of `holds` that keep some of these elements in the answer, and which."""
    names = elements.keys() | {row["name"] for row in elements.values()}
    return [
        {
            "hash": hold.hash,
            "set": hold.set,
            "since": encode_time(hold.since),
            "why": hold.why,
            "held": listed(hold.names & names),
        }
        for hold in holds
        if hold.names & names
    ]


def listed(keys: Iterable[str]) -> dict[str, Any]:
    """Return how many there are and the first of them in order, as JSON."""
    found = sorted(keys)
    return {"count": len(found), "elements": found[:_SHOWN], "truncated": len(found) > _SHOWN}
