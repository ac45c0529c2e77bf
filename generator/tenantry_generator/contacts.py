"""Refuses what could delete Applications without anything that has passed the guard: a first contact, most of all.

What a view was shown before is guarded by the record. Where there is none, the numbers of Applications and of elements
are compared, and somebody can agree to exactly these.
"""

from collections.abc import Sequence
from typing import Any

from tenantry.telemetry import get_logger
from tenantry_generator.applicationsets import ApplicationSet, Use
from tenantry_generator.asked import Asking, one_token, views_to_show
from tenantry_generator.binding import Binding
from tenantry_generator.directory import Directory
from tenantry_generator.errors import NotReady
from tenantry_generator.first_contact import Contact, deletes
from tenantry_generator.generator_selector import Selector
from tenantry_generator.membership import ACKNOWLEDGED_FOR, Membership, mark_used
from tenantry_generator.metrics import Metrics
from tenantry_generator.publisher import Publisher
from tenantry_generator.query import Query
from tenantry_generator.views import matches, shown, view_id

__all__ = ["HOLDS", "Contacts", "Found", "require_tenants"]

log = get_logger(__name__)

HOLDS = "/api/v1/holds"

Found = tuple[ApplicationSet, Sequence[Use]]
"""An ApplicationSet, with what its generators ask for here."""


class Contacts:
    """The first contacts that were refused, and what is refused besides."""

    def __init__(
        self, publisher: Publisher, directory: Directory, *, asking: Asking, binding: Binding, metrics: Metrics
    ) -> None:
        self._publisher = publisher
        self._directory = directory
        self._asking = asking
        self._binding = binding
        self._metrics = metrics
        self._refused: dict[str, Contact] = {}

    @property
    def refused(self) -> list[Contact]:
        """The first contacts that were refused, by name of the ApplicationSet."""
        return [contact for _, contact in sorted(self._refused.items())]

    def check(self, membership: Membership, applicationset: str, query: Query, found: Found | None) -> None:
        """Raise NotReady when the answer could delete Applications without anything that has passed the guard.

        `membership`: the state that is answered.
        """
        strict = self.unsure(query)
        known = _known(membership, applicationset)
        if self._directory.behind and not known:
            raise NotReady("the ApplicationSets can't be read at present; so it is not known what this would delete")
        if found is None:
            if not self._directory.settled and (strict or not views_to_show(membership, applicationset, query, None)):
                raise NotReady("the ApplicationSets have not been read yet; so it is not known what this would delete")
            if not known:
                require_tenants(membership)
            return
        contact, why = self.judge(membership, query, found)
        if contact is None:
            self.forget(applicationset)
            return
        seen = self._refused.get(applicationset) == contact
        self._refused[applicationset] = contact
        if why is None:
            return
        self._metrics.first_contact_refused.labels(applicationset).inc()
        if not seen:
            log.warning("refused: the answer would delete Applications", **_facts(contact))
        raise NotReady(why)

    def judge(self, membership: Membership, query: Query, found: Found) -> tuple[Contact | None, str | None]:
        """Return the first contact that somebody has to agree to, and why it is refused: None once somebody has."""
        strict = self.unsure(query)
        if not strict and _known(membership, found[0].name):
            return None, None  # what it was answered before is guarded; to count its elements anew takes long
        contact = self._contact(membership, query, *found)
        if not deletes(contact, strict=strict):
            return None, None
        agreed = membership.acknowledged.get(contact.hash)
        valid = agreed is not None and agreed.used is None and self._publisher.now() - agreed.at <= ACKNOWLEDGED_FOR
        return contact, None if valid else _refusal(contact, strict=strict)

    def unsure(self, query: Query) -> bool:
        """Whether a part of the answer is given out of the record alone."""
        return bool(self._publisher.feeds.unread) or self._binding.unread(query)

    def use(self, membership: Membership, applicationset: str, *, now: float) -> Membership:
        """Return the state once an acknowledged contact is answered: an acknowledgement counts once."""
        contact = self._refused.get(applicationset)
        if contact is None or contact.hash not in membership.acknowledged:
            return membership
        return mark_used(membership, [contact.hash], now=now)

    def forget(self, applicationset: str) -> None:
        """Forget that an ApplicationSet was refused."""
        self._refused.pop(applicationset, None)

    def _contact(self, membership: Membership, query: Query, found: ApplicationSet, uses: Sequence[Use]) -> Contact:
        """Return how many Applications there are and how many elements all its generators would now get.

        Where that can't be told, among other generators, within a matrix or with several tokens, the elements of this
        answer stand for it.
        """
        asked = [use for use in uses if self._asking.key(use) is not None]
        if found.plain and len(asked) == len(found.uses) and one_token(uses):
            queries = [(self._binding.bind(self._asking.parse(use.parameters or {})), use.selector) for use in asked]
            elements = sum(_count(membership, found.name, each, selector) for each, selector in queries)
        else:
            elements = _count(membership, found.name, query, None)
        return Contact(found.name, found.uid, found.owned, elements)


def require_tenants(membership: Membership) -> None:
    """Raise NotReady when there is no tenant at all, and so nothing that has passed the guard."""
    if not membership.merged.rows:
        raise NotReady("no source has any tenant; an empty answer would delete every Application")


def _count(membership: Membership, applicationset: str, query: Query, selector: Selector | None) -> int:
    view = membership.views.get(view_id(applicationset, query, selector))
    tenants = matches(query, selector, membership.merged.rows)
    return len(query.shaped(shown(tenants, [] if view is None else [view])))


def _known(membership: Membership, applicationset: str) -> bool:
    """Whether the ApplicationSet was answered before, as far as that is recorded."""
    return any(view.applicationset == applicationset for view in membership.views.values())


def _facts(contact: Contact) -> dict[str, Any]:
    return {
        "applicationset": contact.applicationset,
        "applications": contact.owned,
        "elements": contact.elements,
        "hash": contact.hash,
    }


def _refusal(contact: Contact, *, strict: bool) -> str:
    why = (
        "and a source has not been read since the start, so what is recorded may be old"
        if strict
        else "and there is no record that it was ever answered"
    )
    return (
        f"the ApplicationSet {contact.applicationset} owns {contact.owned} Applications and the answer has only "
        f"{contact.elements} elements, {why}: is this the right database? If they are to be deleted, "
        f'acknowledge it with POST {HOLDS} {{"hash": "{contact.hash}"}}'
    )
