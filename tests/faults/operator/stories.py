"""What has happened before the operator is started on an old view of it: things were given up and taken back.

Each story ends in a settled state in which everything that is there is wanted. Whoever acts on an earlier state would
delete some of that, let it go, or bring back what is gone. Some chapters are played while no operator runs, so that
what was given up meanwhile, and taken back, is still the same object.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tenantry.names import ADOPT_LABEL
from tenantry.resources import NAMESPACES, TENANTS
from tests.faults.operator.hand import Hand

__all__ = ["STORIES", "Script", "Story", "named"]

Script = Callable[[Hand], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Story:
    """`awake` is played first; `asleep` without an operator; `after` it is back."""

    name: str
    awake: Script
    asleep: Script | None = None
    after: Script | None = None


def _spec(*namespaces: str, policy: str = "Delete", full: bool = True) -> dict[str, Any]:
    spec: dict[str, Any] = {"deletionPolicy": policy, "namespaces": {"items": [{"name": name} for name in namespaces]}}
    if not full:
        return spec
    return {
        **spec,
        "owners": [{"kind": "User", "name": "ada", "role": "owner"}],
        "resourceQuotas": {"scope": "Namespace", "hard": {"pods": "10"}},
    }


_PROJECT = {"argocd": {"enabled": True, "project": {"sourceRepos": ["https://git.example.com/x/*"]}}}


async def _becomes(hand: Hand, spec: Mapping[str, Any]) -> None:
    await hand.apply(**spec)
    await hand.settled()


async def _goes(hand: Hand) -> None:
    await hand.delete()
    await hand.gone()


async def _adopted(hand: Hand, suffix: str) -> None:
    patch = {"metadata": {"labels": {ADOPT_LABEL: hand.token}}}
    await hand.kube.merge_patch(NAMESPACES, f"{hand.token}{suffix}", patch)


async def _deleted(hand: Hand) -> None:
    await _becomes(hand, {**_spec("a"), **_PROJECT})
    await _goes(hand)


async def _recreated(hand: Hand) -> None:
    await _deleted(hand)
    await _becomes(hand, {**_spec("a"), **_PROJECT})


async def _orphaned(hand: Hand) -> None:
    await _becomes(hand, _spec("a", policy="Orphan"))
    await _goes(hand)


async def _orphaned_and_adopted(hand: Hand) -> None:
    await _becomes(hand, _spec("a", policy="Orphan", full=False))
    await _goes(hand)
    await _adopted(hand, "-a")
    await _becomes(hand, _spec("a", policy="Orphan", full=False))


async def _given_back(hand: Hand) -> None:
    await _becomes(hand, _spec("a", "b"))
    await _becomes(hand, _spec("a"))
    await hand.until(lambda: ("Namespace", "", f"{hand.token}-b") not in hand.objects, "the namespace b is gone")
    await _becomes(hand, _spec("a", "b"))


async def _let_go_and_adopted(hand: Hand) -> None:
    await _becomes(hand, _spec("a", "b", policy="Orphan"))
    await _becomes(hand, _spec("a", policy="Orphan"))
    await _adopted(hand, "-b")
    await _becomes(hand, _spec("a", "b", policy="Orphan"))


async def _children(hand: Hand) -> None:
    for spec in ({**_spec("a"), **_PROJECT}, _spec("a", full=False), {**_spec("a"), **_PROJECT}):
        await _becomes(hand, spec)


async def _namespace_lost(hand: Hand) -> None:
    def uid() -> str:
        body = hand.objects.get(("Namespace", "", f"{hand.token}-a"))
        return "" if body is None else str(body["metadata"]["uid"])

    await _becomes(hand, _spec("a"))
    before = uid()
    await hand.kube.delete(NAMESPACES, f"{hand.token}-a")
    await hand.until(lambda: uid() not in (before, ""), "the namespace is made again")
    await hand.until(hand.is_settled, "the Tenant has settled")


async def _two_with_all(hand: Hand) -> None:
    await _becomes(hand, {**_spec("a", "b"), **_PROJECT})


async def _changes_its_mind(hand: Hand) -> None:
    await hand.apply(**_spec("a", full=False))
    await hand.apply(**_spec("a", "b"), **_PROJECT)


async def _is_recreated_by_hand(hand: Hand) -> None:
    await hand.delete()
    await hand.kube.merge_patch(TENANTS, hand.token, {"metadata": {"finalizers": []}})
    await hand.until(lambda: hand.tenant is None, "the Tenant is gone")
    await hand.apply(**_spec("a", "b"), **_PROJECT)


async def _settled(hand: Hand) -> None:
    await hand.settled()


STORIES: tuple[Story, ...] = (
    Story("deleted", _deleted),
    Story("recreated", _recreated),
    Story("orphaned", _orphaned),
    Story("orphaned-and-adopted", _orphaned_and_adopted),
    Story("given-back", _given_back),
    Story("let-go-and-adopted", _let_go_and_adopted),
    Story("children", _children),
    Story("namespace-lost", _namespace_lost),
    Story("changes-its-mind", _two_with_all, _changes_its_mind, _settled),
    Story("recreated-by-hand", _two_with_all, _is_recreated_by_hand, _settled),
)


def named(*names: str) -> tuple[Story, ...]:
    """Return some of the stories."""
    return tuple(story for story in STORIES if story.name in names)
