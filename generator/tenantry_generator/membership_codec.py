"""Membership as what a RecordStore keeps, and back.

What grows with the number of tenants is in tables, an entry each, so that a change of one tenant is one changed entry.
Rows are kept as the sources gave them and brought to the configured columns when they are read, since settings may
change between two starts.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from tenantry.jsontext import dump_json, load_json
from tenantry.render import CLUSTER, POSTGRES, RESERVED, ClusterRow, Row, TableRow, as_dict, render_row
from tenantry_generator.blockmap import BlockMap
from tenantry_generator.errors import RecordCorrupt, Refused
from tenantry_generator.generator_selector import read_selector
from tenantry_generator.guard import Hold, Ledger
from tenantry_generator.membership import Acknowledgement, Departed, Fate, Listing, Membership, holds
from tenantry_generator.merge import merge, with_keys
from tenantry_generator.namespaces_codec import namespace_row, namespaces_meta, read_namespaces
from tenantry_generator.parameters import Accepted, accepted_parameters, parse_query
from tenantry_generator.record import Stored
from tenantry_generator.record.tables import Encoded, Joined
from tenantry_generator.views import View, matches, view_id

__all__ = ["decode", "encode"]

_FORMAT = 1
_HELD, _VIEWS, _DEPARTED, _NAMESPACES = "held", "views", "departed", "namespaces"


def encode(membership: Membership) -> Stored:
    """Return what to store."""
    tables: dict[str, Mapping[str, bytes]] = {}
    for source, listing in membership.sources.items():
        tables[source] = Encoded(listing.rows, _source_row)
    views = membership.views.values()
    tables[_HELD] = Joined({hold.hash: Encoded(_by_name(hold.names), _present) for hold in holds(membership)})
    tables[_VIEWS] = Joined({view.id: Encoded(view.held, _element) for view in views})
    for key, each in membership.namespaces.items():
        tables[f"{_NAMESPACES}/{key}"] = Encoded(each.rows, namespace_row)
    tables[_DEPARTED] = Encoded(membership.departed, _departed)
    return Stored(membership.revision, _json(_meta(membership)), tables)


def decode(stored: Stored, columns: Sequence[str]) -> Membership:
    """Return the state that was stored, its rows with exactly the keys that `columns` give them now.

    A view that the settings no longer allow is forgotten. RecordCorrupt: it is not what an Encoder made.
    """
    try:
        return _decode(stored, columns)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise RecordCorrupt(f"the record is not of the form that this version writes ({reason}); restore it") from error


def _decode(stored: Stored, columns: Sequence[str]) -> Membership:
    meta = json.loads(stored.meta)
    if meta["format"] != _FORMAT:
        raise RecordCorrupt(f"the record has the format {meta['format']}, this version knows {_FORMAT}; upgrade")
    names: dict[str, set[str]] = defaultdict(set)
    for key in stored.tables.get(_HELD, {}):
        given, _, name = key.partition("/")
        names[given].add(name)
    fit = _fitter(columns)
    sources = {
        source: Listing(
            BlockMap.of(
                {
                    name: _read_row(source, load_json(row), fit, tuple(columns))
                    for name, row in stored.tables[source].items()
                }
            ),
            _holds(each["holds"], names),
            _ledger(each["ledger"]),
        )
        for source, each in meta["sources"].items()
    }
    cluster, database = (sources[each].rows if each in sources else BlockMap() for each in (CLUSTER, POSTGRES))
    keys = tuple(meta.get("keys", ()))  # a record of a version without them has none
    merged = merge(cluster, database, keys=keys)
    held: dict[str, dict[str, Row]] = defaultdict(dict)
    for key, row in stored.tables.get(_VIEWS, {}).items():
        view, _, element = key.partition("/")
        held[view][element] = with_keys(fit(json.loads(row)), keys)
    departed = {name: load_json(each) for name, each in stored.tables.get(_DEPARTED, {}).items()}
    return Membership(
        revision=stored.revision,
        sources=sources,
        merged=merged,
        everything=_ledger(meta["everything"]),
        views=_views(meta["views"], merged.rows, held=held, names=names, accepted=accepted_parameters(columns, keys)),
        departed=BlockMap.of(
            {name: Departed(Fate(each["fate"]), each["source"], each["at"]) for name, each in departed.items()}
        ),
        namespaces={
            key: read_namespaces(
                body,
                stored.tables[f"{_NAMESPACES}/{key}"],
                holds=_holds(body["holds"], names),
                ledger=_ledger(body["ledger"]),
            )
            for key, body in meta.get(_NAMESPACES, {}).items()  # a record of a version without them has none
        },
        acknowledged={key: Acknowledgement(**each) for key, each in meta["acknowledged"].items()},
    )


def _meta(membership: Membership) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "sources": {
            source: {"holds": [_hold(hold) for hold in each.holds], "ledger": asdict(each.ledger)}
            for source, each in membership.sources.items()
        },
        "everything": asdict(membership.everything),
        "keys": membership.merged.keys,
        "views": {view.id: _view(view) for view in membership.views.values()},
        _NAMESPACES: {
            key: {
                **namespaces_meta(each),
                "holds": [_hold(hold) for hold in each.holds],
                "ledger": asdict(each.ledger),
            }
            for key, each in membership.namespaces.items()
        },
        "acknowledged": {key: asdict(each) for key, each in membership.acknowledged.items()},
    }


def _view(view: View) -> dict[str, Any]:
    return {
        "applicationset": view.applicationset,
        "parameters": view.parameters,
        "selector": None if view.selector is None else view.selector.body,
        "holds": [_hold(hold) for hold in view.holds],
        "ledger": asdict(view.ledger),
        "asked": view.asked,
    }


def _views(
    bodies: Mapping[str, Any],
    rows: Mapping[str, Row],
    *,
    held: Mapping[str, Mapping[str, Row]],
    names: Mapping[str, set[str]],
    accepted: Accepted,
) -> dict[str, View]:
    views: dict[str, View] = {}
    for key, body in bodies.items():
        try:
            query = parse_query(body["parameters"], accepted)
        except Refused:
            continue  # a request with these parameters is refused as well
        selector = read_selector(body["selector"])
        # Another version may have made another id of the same, or two; by those nobody would find what is held.
        name = view_id(body["applicationset"], query, selector)
        same = views.get(name)
        views[name] = View(
            id=name,
            applicationset=body["applicationset"],
            parameters=body["parameters"],
            query=query,
            selector=selector,
            matching=len(matches(query, selector, rows)),
            held=BlockMap.of({**(same.held if same else {}), **held.get(key, {})}),
            holds=(*(same.holds if same else ()), *_holds(body["holds"], names)),
            ledger=_ledger(body["ledger"]),
            asked=body["asked"],
        )
    return views


def _hold(hold: Hold) -> dict[str, Any]:
    return {"hash": hold.hash, "set": hold.set, "since": hold.since, "why": hold.why}


def _holds(bodies: Sequence[Mapping[str, Any]], names: Mapping[str, set[str]]) -> tuple[Hold, ...]:
    return tuple(
        Hold(each["hash"], each["set"], each["since"], each["why"], frozenset(names[each["hash"]])) for each in bodies
    )


def _ledger(body: Mapping[str, Any]) -> Ledger:
    return Ledger(*(tuple((when, count) for when, count in body[part]) for part in ("departed", "served")))


def _source_row(row: ClusterRow | Row) -> bytes:
    if isinstance(row, ClusterRow):
        return _json({"element": row.element, "own": sorted(row.own_columns)})
    return _element(row)


def _element(row: Row) -> bytes:
    return _json(as_dict(row))


@lru_cache(maxsize=64)
def _by_name(names: frozenset[str]) -> BlockMap[None]:
    return BlockMap.of(dict.fromkeys(names))


def _present(_: None) -> bytes:
    return b"1"


def _departed(departed: Departed) -> bytes:
    return _json(asdict(departed))


def _read_row(source: str, body: dict[str, Any], fit: Callable[[Row], Row], columns: tuple[str, ...]) -> Any:
    if source == CLUSTER:
        return ClusterRow(fit(body["element"]), frozenset(body["own"]))
    row = fit(body)
    small = TableRow((row["tenant"], *(row[column] for column in columns)), columns)
    return small if small == row else row  # another version may have rendered rows otherwise


def _fitter(columns: Sequence[str]) -> Callable[[Row], Row]:
    """Return what gives a row the keys that it would have under `columns`, in their order."""
    empty = render_row("a", dict.fromkeys(columns, ""))

    def fit(row: Row) -> Row:
        if row.keys() == empty.keys():
            return row
        return {key: row[key] if key in RESERVED else row.get(key, "") for key in empty}

    return fit


def _json(value: object) -> bytes:
    try:
        return dump_json(value)
    except TypeError:  # deeper than orjson goes
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
