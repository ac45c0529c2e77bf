"""Whether a disturbed run ended as an undisturbed one, and was safe in every state and at every write on the way."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tenantry.resources import APP_PROJECTS, NAMESPACES, ROLE_BINDINGS, TENANTS
from tests.faults.family import Broken
from tests.faults.operator.canonical import State, canonical, differences, renamed
from tests.faults.operator.hand import Hand
from tests.faults.operator.ledger import Ledger
from tests.faults.operator.observer import Change, Key, Observer
from tests.support.eventually import eventually

__all__ = ["Judge", "Outcome", "Reference", "outcome", "reference_of"]

CONVERGE = 30.0
"""Seconds from the last fault until the end state must be there."""
QUIET = 1.0
"""Seconds without a write until a run counts as over."""
_ROLES = {"admin", "edit", "view"}
_LASTING = {NAMESPACES.kind, APP_PROJECTS.kind, ROLE_BINDINGS.kind}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: the state, how often each object was ADDED and DELETED, and how many writes it took."""

    state: State
    summary: Counter[str]
    writes: int


@dataclass(frozen=True, slots=True)
class Reference:
    """How undisturbed runs of a workload end, but for `masked`, the leaves in which two of them differ."""

    state: State
    summary: Counter[str]
    masked: frozenset[str]

    def differences(self, state: State) -> list[str]:
        """Return what is not as it should be, a line each."""
        return differences(self.state, {path: value for path, value in state.items() if path not in self.masked})


def outcome(observer: Observer, ledger: Ledger, token: str) -> Outcome:
    """Return how a run has ended, if it has."""
    summary = {(kind, called(key, token)): count for (kind, key), count in observer.summary(token).items()}
    return Outcome(
        state=canonical(observer.objects[token], token),
        summary=Counter({f"{kind} {what}": count for (kind, what), count in summary.items()}),
        writes=len(ledger.pages[token].numbers),
    )


def reference_of(name: str, one: Outcome, two: Outcome) -> Reference:
    """Return what two undisturbed runs have in common; AssertionError if that is not enough."""
    if one.summary != two.summary:
        raise AssertionError(
            f"{name}: two undisturbed runs made and deleted differently: {_uneven(one.summary, two.summary)}"
        )
    paths = one.state.keys() | two.state.keys()
    masked = {path for path in paths if one.state.get(path, _ABSENT) != two.state.get(path, _ABSENT)}
    state = {path: value for path, value in one.state.items() if path not in masked}
    return Reference(state, one.summary, frozenset(masked))


def called(key: Key, token: str) -> str:
    """Return what a reference calls an object."""
    return renamed("{} {}/{}".format(*key), token)


class Judge:
    """Judges one case's run against the reference; `error` in Broken has the case's trace."""

    def __init__(self, hand: Hand, observer: Observer, ledger: Ledger, reference: Reference) -> None:
        self._token = hand.token
        self._observer = observer
        self._ledger = ledger
        self._reference = reference
        self._seen = -1
        self._changed = time.monotonic()
        self._differences: list[str] = []

    def rests(self, seconds: float) -> bool:
        """Whether the end state has been there for so long."""
        return not self._missing() and time.monotonic() - self._changed > seconds

    async def ended(self, *, within: float = CONVERGE) -> None:
        """Wait for the reference's end, and for silence after it; Broken if that doesn't come, or came another way."""
        deadline = time.monotonic() + within
        missing = await self._settle(deadline)
        if missing:
            raise self.broken(f"after {within:g} s the end state is not that of an undisturbed run", *missing)
        await self._silence(deadline)
        self.check()

    def check(self) -> None:
        """Raise Broken unless state, summary and every state and write on the way are as they should be."""
        found = outcome(self._observer, self._ledger, self._token)
        if lines := self._reference.differences(found.state):
            raise self.broken("the end state was reached, and then left", *lines)
        if found.summary != self._reference.summary:
            uneven = _uneven(found.summary, self._reference.summary)
            raise self.broken("objects were made or deleted more or less often than in an undisturbed run", *uneven)
        for problem in self._wire():
            raise self.broken(problem)
        for change in self._observer.history[self._token]:
            if problem := self._state(change):
                raise self.broken(problem)

    def broken(self, promise: str, *lines: str) -> Broken:
        """Return the failure with what led to it."""
        trace = self._ledger.pages[self._token].trace()
        return Broken("\n".join([promise, *lines, f"what the operator wrote for {self._token}:", trace]))

    async def _settle(self, deadline: float) -> list[str]:
        with suppress(AssertionError):  # what is missing says more
            within = deadline - time.monotonic()
            await eventually(lambda: not self._missing(), within=within, what="the end state is there")
        return self._missing()

    def _missing(self) -> list[str]:
        """Return what is not as it should be at the end, worked out anew when something has changed."""
        history = self._observer.history[self._token]
        if len(history) != self._seen:
            self._seen, self._changed = len(history), time.monotonic()
            state = canonical(self._observer.objects[self._token], self._token)
            self._differences = self._reference.differences(state)
        return self._differences

    async def _silence(self, deadline: float) -> None:
        writes, since = -1, time.monotonic()
        while time.monotonic() < since + QUIET:
            if len(self._ledger.pages[self._token].writes) != writes:
                writes, since = len(self._ledger.pages[self._token].writes), time.monotonic()
            if time.monotonic() > deadline + QUIET:
                raise self.broken("the end state was reached, and the operator goes on writing")
            await asyncio.sleep(0.1)

    def _wire(self) -> list[str]:
        problems = []
        for each in self._ledger.pages[self._token].writes:
            given = (each.body or {}).get("preconditions", {}) if each.verb.startswith("delete") else None
            if given is not None and not (given.get("uid") and given.get("resourceVersion")):
                problems.append(f"a DELETE without uid and resourceVersion: {each}")
            if each.verb == "deletecollection":
                problems.append(f"a DELETE of a whole collection: {each}")
            name = renamed(f"{each.namespace or ''}/{each.name}", self._token)
            if each.verb == "delete" and not any(
                key.startswith("DELETED") and key.endswith(f" {name}") for key in self._reference.summary
            ):
                problems.append(f"a DELETE of what nobody has asked to delete: {each}")
        return problems

    def _state(self, change: Change) -> str:
        kind, _, name = change.key
        if kind == ROLE_BINDINGS.kind and name != "theirs" and change.kind != "DELETED":
            role: Mapping[str, Any] = change.body["roleRef"]
            if role["kind"] != "ClusterRole" or role["name"] not in _ROLES:
                return f"a binding to a role outside the allow-list: {change.key} to {role}"
        if name == "theirs" and change.kind == "MODIFIED" and not _by_kubernetes(change):
            return f"somebody else's object was changed: {change.key}: {change.body}"
        if kind == TENANTS.kind and change.kind == "DELETED":
            return self._left_behind(change)
        return ""

    def _left_behind(self, change: Change) -> str:
        """Return what a Tenant that is gone should have taken with it and has not: the finalizer comes last."""
        wanted = {key.removeprefix("DELETED ") for key in self._reference.summary if key.startswith("DELETED ")}
        # By version and not by arrival: each kind comes over a watch of its own.
        history = sorted(self._observer.history[self._token], key=_version)
        there: dict[Key, bool] = {}
        for each in history:
            if _version(each) < _version(change):
                there[each.key] = each.kind != "DELETED"
        left = [
            key
            for key, is_there in there.items()
            if is_there and key[0] in _LASTING and called(key, self._token) in wanted
        ]
        return f"the Tenant was gone before {', '.join(map(str, left))}" if left else ""


_ABSENT = object()


def _version(change: Change) -> int:
    return int(change.body["metadata"]["resourceVersion"])


def _by_kubernetes(change: Change) -> bool:
    # The quota controller counts, and the namespace controller deletes what is in a namespace that goes.
    managers = {each["manager"] for each in change.body["metadata"].get("managedFields", ())}
    return "tenantry-operator" not in managers


def _uneven(found: Counter[str], wanted: Counter[str]) -> list[str]:
    keys = sorted(key for key in found.keys() | wanted.keys() if found[key] != wanted[key])
    return [f"{key}: {found[key]} times instead of {wanted[key]}" for key in keys]
