"""Run by `kopf run`: counts the Tenants that it is told of, and says when there are $COUNT of them."""

import os
from typing import Any

import kopf

_seen: set[str | None] = set()


@kopf.on.event("tenantry.dev", "v1alpha1", "tenants")
def count(name: str | None, **_: Any) -> None:
    """Count a Tenant once."""
    _seen.add(name)
    if len(_seen) == int(os.environ["COUNT"]):
        print("counted all", flush=True)
