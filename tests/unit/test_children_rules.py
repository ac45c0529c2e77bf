"""LimitRanges and NetworkPolicies: written out as the API server stores them, in every namespace."""

from typing import Any

import pytest

from tenantry.classes import namespaces_of, resolve
from tenantry.model import parse_tenant
from tenantry.resources import LIMIT_RANGES, NETWORK_POLICIES
from tenantry_operator.children.wanted import wanted_children


def bodies(**spec: Any) -> list[dict[str, Any]]:
    found = resolve(parse_tenant({"metadata": {"name": "acme"}, "spec": spec}), {})
    wanted = wanted_children(found, [namespace.name for namespace in namespaces_of(found)])
    assert wanted.problems == ()
    assert all(body["kind"] == resource.kind for resource, body in wanted.bodies)
    assert all(body["apiVersion"] == resource.api_version for resource, body in wanted.bodies)
    return [body for _, body in wanted.bodies]


def policy(**spec: Any) -> Any:
    (body,) = bodies(networkPolicies={"items": [{"name": "web", "spec": spec}]})
    return body["spec"]


def test_a_limit_range_has_what_was_written_and_its_quantities_are_canonical() -> None:
    limits = [
        {"type": "Container", "max": {"cpu": 4, "memory": "1024Mi"}, "defaultRequest": {"cpu": "0.1"}, "min": {}},
        {"type": "Pod", "maxLimitRequestRatio": {"cpu": "10.0"}},
    ]
    (body,) = bodies(limitRanges={"items": [{"name": "default", "limits": limits}]})
    assert body == {
        "apiVersion": "v1",
        "kind": LIMIT_RANGES.kind,
        "metadata": {"name": "tenantry-default", "namespace": "acme"},
        "spec": {
            "limits": [
                {"type": "Container", "max": {"cpu": "4", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}},
                {"type": "Pod", "maxLimitRequestRatio": {"cpu": "10"}},
            ]
        },
    }


NAMED_ACME = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["acme"]}


@pytest.mark.parametrize(
    ("isolation", "peer"),
    [
        ("Tenant", {"namespaceSelector": {"matchExpressions": [NAMED_ACME]}}),
        ("Namespace", {"podSelector": {}}),
    ],
)
def test_a_preset_restricts_what_comes_in_and_never_what_goes_out(isolation: str, peer: dict[str, Any]) -> None:
    (body,) = bodies(networkPolicies={"isolation": isolation})
    assert body == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": NETWORK_POLICIES.kind,
        "metadata": {"name": "tenantry-isolation", "namespace": "acme"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [peer]}]},
    }


def test_the_preset_lets_in_the_namespaces_that_are_the_tenants_own_and_no_other_that_it_asks_for() -> None:
    items = [{"name": "b"}, {"name": "a"}, {"name": "refused"}]
    spec = {"namespaces": {"items": items}, "networkPolicies": {"isolation": "Tenant"}}
    found = resolve(parse_tenant({"metadata": {"name": "acme"}, "spec": spec}), {})
    policies = [body["spec"] for _, body in wanted_children(found, ["acme-b", "acme-a"]).bodies]
    peer = {"namespaceSelector": {"matchExpressions": [{**NAMED_ACME, "values": ["acme-a", "acme-b"]}]}}
    assert [policy["ingress"] for policy in policies] == [[{"from": [peer]}]] * 2


def test_without_isolation_there_is_no_policy() -> None:
    assert bodies() == bodies(networkPolicies={"isolation": "None"}) == []


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, ["Ingress"]),
        ({"ingress": [{}]}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"egress": []}, ["Ingress"]),
        ({"policyTypes": [], "egress": [{}]}, ["Ingress", "Egress"]),
        ({"policyTypes": ["Egress"]}, ["Egress"]),
        ({"policyTypes": ["Egress"], "ingress": [{}]}, ["Egress"]),
    ],
)
def test_the_policy_types_are_written_out_by_kubernetes_own_rule(spec: dict[str, Any], types: list[str]) -> None:
    assert policy(**spec)["policyTypes"] == types


def test_a_policy_keeps_what_was_written_and_gets_what_the_api_server_would_fill_in() -> None:
    peers = [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]
    spec = policy(
        ingress=[{"from": peers, "ports": [{"port": 80}, {"port": "quic", "protocol": "UDP"}]}, {}],
        egress=[{"to": peers, "ports": None}],
    )
    assert spec == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": peers, "ports": [{"protocol": "TCP", "port": 80}, {"protocol": "UDP", "port": "quic"}]},
            {},
        ],
        "egress": [{"to": peers, "ports": None}],
    }


def test_to_allow_nothing_is_not_to_say_nothing() -> None:
    assert policy(ingress=[], policyTypes=["Ingress"])["ingress"] == []
    assert policy(ingress=[{}])["ingress"] == [{}]


def test_every_namespace_gets_every_rule_in_a_stable_order() -> None:
    found = bodies(
        namespaces={"items": [{"name": "b"}, {"name": "a"}]},
        resourceQuotas={"hard": {"pods": 1}},
        limitRanges={"items": [{"name": "l", "limits": [{"type": "Pod", "max": {"cpu": 1}}]}]},
        networkPolicies={"isolation": "Namespace", "items": [{"name": "web", "spec": {}}]},
        owners=[{"kind": "User", "name": "jane", "role": "viewer"}],
    )
    each = ["tenantry", "tenantry-l", "tenantry-isolation", "tenantry-web", "tenantry-viewer"]
    placed = [(body["metadata"]["namespace"], body["metadata"]["name"]) for body in found]
    assert placed == [(namespace, name) for namespace in ("acme-b", "acme-a") for name in each]


def test_building_changes_nothing_of_the_tenant() -> None:
    spec = {"networkPolicies": {"items": [{"name": "web", "spec": {"ingress": [{"ports": [{"port": 1}]}]}}]}}
    tenant = parse_tenant({"metadata": {"name": "acme"}, "spec": spec})
    wanted_children(resolve(tenant, {}), ["acme"])
    assert tenant.spec.network_policies.items is not None
    assert tenant.spec.network_policies.items[0].spec == {"ingress": [{"ports": [{"port": 1}]}]}
