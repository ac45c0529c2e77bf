"""The part of the tenants that a token is bound to: a selector that is added to whatever is asked for with it.

It becomes a part of the request's own parameters, so that views, guard and record take it for what was asked; and of
those of the ApplicationSet's generators, since all of them ask with that token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from tenantry_generator.applicationsets import Use
from tenantry_generator.contract import Request
from tenantry_generator.errors import Refused
from tenantry_generator.selector import EVERYTHING, Selector, parse_selector

__all__ = ["scoped", "scoped_uses", "within"]

_SELECTOR = "selector"


def scoped(parameters: Mapping[str, Any], scope: Selector) -> Mapping[str, Any]:
    """Return `input.parameters` that ask for what is in `scope` besides.

    What is no selector stays as it is: that is refused, whoever asks.
    """
    given = parameters.get(_SELECTOR, {})
    try:
        parse_selector(given, _SELECTOR)
    except Refused:
        return parameters
    own = [_expression(*each) for each in scope.key]
    return {**parameters, _SELECTOR: {**given, "matchExpressions": [*given.get("matchExpressions", []), *own]}}


def scoped_uses(uses: Sequence[Use], scope: Selector) -> Sequence[Use]:
    """Return the uses of an ApplicationSet, each asking for what is in `scope` besides."""
    if scope is EVERYTHING:
        return uses
    return [use if use.parameters is None else replace(use, parameters=scoped(use.parameters, scope)) for use in uses]


@lru_cache(maxsize=256)
def within(request: Request, scope: Selector) -> Request:
    """Return the request that asks for what is in `scope` besides; the same one for the same arguments."""
    return Request(request.applicationset, scoped(request.parameters, scope), scope)


def _expression(key: str, operator: str, values: Sequence[str]) -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}
