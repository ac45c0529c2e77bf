"""What a request can ask for, and which elements answer it."""

from collections import Counter
from typing import Any

import pytest

from tenantry.classes import resolve
from tenantry.model import parse_tenant
from tenantry.render import Row, render_row, render_tenant
from tenantry_generator.blockmap import BlockMap
from tenantry_generator.errors import NotReady, Refused
from tenantry_generator.expand import Place, Places
from tenantry_generator.parameters import accepted_parameters, parse_query
from tenantry_generator.query import Query
from tenantry_generator.shard import MOST_SHARDS, shard_of

COLUMNS = ("status", "plan")
ACCEPTED = accepted_parameters(COLUMNS)


def tenant(name: str, labels: dict[str, str] | None = None, **parameters: object) -> Row:
    body = {"metadata": {"name": name, "labels": labels or {}}, "spec": {"parameters": parameters}}
    return render_tenant(resolve(parse_tenant(body), {}), COLUMNS).element


ROWS = BlockMap.of(
    {
        row["name"]: row
        for row in (
            tenant("acme", {"tier": "gold"}, plan="large"),
            tenant("beta", {"tier": "silver"}),
            render_row("gamma", {"status": "trial", "plan": "large"}),
            tenant("delta", {"tier": "gold", "eu": ""}, plan=True),
        )
    }
)


def place(tenant: str, name: str, *, given: bool = True, **labels: str) -> Place:
    return Place(name, tenant, labels, given)


PLACES: Places = {
    "acme": (place("acme", "acme-prod", env="prod"), place("acme", "acme-test", env="test")),
    "gamma": (place("gamma", "gamma", given=False, env="prod"),),
    "delta": (place("delta", "typed-in", given=False, env="prod"),),
    "nobody": (place("nobody", "nobody", env="prod"),),
}


def ask(**parameters: Any) -> Query:
    return parse_query(parameters, ACCEPTED)


def keys(query: Query) -> list[str]:
    return list(query.elements(ROWS))


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"plan": "large"}, ["acme", "gamma"]),
        ({"plan": ["large", True]}, ["acme", "delta", "gamma"]),
        ({"plan": "large", "source": "postgres"}, ["gamma"]),
        ({"selector": {"matchLabels": {"tier": "gold"}}}, ["acme", "delta"]),
        (
            {"selector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["gold"]}]}},
            ["beta", "gamma"],
        ),
        ({"selector": {"matchExpressions": [{"key": "eu", "operator": "Exists"}]}, "status": "active"}, ["delta"]),
        ({"status": "gone"}, []),
    ],
)
def test_tenants_are_found_by_their_texts_and_labels(parameters: dict[str, Any], expected: list[str]) -> None:
    assert keys(ask(**parameters)) == expected


@pytest.mark.parametrize("parameters", [{}, {"selector": {}}, {"shard": {"index": "0", "count": "1"}}])
def test_whoever_asks_for_everything_gets_the_rows_themselves(parameters: dict[str, Any]) -> None:
    query = ask(**parameters)
    assert query.elements(ROWS) == ROWS
    assert ("shard" in parameters) or query.elements(ROWS) is ROWS


def test_fields_keep_the_order_and_who_it_is() -> None:
    found = ask(fields=["status", "labels"]).elements(ROWS)
    assert list(found["acme"]) == ["tenant", "name", "status", "labels"]
    assert set(map(tuple, found.values())) == {("tenant", "name", "status", "labels")}
    expanded = ask(fields=["status"], expand="namespace").bound(PLACES).elements(ROWS)
    assert list(expanded["acme/acme-prod"]) == ["tenant", "name", "status", "namespace", "cluster"]


def test_an_expanded_answer_has_an_element_for_each_namespace_that_is_really_the_tenant_s() -> None:
    found = ask(expand="namespace").bound(PLACES).elements(ROWS)
    assert list(found) == ["acme/acme-prod", "acme/acme-test", "gamma/gamma"]
    assert found["acme/acme-test"] == {**ROWS["acme"], "namespace": "acme-test", "cluster": "in-cluster"}
    assert {tuple(element) for element in found.values()} == {(*ROWS["acme"], "cluster")}


def test_a_row_without_a_tenant_object_takes_the_label_at_its_word() -> None:
    assert "gamma/gamma" in ask(expand="namespace").bound(PLACES).elements(ROWS)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"labelSelector": "env=prod"}, ["acme/acme-prod", "gamma/gamma"]),
        ({"labelSelector": {"env": "test"}}, ["acme/acme-test"]),
        ({"labelSelector": {"matchLabels": {"env": "prod"}}, "status": "trial"}, ["gamma/gamma"]),
        ({"expand": "namespace", "namespace": ["acme-test", "gamma"]}, ["acme/acme-test", "gamma/gamma"]),
        ({"expand": "namespace", "selector": {"matchLabels": {"tier": "gold"}}}, ["acme/acme-prod", "acme/acme-test"]),
    ],
)
def test_namespaces_are_found_by_their_own_labels(parameters: dict[str, Any], expected: list[str]) -> None:
    assert keys(ask(**parameters).bound(PLACES)) == expected


def test_namespaces_that_nobody_has_read_are_no_empty_answer() -> None:
    with pytest.raises(NotReady):
        ask(expand="namespace").elements(ROWS)


def test_the_tenants_of_a_query_can_be_told_without_its_namespaces_and_shown_afterwards() -> None:
    query = ask(labelSelector="env=prod", plan="large", namespace=["acme-prod", "gone"], fields=["plan"])
    tenants = query.of_tenants
    assert tenants == ask(plan="large")
    assert list(tenants.elements(ROWS)) == ["acme", "gamma"]
    bound = query.bound(PLACES)
    assert bound.shaped(tenants.elements(ROWS)) == bound.elements(ROWS)
    assert list(bound.elements(ROWS)) == ["acme/acme-prod"]
    assert ask(status="active").shaped(ROWS) is ROWS


def test_an_empty_answer_is_an_error_to_whoever_asks_for_that() -> None:
    query = ask(status="gone", failOnEmpty="true")
    with pytest.raises(NotReady) as caught:
        query.require(query.elements(ROWS))
    assert str(caught.value) == "nothing matches the request, and failOnEmpty asks for an error then"
    query.require(ROWS)
    ask(status="gone", failOnEmpty=False).require({})


def test_the_shards_of_a_count_have_each_tenant_once() -> None:
    found = Counter(key for index in "012" for key in keys(ask(shard={"index": index, "count": "3"})))
    assert found == Counter(list(ROWS))


def test_one_more_shard_only_takes_tenants_and_takes_its_share() -> None:
    names = [f"tenant-{number}" for number in range(3000)]
    for count in (1, 2, 7, 8, 9):
        moved = [(shard_of(name, count), shard_of(name, count + 1)) for name in names]
        taken = [now for was, now in moved if was != now]
        assert set(taken) == {count}
        assert 0.8 < len(taken) * (count + 1) / len(names) < 1.2


def test_the_shard_of_a_tenant_never_changes() -> None:
    assert [shard_of(name, 10) for name in ("acme", "beta", "gamma", "delta")] == [6, 2, 6, 8]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"status": "active"}, {"status": ["active"]}),
        ({"status": ["b", "a"]}, {"status": ["a", "b", "a"]}),
        ({}, {"selector": {}, "expand": "tenant", "failOnEmpty": False}),
        ({"labelSelector": "env=prod"}, {"expand": "namespace", "labelSelector": {"env": "prod"}}),
        ({"expand": "namespace"}, {"cluster": "in-cluster"}),
        ({"fields": ["status", "name"]}, {"fields": ["tenant", "status"]}),
    ],
)
def test_two_requests_for_the_same_have_one_key(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert ask(**one).key == ask(**other).key


def test_requests_for_something_else_have_another_key() -> None:
    requests: list[dict[str, Any]] = [
        {},
        {"status": "active"},
        {"plan": "active"},
        {"selector": {"matchLabels": {"status": "active"}}},
        {"expand": "namespace"},
        {"cluster": "elsewhere"},
        {"labelSelector": "status=active"},
        {"fields": ["status"]},
        {"shard": {"index": "0", "count": "2"}},
        {"shard": {"index": "1", "count": "2"}},
        {"failOnEmpty": True},
    ]
    assert len({ask(**parameters).key for parameters in requests}) == len(requests)


SHARD = f"input.parameters: shard must be an object with count from 1 to {MOST_SHARDS}, and index from 0 and less than "


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"expand": "cluster"}, "input.parameters: expand must be tenant or namespace"),
        ({"expand": ["tenant"]}, "input.parameters: expand must be tenant or namespace"),
        (
            {"expand": "tenant", "labelSelector": "a"},
            "input.parameters: labelSelector and cluster go with expand: namespace only",
        ),
        ({"cluster": ""}, "input.parameters: cluster must be the name of one cluster"),
        ({"cluster": ["a", "b"]}, "input.parameters: cluster must be the name of one cluster"),
        ({"fields": "status"}, "input.parameters: fields must be a list of at least one key"),
        ({"fields": []}, "input.parameters: fields must be a list of at least one key"),
        ({"fields": ["colour"]}, 'input.parameters: fields: unknown key "colour"; accepted are tenant, name, display'),
        ({"shard": {"index": "2", "count": "2"}}, SHARD),
        ({"shard": {"index": "0", "count": "0"}}, SHARD),
        ({"shard": {"index": "-1", "count": "2"}}, SHARD),
        ({"shard": {"index": "0", "count": "257"}}, SHARD),
        ({"shard": {"index": "0"}}, SHARD),
        ({"shard": {"index": "0", "count": "2", "of": "3"}}, SHARD),
        ({"shard": "0/2"}, SHARD),
        ({"failOnEmpty": "yes"}, "input.parameters: failOnEmpty must be true or false"),
        ({"failOnEmpty": "1"}, "input.parameters: failOnEmpty must be true or false"),
        ({"failOnEmpty": None}, "input.parameters: failOnEmpty must be true or false"),
        ({"selector": None}, "input.parameters.selector must be an object with matchLabels"),
        ({"labels": "x"}, 'input.parameters: unknown parameter "labels"; accepted are tenant, name'),
        (
            {"clusterEndpoint": "https://evil.example"},
            'input.parameters: unknown parameter "clusterEndpoint" (a request can\'t say where a cluster is; name one',
        ),
    ],
)
def test_what_is_not_understood_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as caught:
        ask(**parameters)
    assert caught.value.status == 400
    assert str(caught.value).startswith(message)
