"""What a single container, pod or claim may use, and gets when it does not say, as LimitRanges."""

from collections.abc import Mapping
from typing import Any

from tenantry.classes import EffectiveSpec
from tenantry.policies import LimitRangeItem
from tenantry.quantities import parse
from tenantry.resources import LIMIT_RANGES

__all__ = ["build"]


def build(spec: EffectiveSpec, namespace: str) -> list[dict[str, Any]]:
    """Return the LimitRanges of one namespace, named `tenantry-NAME`."""
    return [
        {
            "apiVersion": LIMIT_RANGES.api_version,
            "kind": LIMIT_RANGES.kind,
            "metadata": {"name": f"tenantry-{entry.name}", "namespace": namespace},
            "spec": {"limits": [_limit(limit) for limit in entry.limits]},
        }
        for entry in spec.limit_ranges
    ]


def _limit(item: LimitRangeItem) -> dict[str, Any]:
    maps = {
        "max": item.max,
        "min": item.min,
        "default": item.default,
        "defaultRequest": item.default_request,
        "maxLimitRequestRatio": item.max_limit_request_ratio,
    }
    return {"type": item.type.value, **{name: _canonical(amounts) for name, amounts in maps.items() if amounts}}


def _canonical(amounts: Mapping[str, int | str]) -> dict[str, str]:
    return {resource: str(parse(amount)) for resource, amount in sorted(amounts.items())}
