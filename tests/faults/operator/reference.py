"""How an undisturbed run of a workload ends, which is what every disturbed one must come to."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.faults.operator.canonical import State, canonical, differences, renamed
from tests.faults.operator.ledger import Ledger
from tests.faults.operator.observer import Change, Observer
from tests.faults.operator.safety import End, called, early_words

__all__ = ["Outcome", "Reference", "outcome", "reference_of", "uneven"]

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: the state, how often each object was ADDED and DELETED, how many writes it took, and the way.

    The first `begun` changes of `history` were made while it was prepared.
    """

    token: str
    state: State
    summary: Counter[str]
    writes: int
    history: Sequence[Change]
    begun: int = 0


@dataclass(frozen=True, slots=True)
class Reference:
    """How undisturbed runs of a workload end, but for `masked`, the leaves in which two of them differ.

    `events`: what a watch tells of the way there, `KIND:NAMESPACE:NAME:NN` for the NNth of an object, and whether it
    is that the object is gone.
    """

    state: State
    summary: Counter[str]
    masked: frozenset[str]
    end: End
    events: Mapping[str, bool]

    def differences(self, state: State) -> list[str]:
        """Return what is not as it should be, a line each."""
        return differences(self.state, {path: value for path, value in state.items() if path not in self.masked})


def outcome(observer: Observer, ledger: Ledger, token: str) -> Outcome:
    """Return how a run has ended, if it has."""
    counts = {(kind, called(key, token)): count for (kind, key), count in observer.summary(token).items()}
    return Outcome(
        token=token,
        state=canonical(observer.objects[token], token),
        summary=Counter({f"{kind} {what}": count for (kind, what), count in counts.items()}),
        writes=len(ledger.pages[token].numbers),
        history=tuple(observer.history[token]),
    )


def reference_of(name: str, one: Outcome, two: Outcome) -> Reference:
    """Return what two undisturbed runs have in common; AssertionError if that is not enough."""
    if one.summary != two.summary:
        lines = "; ".join(uneven(one.summary, two.summary))
        raise AssertionError(f"{name}: two undisturbed runs made and deleted differently: {lines}")
    paths = one.state.keys() | two.state.keys()
    masked = {path for path in paths if one.state.get(path, _ABSENT) != two.state.get(path, _ABSENT)}
    state = {path: value for path, value in one.state.items() if path not in masked}
    end = End(
        objects=frozenset(path.partition(": ")[0] for path in one.state),
        deleted=frozenset(key.removeprefix("DELETED ") for key in one.summary if key.startswith("DELETED ")),
        generation=one.state.get("Tenant /TENANT: metadata.generation", 0),
        told_late=False,
    )
    told_late = not any(early_words(each.history, each.token, end) for each in (one, two))
    end = End(end.objects, end.deleted, end.generation, told_late)
    first, second = _events(one), _events(two)
    events = {name: gone for name, gone in first.items() if second.get(name) == gone}
    return Reference(state, one.summary, frozenset(masked), end, events)


def _events(run: Outcome) -> dict[str, bool]:
    counts: Counter[str] = Counter()
    found = {}
    for change in run.history[run.begun :]:
        name = renamed(":".join(change.key), run.token)
        counts[name] += 1
        found[f"{name}:{counts[name]:02d}"] = change.kind == "DELETED"
    return found


def uneven(found: Counter[str], wanted: Counter[str]) -> list[str]:
    """Return a line for each count that is not as wanted."""
    keys = sorted(key for key in found.keys() | wanted.keys() if found[key] != wanted[key])
    return [f"{key}: {found[key]} times instead of {wanted[key]}" for key in keys]
