"""What is asked of the operator while it is disturbed: a tenant's life, one act at a time.

Each workload is a pair of scripts, what is there `before` and what is done `then`; the faults come during the second.
`writes` is how many numbered writes the operator needs for that when nothing disturbs it; the reference run
says if the number is wrong.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tenantry.resources import NETWORK_POLICIES, RESOURCE_QUOTAS, ROLE_BINDINGS
from tests.faults.operator.hand import Hand

__all__ = ["WORKLOADS", "Workload"]

Script = Callable[[Hand], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Workload:
    """Something that is asked of the operator."""

    name: str
    writes: int
    then: Script
    before: Script | None = None


def _items(*names: str) -> dict[str, Any]:
    return {"items": [{"name": name} for name in names]}


_OWNERS = [
    {"kind": "User", "name": "ada", "role": "owner"},
    {"kind": "Group", "name": "crew", "role": "editor"},
    {"kind": "Group", "name": "audit", "role": "viewer"},
]
_WINDOW = {"kind": "deny", "schedule": "0 22 * * *", "duration": "1h", "applications": ["*"]}
_PROJECT = {"enabled": True, "project": {"sourceRepos": ["https://git.example.com/x/*"], "syncWindows": [_WINDOW]}}
_QUOTA = {"scope": "Namespace", "hard": {"pods": "10", "requests.cpu": "2"}}
_LIMITS = {"items": [{"name": "small", "limits": [{"type": "Container", "default": {"cpu": "500m"}}]}]}
_POLICIES = {"isolation": "Tenant", "items": [{"name": "web", "spec": {"podSelector": {}, "ingress": [{}]}}]}
_BINDINGS = [{"name": "more", "clusterRoleName": "view", "subjects": [{"kind": "Group", "name": "guests"}]}]
_FULL: Mapping[str, Any] = MappingProxyType(
    {
        "deletionPolicy": "Delete",
        "namespaces": _items("a", "b"),
        "resourceQuotas": _QUOTA,
        "limitRanges": _LIMITS,
        "networkPolicies": _POLICIES,
        "owners": _OWNERS,
        "additionalRoleBindings": _BINDINGS,
        "argocd": {**_PROJECT, "impersonation": True},
    }
)
_LENT = {"defaults": {"resourceQuotas": _QUOTA, "limitRanges": _LIMITS, "networkPolicies": _POLICIES}}


def _spec(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**_FULL, **changes}.items() if value is not None}


def _applied(**spec: Any) -> Script:
    async def script(hand: Hand) -> None:
        await hand.apply(**spec)
        await hand.settled()

    return script


async def _deleted(hand: Hand) -> None:
    await hand.delete()
    await hand.gone()


async def _full_and_theirs(hand: Hand, **changes: Any) -> None:
    await _applied(**_spec(**changes))(hand)
    await hand.foreign(RESOURCE_QUOTAS, "-a", {"spec": {"hard": {"configmaps": "9"}}})
    await hand.foreign(NETWORK_POLICIES, "-a", {"spec": {"podSelector": {}}})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    await hand.foreign(ROLE_BINDINGS, "-a", {"roleRef": role, "subjects": []})


def _full_with(**changes: Any) -> Script:
    async def script(hand: Hand) -> None:
        await _full_and_theirs(hand, **changes)

    return script


async def _of_class(hand: Hand) -> None:
    await hand.apply_class(**_LENT)
    await hand.apply(deletionPolicy="Delete", tenantClassName=hand.token, namespaces=_items("a", "b"))
    await hand.settled()


async def _change_class(hand: Hand) -> None:
    lent = {**_LENT["defaults"], "resourceQuotas": {**_QUOTA, "hard": {"pods": "20"}}, "limitRanges": None}
    await hand.apply_class(defaults={key: value for key, value in lent.items() if value is not None})

    def followed() -> bool:
        limits = [key for key in hand.objects if key[0] == "LimitRange"]
        quotas = [body["spec"]["hard"] for key, body in hand.objects.items() if key[0] == "ResourceQuota"]
        return not limits and quotas == [{"pods": "20"}] * 2

    await hand.until(followed, "what its class lends is changed")
    await hand.settled()


async def _adopt(hand: Hand) -> None:
    items = {"items": [{"name": "a"}, {"name": "old", "fullName": f"{hand.token}-old"}]}
    await hand.apply(**_spec(namespaces=items, argocd=None))
    await hand.settled()


async def _offered(hand: Hand) -> None:
    await hand.offer("-old")
    await hand.foreign(NETWORK_POLICIES, "-old", {"spec": {"podSelector": {}}})


async def _join_and_leave(hand: Hand) -> None:
    await hand.offer("-guest")
    await hand.until(lambda: hand.has_said("-guest") and hand.is_settled(), "the offered namespace has joined")
    await hand.withdraw("-guest")
    await hand.until(lambda: not hand.has_said("-guest") and hand.is_settled(), "the namespace is let go")


async def _recreate(hand: Hand) -> None:
    await _deleted(hand)
    await _applied(**_spec(argocd=None))(hand)


_JOINING = {"adoptByLabel": True, "items": [{"name": "a"}]}
_OTHERS = [{"kind": "User", "name": "bob", "role": "owner"}, {"kind": "Group", "name": "crew", "role": "viewer"}]

WORKLOADS: Mapping[str, Workload] = {
    each.name: each
    for each in (
        Workload("small", 3, _applied(deletionPolicy="Delete", displayName="Small")),
        Workload("full", 37, _applied(**_spec(namespaces=_items("a", "b", "c")))),
        Workload("class", 12, _of_class),
        Workload("class-change", 4, _change_class, _of_class),
        Workload(
            "quota", 3, _applied(**_spec(resourceQuotas={"scope": "Namespace", "hard": {"pods": "20"}})), _full_with()
        ),
        Workload("add-and-remove", 25, _applied(**_spec(namespaces=_items("b", "c"))), _full_with()),
        Workload("replace", 20, _applied(**_spec(namespaces=_items("a", "z"), argocd=None)), _full_with(argocd=None)),
        Workload("isolation", 5, _applied(**_spec(networkPolicies={"isolation": "Namespace"})), _full_with()),
        Workload("owners", 8, _applied(**_spec(owners=_OTHERS)), _full_with()),
        Workload("adopt", 21, _adopt, _offered),
        Workload("join-and-leave", 20, _join_and_leave, _applied(**_spec(namespaces=_JOINING, argocd=None))),
        Workload("prune", 23, _applied(deletionPolicy="Delete", namespaces=_items("a")), _full_with()),
        Workload("delete", 5, _deleted, _full_with()),
        Workload("orphan", 24, _deleted, _full_with(deletionPolicy="Orphan")),
        Workload("retain", 1, _deleted, _full_with(deletionPolicy="Retain")),
        Workload("recreate", 24, _recreate, _full_with(argocd=None)),
    )
}
"""By name."""
