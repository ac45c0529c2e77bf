"""What a token is bound to becomes a part of what is asked for, and can't be asked away."""

from typing import Any

import pytest

from tenantry_generator.applicationsets import Use
from tenantry_generator.contract import Request
from tenantry_generator.errors import Refused
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.query import Query
from tenantry_generator.scope import scoped, scoped_uses, within
from tenantry_generator.selector import EVERYTHING, parse_label_selector

SCOPE = parse_label_selector("tier=gold,env in (a,b),!internal", "scope")


def query(parameters: Any) -> Query:
    return parse_query(parameters, accepted_parameters(()))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"status": "active"},
        {"selector": {}},
        {"selector": {"matchLabels": {"tier": "silver"}}},
        {"selector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["gold"]}]}},
        {"selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]}},
    ],
)
def test_both_must_match(given: dict[str, Any]) -> None:
    asked, bound = query(given), query(scoped(given, SCOPE))
    assert bound.selector.requirements == asked.selector.requirements | SCOPE.requirements
    assert bound.wanted == asked.wanted
    assert (bound.key == asked.key) is False


@pytest.mark.parametrize(
    "selector",
    [None, [], "tier=gold", {"tier": "gold"}, {"matchLabels": []}, {"matchExpressions": {}}, {"matchExpressions": [1]}],
)
def test_what_is_no_selector_is_refused_as_for_everybody(selector: object) -> None:
    with pytest.raises(Refused):
        query(scoped({"selector": selector}, SCOPE))


def test_the_same_request_is_bound_to_the_same_request() -> None:
    request = Request("apps", {"status": "active"})
    assert within(request, SCOPE) is within(request, SCOPE)
    assert within(request, SCOPE).scope == SCOPE
    assert within(request, SCOPE) is not within(Request("apps", {"status": "active"}), SCOPE)


def test_the_generators_of_the_applicationset_ask_for_the_same() -> None:
    uses = [Use("a", {"status": "active"}, None), Use("a", None, None), Use("a", {"selector": "wrong"}, None)]
    bound = scoped_uses(uses, SCOPE)
    assert query(bound[0].parameters).key == query(within(Request("x", {"status": "active"}), SCOPE).parameters).key
    assert [use.parameters for use in bound[1:]] == [None, {"selector": "wrong"}]
    assert scoped_uses(uses, EVERYTHING) is uses
