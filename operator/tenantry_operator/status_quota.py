"""What `status.quota` says: what the tenant may use, what its namespaces were given, and what they use.

`used` is the quota controller's word, taken from the ResourceQuotas themselves. It changes with every Pod, unlike all
else in a status, so whether nothing but that has changed can be asked.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tenantry.classes import Resolved, namespaces_of
from tenantry.jsontext import load_json
from tenantry.quantities import Quantity, parse
from tenantry.resources import RESOURCE_QUOTAS
from tenantry_operator.children import quota
from tenantry_operator.children.child import ChildKey, Present

__all__ = ["only_usage_differs", "quota_status"]

_MOST_RESOURCES = 64
"""As in the schema; a spec of usual size has far fewer."""
_SUMMARY_LIMIT = 120


def quota_status(resolved: Resolved, children: Mapping[ChildKey, Present]) -> dict[str, Any] | None:
    """Return `status.quota`, None for a tenant without any; what was not counted yet is missing from `used`."""
    own = [child for (kind, _, name), child in children.items() if (kind, name) == (RESOURCE_QUOTAS.kind, quota.NAME)]
    hard = quota.ceiling(resolved.spec, namespaces_of(resolved))
    allocated = quota.add_up([_amounts(load_json(child.content).get("spec", {}).get("hard")) for child in own])
    if not hard and not allocated:
        return None
    used = quota.add_up([_amounts(load_json(child.used)) for child in own if child.used])
    names = [*sorted(hard), *sorted(allocated.keys() - hard.keys())][:_MOST_RESOURCES]
    return {
        "hard": _written(hard, names),
        "allocated": _written(allocated, names),
        "used": _written(used, names),
        "summary": _summary({**allocated, **hard}, used, names),
    }


def only_usage_differs(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether two statuses are the same but for what is used."""
    return before.get("quota") is not None and _without_usage(before) == _without_usage(after)


def _without_usage(status: Mapping[str, Any]) -> dict[str, Any]:
    amounts = {key: value for key, value in (status.get("quota") or {}).items() if key not in ("used", "summary")}
    return {**status, "quota": amounts}


def _amounts(written: Mapping[str, int | str] | None) -> dict[str, Quantity]:
    found = {}
    for resource, amount in (written or {}).items():
        try:
            found[resource] = parse(amount)
        except ValueError:
            continue  # more than 9E: nothing of ours, and nothing to add up with
    return found


def _written(amounts: Mapping[str, Quantity], names: Iterable[str]) -> dict[str, str]:
    return {name: str(amounts[name]) for name in names if name in amounts}


def _summary(limits: Mapping[str, Quantity], used: Mapping[str, Quantity], names: Iterable[str]) -> str:
    """Return used/limit of as many resources as fit in a column: cpu and memory first, ? for what is not counted."""
    entries = [f"{name} {used.get(name, '?')}/{limits[name]}" for name in sorted(names, key=_rank)]
    shown: list[str] = []
    for entry in entries:
        if len(", ".join([*shown, entry])) > _SUMMARY_LIMIT:
            break
        shown.append(entry)
    left = len(entries) - len(shown)
    if left:
        shown.append(f"and {left} more" if shown else "too long to show")
    return ", ".join(shown)


def _rank(name: str) -> tuple[int, str]:
    order = ("cpu", "memory", "pods")
    last = name.rpartition(".")[2]
    return (order.index(last) if last in order else len(order), name)
