"""What must hold in every state on the way, and of every write, whatever else is going wrong. Pure.

States are put in order by resourceVersion, not by arrival: each kind comes over a watch of its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tenantry.names import FIELD_MANAGER
from tenantry.resources import APP_PROJECTS, NAMESPACES, ROLE_BINDINGS, TENANTS
from tests.faults.operator.canonical import renamed
from tests.faults.operator.observer import Change, Key
from tests.support.kube_request import Exchange

__all__ = ["End", "called", "early_words", "unsafe_states", "unsafe_writes"]

_ROLES = {"admin", "edit", "view"}
_LASTING = {NAMESPACES.kind, APP_PROJECTS.kind, ROLE_BINDINGS.kind}


@dataclass(frozen=True, slots=True)
class End:
    """What is known of the end of a workload.

    `objects`: those that there are; `deleted`: those that get deleted on the way. `told_late`: the Tenant, which is of
    `generation` then, is never Ready before just these are there.
    """

    objects: frozenset[str]
    deleted: frozenset[str]
    generation: int
    told_late: bool


def called(key: Key, token: str) -> str:
    """Return what all runs call an object."""
    return renamed("{} {}/{}".format(*key), token)


def unsafe_writes(writes: Iterable[Exchange], token: str, end: End) -> Iterator[str]:
    """Yield what is wrong with a case's writes."""
    names = {each.partition(" ")[2] for each in end.deleted}
    for each in writes:
        if each.verb == "deletecollection":
            yield f"a DELETE of a whole collection: {each}"
        elif each.verb == "delete":
            given = (each.body or {}).get("preconditions", {})
            if not (given.get("uid") and given.get("resourceVersion")):
                yield f"a DELETE without uid and resourceVersion: {each}"
            if renamed(f"{each.namespace or ''}/{each.name}", token) not in names:
                yield f"a DELETE of what nobody has asked to delete: {each}"


def unsafe_states(history: Sequence[Change], token: str, end: End) -> Iterator[str]:
    """Yield what is wrong with the states that a case's objects went through."""
    for change in history:
        kind, _, name = change.key
        if kind == ROLE_BINDINGS.kind and name != "theirs" and change.kind != "DELETED":
            role = change.body["roleRef"]
            if role["kind"] != "ClusterRole" or role["name"] not in _ROLES:
                yield f"a binding to a role outside the allow-list: {change.key} to {role}"
        if name == "theirs" and change.kind == "MODIFIED" and _is_ours(change):
            yield f"somebody else's object was changed: {change.key}: {change.body}"
    yield from _left_behind(history, token, end)
    if end.told_late:
        yield from early_words(history, token, end)


def early_words(history: Sequence[Change], token: str, end: End) -> list[str]:
    """Return where the Tenant was Ready, of its last generation, without just the objects of the end."""
    found = []
    for change, there in _walk(history):
        if change.key[0] == TENANTS.kind and _is_ready(change, end.generation):
            present = {called(key, token): each for key, each in there.items()}
            staying = {called(key, token) for key in there if not _is_going(key, there)}
            if missing := sorted(end.objects - present.keys()):
                found.append(f"the Tenant says that it is Ready, without {', '.join(missing)}")
            if more := sorted(staying - end.objects):
                found.append(f"the Tenant says that it is Ready, with {', '.join(more)} still there")
    return found


def _left_behind(history: Sequence[Change], token: str, end: End) -> Iterator[str]:
    """Yield what a Tenant that is gone should have taken with it: its finalizer comes last."""
    for change, there in _walk(history):
        if change.key[0] == TENANTS.kind and change.kind == "DELETED":
            left = [called(key, token) for key in there if key[0] in _LASTING]
            if left := sorted(set(left) & end.deleted):
                yield f"the Tenant was gone before {', '.join(left)}"


def _walk(history: Sequence[Change]) -> Iterator[tuple[Change, dict[Key, Change]]]:
    there: dict[Key, Change] = {}
    for change in sorted(history, key=_version):
        if change.kind == "DELETED":
            there.pop(change.key, None)
        else:
            there[change.key] = change
        yield change, there


def _is_going(key: Key, there: Mapping[Key, Change]) -> bool:
    """Whether an object, or the namespace that it is in, is being deleted."""
    found = [each for each in (there[key], there.get((NAMESPACES.kind, "", key[1]))) if each is not None]
    return any("deletionTimestamp" in each.body["metadata"] for each in found)


def _version(change: Change) -> int:
    return int(change.body["metadata"]["resourceVersion"])


def _is_ready(change: Change, generation: int) -> bool:
    metadata, conditions = change.body["metadata"], change.body.get("status", {}).get("conditions", ())
    if change.kind == "DELETED" or "deletionTimestamp" in metadata or metadata["generation"] != generation:
        return False
    return any(
        each["type"] == "Ready" and each["status"] == "True" and each["observedGeneration"] == generation
        for each in conditions
    )


def _is_ours(change: Change) -> bool:
    # The quota controller counts, and the namespace controller deletes what is in a namespace that goes.
    return any(each["manager"] == FIELD_MANAGER for each in change.body["metadata"].get("managedFields", ()))
