"""Which views a request shows, and which the generators of its ApplicationSet can ask for at all.

The request tells neither its ApplicationSet's selectors nor what the other generators ask for. Those are read out of
the ApplicationSet, as far as nothing in them is templated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenantry_generator.applicationsets import Use
from tenantry_generator.errors import Refused
from tenantry_generator.generator_selector import Selector
from tenantry_generator.membership import Membership
from tenantry_generator.query import Query
from tenantry_generator.views import View, view_id

__all__ = ["Asked", "Asking", "Parse", "one_token", "views_to_show"]

Parse = Callable[[Mapping[str, Any]], Query]
"""Reads the parameters of a request or of an ApplicationSet's generator. Refused."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a view is made of."""

    parameters: Mapping[str, Any]
    query: Query
    selector: Selector | None


class Asking:
    """Reads by `parse` what generators ask for."""

    def __init__(self, parse: Parse) -> None:
        self.parse = parse

    def key(self, use: Use) -> str | None:
        """Return the key of the tenants that a generator asks for; None: it is templated, or will be refused."""
        query = self._query(use)
        return None if query is None else query.of_tenants.key

    def by_request(
        self, applicationset: str, parameters: Mapping[str, Any], query: Query, uses: Sequence[Use] | None
    ) -> dict[str, Asked]:
        """Return by its id each view that this request shows."""
        selectors = {
            use.selector for use in uses or () if use.parameters is None or self.key(use) == query.of_tenants.key
        }
        return {
            view_id(applicationset, query, selector): Asked(parameters, query, selector)
            for selector in selectors or {None}
        }

    def by_uses(self, applicationset: str, uses: Sequence[Use]) -> dict[str, Asked]:
        """Return by its id each view that these generators ask for, but for the templated ones."""
        found = {}
        for use in uses:
            if use.parameters is not None and (query := self._query(use)) is not None:
                found[view_id(applicationset, query, use.selector)] = Asked(use.parameters, query, use.selector)
        return found

    def by_all(self, applicationset: str, uses: Sequence[Use]) -> dict[str, Asked] | None:
        """Return by its id each view that the ApplicationSet can ask for; None when some can't be told beforehand."""
        if any(use.parameters is None for use in uses) or not one_token(uses):
            return None
        return self.by_uses(applicationset, uses)

    def _query(self, use: Use) -> Query | None:
        try:
            return None if use.parameters is None else self.parse(use.parameters)
        except Refused:
            return None  # it is answered with 400, so nothing is shown


def one_token(uses: Sequence[Use]) -> bool:
    """Whether they ask with one token: each ConfigMap names one, and what that is bound to shows when it is used."""
    return len({use.config_map for use in uses}) <= 1


def views_to_show(
    membership: Membership, applicationset: str, query: Query, asked: Mapping[str, Asked] | None
) -> list[View]:
    """Return the views that an answer shows: those `asked` for.

    None: the selectors are not known, so all that the ApplicationSet has ever asked for with this query.
    """
    views = membership.views.values()
    if asked is not None:
        return [view for view in views if view.id in asked]
    return [
        view
        for view in views
        if view.applicationset == applicationset and view.query.of_tenants.key == query.of_tenants.key
    ]
