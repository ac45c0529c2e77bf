"""What may reach a tenant's pods, as NetworkPolicies.

The presets restrict only what comes in. A policy for what goes out would have to list every address on the internet, or
forbid it, and would forbid DNS unless told otherwise; and what goes out to another isolated tenant is stopped there.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tenantry.classes import EffectiveSpec
from tenantry.policies import Isolation
from tenantry.resources import NETWORK_POLICIES

__all__ = ["build"]

_PRESET = "tenantry-isolation"
_NAME_LABEL = "kubernetes.io/metadata.name"


def build(spec: EffectiveSpec, namespace: str, own: Collection[str]) -> list[dict[str, Any]]:
    """Return the NetworkPolicies of one namespace: the preset's, and `tenantry-NAME` for each entry.

    `own`: the tenant's namespaces.
    """
    bodies = []
    if spec.isolation is not Isolation.NONE:
        allowed = [{"from": [_peer(spec.isolation, own)]}]
        preset = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": allowed}
        bodies.append(_body(_PRESET, namespace, preset))
    bodies += [_body(f"tenantry-{entry.name}", namespace, _spelled_out(entry.spec)) for entry in spec.network_policies]
    return bodies


def _peer(isolation: Isolation, own: Collection[str]) -> dict[str, Any]:
    if isolation is Isolation.TENANT:
        # By name, which the API server itself writes; the tenant's label can be put on any namespace by hand.
        among = {"key": _NAME_LABEL, "operator": "In", "values": sorted(own)}
        return {"namespaceSelector": {"matchExpressions": [among]}}
    return {"podSelector": {}}


def _body(name: str, namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": NETWORK_POLICIES.api_version,
        "kind": NETWORK_POLICIES.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": dict(spec),
    }


def _spelled_out(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec with what the API server would fill in.

    A policyTypes that the server has filled in stays as it was when egress rules are added later: they would have no
    effect.
    """
    directions = {name: _rules(spec[name]) for name in ("ingress", "egress") if spec.get(name) is not None}
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if directions.get("egress") else [])]
    rest = {name: value for name, value in spec.items() if value is not None}
    return {**rest, "podSelector": spec.get("podSelector") or {}, "policyTypes": types, **directions}


def _rules(rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**rule, "ports": [{"protocol": "TCP", **port} for port in rule["ports"]]} if rule.get("ports") else dict(rule)
        for rule in rules
    ]
