"""Tells which ApplicationSets a change concerns: those that Argo CD would be left with other elements for.

To compare whole answers would take as long as giving them. What two served states differ in are a few tenants, what
namespaces those have, and what is held; so only that much of each answer is made, and compared.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenantry.render import Row
from tenantry_generator.applicationsets import Use
from tenantry_generator.errors import Refused
from tenantry_generator.expand import Places
from tenantry_generator.generator_selector import Selector, select
from tenantry_generator.membership import Membership
from tenantry_generator.merge import changed_names
from tenantry_generator.namespaces import namespaces_id
from tenantry_generator.query import Query
from tenantry_generator.views import shown, view_id

__all__ = ["Change", "Question", "compare", "differences", "read_questions"]

_AT_ONCE = 1000
"""Tenants that are compared without a pause: some milliseconds, for which requests wait."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a generator asks, as far as it is known beforehand. `views`: the ids of those that its answer shows."""

    query: Query
    selector: Selector | None
    views: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What may differ in the answers of two states.

    `names`: tenants with another row; `moved`: those with other namespaces, by the id of the set of namespaces; `held`:
    ApplicationSets of which something else is held; `agreed`: hashes that somebody has agreed to. `everywhere`: every
    element has got another key.
    """

    before: Membership
    after: Membership
    names: Sequence[str]
    moved: Mapping[str, Sequence[str]]
    held: frozenset[str]
    agreed: frozenset[str]
    everywhere: bool

    def may_show_in(self, applicationset: str) -> bool:
        """Whether an ApplicationSet of which it is not known what it asks may get another answer."""
        return bool(self.names or self.moved or self.everywhere or applicationset in self.held)


def compare(before: Membership, after: Membership) -> Change | None:
    """Return what may differ in the answers of two states; None when nothing does."""
    was, rows = before.merged, after.merged
    names = [] if was.rows is rows.rows else changed_names(was.rows, rows.rows)
    moved = {
        key: tenants
        for key, each in after.namespaces.items()
        if (old := before.namespaces.get(key)) is not None
        and old is not each
        and (tenants := _moved(old.places, each.places))
    }
    change = Change(
        before,
        after,
        names=names,
        moved=moved,
        held=frozenset(_held(before, after)),
        agreed=frozenset(after.acknowledged.keys() - before.acknowledged.keys()),
        everywhere=was.keys != rows.keys,
    )
    return change if names or moved or change.held or change.agreed or change.everywhere else None


def read_questions(
    applicationset: str, uses: Sequence[Use], parse: Callable[[Mapping[str, Any]], Query]
) -> list[Question]:
    """Return what generators ask, without those that are templated or would be refused."""
    asked: list[tuple[Query, Selector | None]] = []
    for use in uses:
        if use.templated:
            continue
        try:
            asked.append((parse(use.parameters or {}), use.selector))
        except Refused:
            continue  # it is answered with 400 whatever changes
    views: dict[str, list[str]] = {}
    for query, selector in asked:
        views.setdefault(query.of_tenants.key, []).append(view_id(applicationset, query, selector))
    return [Question(query, selector, tuple(views[query.of_tenants.key])) for query, selector in asked]


def differences(change: Change, question: Question) -> Iterator[bool]:
    """Yield, for one part of what changed after the other, whether Argo CD would be left with other elements."""
    moved: Sequence[str] = ()
    if (expansion := question.query.expansion) is not None:
        key = namespaces_id(expansion)
        if key not in change.before.namespaces or key not in change.after.namespaces:
            return  # nobody has been answered with them, or who is asking for them first is being answered now
        moved = change.moved.get(key, ())
    names = [*change.names, *(set(moved) - set(change.names))] if moved else change.names
    for start in range(0, max(1, len(names)), _AT_ONCE):
        part = names[start : start + _AT_ONCE]
        yield _left_with(question, change.before, part) != _left_with(question, change.after, part)


def _left_with(question: Question, membership: Membership, names: Sequence[str]) -> Mapping[str, Row]:
    """Return the elements of these tenants, with all that is held, after the generator's own selector."""
    query, rows = question.query, membership.merged.rows
    if query.expansion is not None:
        query = query.bound(membership.namespaces[namespaces_id(query.expansion)].places)
    views = [membership.views[key] for key in question.views if key in membership.views]
    found = query.of_tenants.elements({name: rows[name] for name in names if name in rows})
    return select(question.selector, query.shaped(shown(found, views)))


def _moved(before: Places, after: Places) -> list[str]:
    return [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]


def _held(before: Membership, after: Membership) -> Iterator[str]:
    for key, view in after.views.items():
        old = before.views.get(key)
        if (old is None and view.held) or (old is not None and old.held is not view.held and old.held != view.held):
            yield view.applicationset
