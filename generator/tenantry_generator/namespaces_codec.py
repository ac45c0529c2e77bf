"""Recorded namespaces as JSON, and back; an entry for each, so that a change of one is one changed entry."""

import json
from collections.abc import Mapping
from typing import Any

from tenantry_generator.blockmap import BlockMap
from tenantry_generator.expand import Expansion, Place
from tenantry_generator.guard import Hold, Ledger
from tenantry_generator.namespaces import Namespaces, by_tenant
from tenantry_generator.selector import Requirement, Selector

__all__ = ["namespace_row", "namespaces_meta", "read_namespaces"]


def namespace_row(place: Place) -> bytes:
    """Return what is kept of a namespace under its name."""
    body = {"tenant": place.tenant, "labels": place.labels, "given": place.given}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def namespaces_meta(namespaces: Namespaces) -> dict[str, Any]:
    """Return what is kept of a set besides its namespaces, holds and ledger."""
    expansion = namespaces.expansion
    return {"cluster": expansion.cluster, "selector": expansion.selector.key, "asked": namespaces.asked}


def read_namespaces(
    meta: Mapping[str, Any], table: Mapping[str, bytes], *, holds: tuple[Hold, ...], ledger: Ledger
) -> Namespaces:
    """Return the set that was kept. KeyError, TypeError or ValueError if it wasn't."""
    wanted = (Requirement(key, operator, frozenset(values)) for key, operator, values in meta["selector"])
    bodies = {name: json.loads(body) for name, body in table.items()}
    rows = BlockMap.of(
        {name: Place(name, body["tenant"], body["labels"], body["given"]) for name, body in bodies.items()}
    )
    return Namespaces(
        expansion=Expansion(meta["cluster"], Selector(frozenset(wanted))),
        rows=rows,
        places=by_tenant(rows),
        holds=holds,
        ledger=ledger,
        asked=meta["asked"],
    )
