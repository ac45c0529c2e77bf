"""Why a tenant is in the answer or not: what each source says of it, what became of it, and who was told.

It only gathers what is known already, and decides nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from tenantry.names import slug
from tenantry.render import CLUSTER, POSTGRES, ClusterRow, Row, as_dict, inherited_columns
from tenantry_generator.contract import encode_time
from tenantry_generator.guard import Hold
from tenantry_generator.membership import Listing, Membership
from tenantry_generator.received import Receipt, Received
from tenantry_generator.snapshot import Snapshot
from tenantry_generator.sources import Read
from tenantry_generator.views import View, matches

__all__ = ["Known", "Told", "explain", "hint"]

_LOOKED_AT = 2000
_HINTS = 5


@dataclass(frozen=True, slots=True)
class Told:
    """A source now: its last complete read since the start, None before, and why it can't be read at present."""

    read: Read[Any] | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that is known of tenants. `told`: the sources that are configured, by name."""

    snapshot: Snapshot
    membership: Membership
    told: Mapping[str, Told]
    received: Received


def explain(name: str, known: Known) -> dict[str, Any] | None:
    """Return as JSON what is known of the tenant of this `name`; None: nothing at all."""
    if not any(name in names for names in _names(known)):
        return None
    element, departed = known.snapshot.rows.get(name), known.membership.departed.get(name)
    listings = known.membership.sources
    return {
        "name": name,
        "tenant": None if element is None else element["tenant"],
        "listed": element is not None,
        "revision": known.snapshot.revision,
        "source": None if element is None else element["source"],
        "element": None if element is None else as_dict(element),
        "sources": [
            _source(name, source, listings, known.told.get(source)) for source in sorted({*listings, *known.told})
        ],
        "departed": None
        if departed is None
        else {"fate": departed.fate.value, "source": departed.source, "at": encode_time(departed.at)},
        "applicationSets": [
            _view(name, view, element, known.received.last_of(view))
            for view in sorted(known.membership.views.values(), key=lambda view: (view.applicationset, view.id))
        ],
    }


def hint(given: str, known: Known) -> list[str]:
    """Return names that may have been meant by one that nobody knows, the likeliest first."""
    readable = slug(given).rpartition("-")[0] if slug(given) != given else given
    near = sorted({name for names in _names(known) for name in names if name[:2] == readable[:2]})
    begun = [name for name in near if name.startswith(readable)]
    alike = get_close_matches(readable, near[:_LOOKED_AT], _HINTS)
    return list(dict.fromkeys([*begun[:_HINTS], *alike]))[:_HINTS]


def _names(known: Known) -> Iterator[Mapping[str, object]]:
    yield known.snapshot.rows
    yield known.membership.departed
    for listing in known.membership.sources.values():
        yield listing.rows
    for told in known.told.values():
        if told.read is not None:
            yield from (told.read.rows, told.read.quarantined, told.read.doubted)


def _source(name: str, source: str, listings: Mapping[str, Listing], told: Told | None) -> dict[str, Any]:
    listing, read = listings.get(source, Listing()), None if told is None else told.read
    found = listing.rows.get(name)
    served: Row | None = found.element if isinstance(found, ClusterRow) else found
    over = listings[CLUSTER].rows.get(name) if source == POSTGRES and CLUSTER in listings else None
    return {
        "source": source,
        "problem": "it is no longer configured" if told is None else told.problem,
        "lists": None if read is None else name in read.rows or name in read.quarantined,
        "row": None if served is None else as_dict(served),
        "quarantined": None if read is None else read.quarantined.get(name),
        "doubted": None if read is None else read.doubted.get(name),
        "held": _held(next((hold for hold in listing.holds if name in hold.names), None)),
        "shadowed": over is not None and served is not None,
        "inherited": [] if over is None or served is None else inherited_columns(over, served),
    }


def _view(name: str, view: View, element: Row | None, last: Receipt | None) -> dict[str, Any]:
    keys = {key for key, row in view.held.items() if row["name"] == name}
    rows = {} if element is None else {name: element}
    return {
        "applicationSet": view.applicationset,
        "view": view.id,
        "parameters": view.parameters,
        "selector": None if view.selector is None else view.selector.body,
        "matches": bool(matches(view.query, view.selector, rows)),
        "held": _held(next((hold for hold in view.holds if hold.names & keys), None)),
        "lastAnswer": None
        if last is None
        else {"at": encode_time(last.at), "revision": last.revision, "hadIt": _had(name, view, last)},
    }


def _had(name: str, view: View, last: Receipt) -> bool | None:
    if last.elements is None:
        return None
    first = next(iter(last.elements), "")
    if first in last.elements and last.elements[first]["name"] != first:  # they are namespaces
        found = [row for row in last.elements.values() if row["name"] == name]
    else:
        found = [last.elements[name]] if name in last.elements else []
    return any(view.selector is None or view.selector.matches(row) for row in found)


def _held(hold: Hold | None) -> dict[str, Any] | None:
    return None if hold is None else {"hash": hold.hash, "since": encode_time(hold.since), "why": hold.why}
