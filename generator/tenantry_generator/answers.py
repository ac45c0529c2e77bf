"""Answers a request by what its view may be shown: what is held is in it, and a first contact deletes nothing.

A request that carries an ApplicationSet's name makes a view known, which is recorded before it is answered. Without a
name nobody deletes anything upon the answer, so it is given as it is.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tenantry.render import Row
from tenantry_generator.applicationsets import Use
from tenantry_generator.asked import Asked, Asking, Parse, views_to_show
from tenantry_generator.binding import Binding
from tenantry_generator.contacts import Contacts, Found, require_tenants
from tenantry_generator.contract import Request
from tenantry_generator.directory import Directory
from tenantry_generator.errors import NotReady
from tenantry_generator.membership import Membership
from tenantry_generator.metrics import Metrics
from tenantry_generator.publisher import Publisher
from tenantry_generator.query import Query
from tenantry_generator.received import Receipt, Received, Reply
from tenantry_generator.replies import Replies
from tenantry_generator.scope import scoped_uses
from tenantry_generator.views import View, make_view

__all__ = ["Answers"]

_DAY = 86400.0
_MOST_VIEWS = 500


class Answers:
    """The answers to requests for parameters. `contacts`: the first contacts that were refused."""

    def __init__(
        self, publisher: Publisher, directory: Directory, *, parse: Parse, binding: Binding, metrics: Metrics
    ) -> None:
        self._publisher = publisher
        self._directory = directory
        self._asks = Asking(parse)
        self._binding = binding
        self._metrics = metrics
        self.contacts = Contacts(publisher, directory, asking=self._asks, binding=binding, metrics=metrics)
        self._replies = Replies()
        self.received = Received()

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
        if lasting and not self.contacts.unsure(query) and self._asking(request)[1:] == asking[1:]:
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
        query = self._asks.parse(parameters)
        bound = self._binding.bind(query)
        snapshot = self._publisher.current()
        if not applicationset:
            require_tenants(self._publisher.membership)
            return Reply(snapshot.answer(bound), lambda: None), query
        found = self._find(request)
        self.contacts.check(self._publisher.membership, applicationset, bound, found)
        asked = self._asks.by_request(applicationset, parameters, query, None if found is None else found[1])
        await self._make_known(applicationset, asked, bound, found)
        await self._binding.make_known(query)
        known = None if found is None else asked
        views = views_to_show(self._publisher.membership, applicationset, query, known)
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

    def _find(self, request: Request) -> Found | None:
        """Return the ApplicationSet with what its generators ask for by the token of this request."""
        found = self._directory.find(request.applicationset)
        return None if found is None else (found[0], scoped_uses(found[1], request.scope))

    def look(
        self, applicationset: str, parameters: Mapping[str, Any], found: Found | None
    ) -> tuple[Query, list[View], Mapping[str, Row]]:
        """Return what a request would be answered with now, and the views that it shows, but note nothing of it.

        Refused; NotReady: its query can't be answered.
        """
        query = self._binding.bind(self._asks.parse(parameters))
        asked = None if found is None else self._asks.by_request(applicationset, parameters, query, found[1])
        views = views_to_show(self._publisher.membership, applicationset, query, asked)
        return query, views, self._publisher.current().elements(query, views)

    def view_of(self, applicationset: str, use: Use) -> str | None:
        """Return the id of the view that a generator asks for; None if that can't be told, or it would be refused."""
        return next(iter(self._asks.by_uses(applicationset, [use])), None)

    async def _make_known(
        self, applicationset: str, asked: Mapping[str, Asked], query: Query, found: Found | None
    ) -> None:
        views = self._publisher.membership.views
        if asked.keys() <= views.keys():
            if any(self._publisher.now() - views[key].asked > _DAY for key in asked):
                what = f"asked for {sorted(asked)}"
                self._publisher.change_later(what, lambda membership, now: _touch(membership, asked, now))
            return
        if not self._directory.settled:
            return  # shown with whatever is held, of whichever selector
        everything = None if found is None else self._asks.by_all(applicationset, found[1])
        # What its other generators see, too: what leaves that before they ask has to pass the guard.
        together = {**(everything or {}), **asked}

        def change(membership: Membership, now: float) -> Membership:
            # What left with this very change has passed the guard, but nobody has compared what is left with `owned`.
            self.contacts.check(membership, applicationset, query, found)
            kept = _room(membership, applicationset, everything)
            rows = membership.merged.rows
            for key, each in together.items():
                if key not in kept:
                    kept[key] = make_view(
                        applicationset,
                        parameters=each.parameters,
                        query=each.query,
                        selector=each.selector,
                        rows=rows,
                        now=now,
                    )
            return replace(self.contacts.use(membership, applicationset, now=now), views=kept)

        await self._publisher.change(change)
        self.contacts.forget(applicationset)


def _touch(membership: Membership, asked: Mapping[str, object], now: float) -> Membership:
    views = {key: replace(view, asked=now) if key in asked else view for key, view in membership.views.items()}
    return replace(membership, views=views)


def _room(membership: Membership, applicationset: str, current: Mapping[str, object] | None) -> dict[str, View]:
    """Return the views to keep: without those that this ApplicationSet no longer asks for."""
    kept = {
        key: view
        for key, view in membership.views.items()
        if current is None or key in current or view.applicationset != applicationset
    }
    if len(kept) >= _MOST_VIEWS:
        raise NotReady(f"{_MOST_VIEWS} different inputs are followed already; ask with fewer")
    return kept
