"""Answers a request by what its view may be shown: what is held is in it, and a first contact deletes nothing.

A request that carries an ApplicationSet's name makes a view known, which is recorded before it is answered. Without a
name nobody deletes anything upon the answer, so it is given as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tenantry.render import Row
from tenantry.telemetry import get_logger
from tenantry_generator.applicationsets import ApplicationSet, Use
from tenantry_generator.binding import Binding
from tenantry_generator.contract import Request
from tenantry_generator.directory import Directory
from tenantry_generator.errors import NotReady, Refused
from tenantry_generator.first_contact import Contact, deletes
from tenantry_generator.generator_selector import Selector
from tenantry_generator.membership import ACKNOWLEDGED_FOR, Membership, mark_used
from tenantry_generator.metrics import Metrics
from tenantry_generator.publisher import Publisher
from tenantry_generator.query import Query
from tenantry_generator.received import Receipt, Received, Reply
from tenantry_generator.replies import Replies
from tenantry_generator.scope import scoped_uses
from tenantry_generator.views import View, make_view, matches, shown, view_id

__all__ = ["HOLDS", "Answers"]

log = get_logger(__name__)

HOLDS = "/api/v1/holds"

_DAY = 86400.0
_MOST_VIEWS = 500

Parse = Callable[[Mapping[str, Any]], Query]
"""Reads the parameters of a request or of an ApplicationSet's generator. Refused."""


class Answers:
    """The answers to requests for parameters, and the first contacts that were refused."""

    def __init__(
        self, publisher: Publisher, directory: Directory, *, parse: Parse, binding: Binding, metrics: Metrics
    ) -> None:
        self._publisher = publisher
        self._directory = directory
        self._parse = parse
        self._binding = binding
        self._metrics = metrics
        self._contacts: dict[str, Contact] = {}
        self._replies = Replies()
        self.received = Received()

    @property
    def contacts(self) -> list[Contact]:
        """The refused first contacts, by name of the ApplicationSet."""
        return [contact for _, contact in sorted(self._contacts.items())]

    @property
    def directory(self) -> Directory:
        """The ApplicationSets that ask here."""
        return self._directory

    async def take_over(self) -> None:
        """Begin anew, as another replica may have answered meanwhile. NotReady: this has to be called again."""
        self.received.clear()
        self._metrics.forget_elements()
        await self._publisher.take_over()

    def given(self, request: Request) -> Reply | None:
        """Return the answer to this very request if it was given lately and nothing has changed since."""
        asking, now = self._asking(request), self._publisher.now()
        return self._replies.find(request, state=self._publisher.membership, asking=asking, now=now)

    async def answer(self, request: Request) -> Reply:
        """Return the answer. Refused; NotReady: it would not be safe, or could not be recorded."""
        if (given := self.given(request)) is not None:
            return given
        now, asking = self._publisher.now(), self._asking(request)
        reply, query = await self._answer(request)
        # Without a name nothing is recorded of the namespaces that are asked for, so they may change by themselves.
        lasting = bool(request.applicationset) or query.expansion is None
        # What was read stays read until this replica takes over, which makes another snapshot.
        if lasting and not self._unsure(query) and self._asking(request)[1:] == asking[1:]:
            asking = self._asking(request)
            self._replies.keep(request, reply, state=self._publisher.membership, asking=asking, now=now)
        return reply

    def _asking(self, request: Request) -> tuple[object, ...]:
        """Return what an answer is made from besides what is recorded."""
        directory = self._directory
        found = directory.find(request.applicationset)
        return self._publisher.snapshot, directory.settled, found, self._binding.clusters

    async def _answer(self, request: Request) -> tuple[Reply, Query]:
        applicationset, parameters = request.applicationset, request.parameters
        query = self._parse(parameters)
        bound = self._binding.bind(query)
        snapshot = self._publisher.current()
        if not applicationset:
            _require_tenants(self._publisher.membership)
            return Reply(snapshot.answer(bound), lambda: None), query
        found = self._find(request)
        self._check(applicationset, bound, found)
        wanted = self._wanted(applicationset, parameters, query, None if found is None else found[1])
        await self._make_known(applicationset, wanted, found)
        await self._binding.make_known(query)
        views = self._views(applicationset, query, wanted, sure=found is not None)
        snapshot = self._publisher.current()
        elements = snapshot.elements(self._binding.bind(query), views)
        key, tenants_key, now = query.key, query.of_tenants.key, self._publisher.now
        recorded = self._publisher.membership.revision

        def sent() -> None:
            revision = snapshot.revision
            self.received.note(Receipt(applicationset, key, tenants_key, revision, now(), elements, recorded))

        if found is not None and found[0].plain and [use.selector for use in found[0].uses] == [None]:
            self._metrics.set_elements(applicationset, len(elements))
        return Reply(snapshot.encode(elements), sent), query

    def _find(self, request: Request) -> tuple[ApplicationSet, Sequence[Use]] | None:
        """Return the ApplicationSet with what its generators ask for by the token of this request."""
        found = self._directory.find(request.applicationset)
        return None if found is None else (found[0], scoped_uses(found[1], request.scope))

    def look(
        self, applicationset: str, parameters: Mapping[str, Any], found: tuple[ApplicationSet, Sequence[Use]] | None
    ) -> tuple[Query, list[View], Mapping[str, Row]]:
        """Return what a request would be answered with now, and the views that it shows, but note nothing of it.

        Refused; NotReady: its query can't be answered.
        """
        query = self._binding.bind(self._parse(parameters))
        wanted = self._wanted(applicationset, parameters, query, None if found is None else found[1])
        views = self._views(applicationset, query, wanted, sure=found is not None)
        return query, views, self._publisher.current().elements(query, views)

    def view_of(self, applicationset: str, use: Use) -> str | None:
        """Return the id of the view that a generator asks for; None if that can't be told, or it would be refused."""
        if use.parameters is None or self._key(use) is None:
            return None
        return view_id(applicationset, self._parse(use.parameters), use.selector)

    def _wanted(
        self, applicationset: str, parameters: Mapping[str, Any], query: Query, uses: Sequence[Use] | None
    ) -> dict[str, tuple[Mapping[str, Any], Query, Selector | None]]:
        """Return by its id what each view is made of that this request shows."""
        selectors = {
            use.selector for use in uses or () if use.parameters is None or self._key(use) == query.of_tenants.key
        }
        return {
            view_id(applicationset, query, selector): (parameters, query, selector) for selector in selectors or {None}
        }

    def _key(self, use: Use) -> str | None:
        try:
            return None if use.parameters is None else self._parse(use.parameters).of_tenants.key
        except Refused:
            return None  # it is answered with 400, so nothing is shown

    def _views(self, applicationset: str, query: Query, wanted: Mapping[str, object], *, sure: bool) -> list[View]:
        """Return the views to show. Not knowing the selectors, all that were ever asked for with this query."""
        views = self._publisher.membership.views.values()
        if sure:
            return [view for view in views if view.id in wanted]
        return [
            view
            for view in views
            if view.applicationset == applicationset and view.query.of_tenants.key == query.of_tenants.key
        ]

    async def _make_known(
        self,
        applicationset: str,
        wanted: Mapping[str, tuple[Mapping[str, Any], Query, Selector | None]],
        found: tuple[ApplicationSet, Sequence[Use]] | None,
    ) -> None:
        views = self._publisher.membership.views
        if wanted.keys() <= views.keys():
            if any(self._publisher.now() - views[key].asked > _DAY for key in wanted):
                what = f"asked for {sorted(wanted)}"
                self._publisher.change_later(what, lambda membership, now: _touch(membership, wanted, now))
            return
        if not self._directory.settled:
            return  # shown with whatever is held, of whichever selector
        current = None if found is None else self._ids(applicationset, found[1])
        # What its other generators see, too: what leaves that before they ask has to pass the guard.
        together = {**({} if found is None or current is None else self._all(applicationset, found[1])), **wanted}

        def change(membership: Membership, now: float) -> Membership:
            kept = _room(membership, applicationset, current)
            for key, (parameters, query, selector) in together.items():
                if key not in kept:
                    rows = membership.merged.rows
                    kept[key] = make_view(
                        applicationset, parameters=parameters, query=query, selector=selector, rows=rows, now=now
                    )
            contact = self._contacts.get(applicationset)
            if contact is not None and contact.hash in membership.acknowledged:
                membership = mark_used(membership, [contact.hash], now=now)
            return replace(membership, views=kept)

        await self._publisher.change(change)
        self._contacts.pop(applicationset, None)

    def _ids(self, applicationset: str, uses: Sequence[Use]) -> frozenset[str] | None:
        """Return the ids of all views that the ApplicationSet can ask for; None when some can't be told beforehand."""
        if any(use.parameters is None for use in uses) or not _one_token(uses):
            return None
        return frozenset(self._all(applicationset, uses))

    def _all(
        self, applicationset: str, uses: Sequence[Use]
    ) -> dict[str, tuple[Mapping[str, Any], Query, Selector | None]]:
        """Return by its id what each view is made of that these generators ask for, none of them templated."""
        found = {}
        for use in uses:
            if use.parameters is not None and self._key(use) is not None:
                query = self._parse(use.parameters)
                found[view_id(applicationset, query, use.selector)] = use.parameters, query, use.selector
        return found

    def _check(self, applicationset: str, query: Query, found: tuple[ApplicationSet, Sequence[Use]] | None) -> None:
        """Raise NotReady when the answer could delete Applications without anything that has passed the guard."""
        membership, strict = self._publisher.membership, self._unsure(query)
        known = any(view.applicationset == applicationset for view in membership.views.values())
        if self._directory.behind and not known:
            raise NotReady("the ApplicationSets can't be read at present; so it is not known what this would delete")
        if found is None:
            if not self._directory.settled and (strict or not self._views(applicationset, query, {}, sure=False)):
                raise NotReady("the ApplicationSets have not been read yet; so it is not known what this would delete")
            if not known:
                _require_tenants(membership)
            return
        contact, why = self.judge(query, found)
        if contact is None:
            self._contacts.pop(applicationset, None)
            return
        seen = self._contacts.get(applicationset) == contact
        self._contacts[applicationset] = contact
        if why is None:
            return
        self._metrics.first_contact_refused.labels(applicationset).inc()
        if not seen:
            log.warning("refused: the answer would delete Applications", **_facts(contact))
        raise NotReady(why)

    def _unsure(self, query: Query) -> bool:
        """Whether a part of the answer is given out of the record alone."""
        return bool(self._publisher.unread) or self._binding.unread(query)

    def judge(self, query: Query, found: tuple[ApplicationSet, Sequence[Use]]) -> tuple[Contact | None, str | None]:
        """Return the first contact that somebody has to agree to, and why it is refused: None once somebody has."""
        membership, strict = self._publisher.membership, self._unsure(query)
        if not strict and any(view.applicationset == found[0].name for view in membership.views.values()):
            return None, None  # what it was answered before is guarded; to count its elements anew takes long
        contact = self._contact(query, *found)
        if not deletes(contact, strict=strict):
            return None, None
        agreed = membership.acknowledged.get(contact.hash)
        valid = agreed is not None and agreed.used is None and self._publisher.now() - agreed.at <= ACKNOWLEDGED_FOR
        return contact, None if valid else _refusal(contact, strict=strict)

    def _contact(self, query: Query, found: ApplicationSet, uses: Sequence[Use]) -> Contact:
        """Return how many Applications there are and how many elements all its generators would now get.

        Where that can't be told, among other generators, within a matrix or with several tokens, the elements of this
        answer stand for it.
        """
        asked = [use for use in uses if self._key(use) is not None]
        if found.plain and len(asked) == len(found.uses) and _one_token(uses):
            elements = sum(
                self._count(found.name, self._binding.bind(self._parse(use.parameters or {})), use.selector)
                for use in asked
            )
        else:
            elements = self._count(found.name, query, None)
        return Contact(found.name, found.uid, found.owned, elements)

    def _count(self, applicationset: str, query: Query, selector: Selector | None) -> int:
        membership = self._publisher.membership
        view = membership.views.get(view_id(applicationset, query, selector))
        tenants = matches(query, selector, membership.merged.rows)
        return len(query.shaped(shown(tenants, [] if view is None else [view])))


def _one_token(uses: Sequence[Use]) -> bool:
    """Whether they ask with one token: each ConfigMap names one, and what that is bound to shows when it is used."""
    return len({use.config_map for use in uses}) <= 1


def _require_tenants(membership: Membership) -> None:
    if not membership.merged.rows:
        raise NotReady("no source has any tenant; an empty answer would delete every Application")


def _touch(membership: Membership, wanted: Mapping[str, object], now: float) -> Membership:
    views = {key: replace(view, asked=now) if key in wanted else view for key, view in membership.views.items()}
    return replace(membership, views=views)


def _room(membership: Membership, applicationset: str, current: frozenset[str] | None) -> dict[str, View]:
    """Return the views to keep: without those that this ApplicationSet no longer asks for."""
    kept = {
        key: view
        for key, view in membership.views.items()
        if current is None or key in current or view.applicationset != applicationset
    }
    if len(kept) >= _MOST_VIEWS:
        raise NotReady(f"{_MOST_VIEWS} different inputs are followed already; ask with fewer")
    return kept


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
