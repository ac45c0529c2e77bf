"""The operator's writes, told apart by case and numbered in each, and what a case does to some of them.

Events and the Lease are nobody's and are not numbered, nor is a write of a status of the same generation and phase as
the last one: how many of those there are, with what is waited for and what is used, is a matter of time. A number that
turns out to be that of a write which the API server has refused goes to the next one.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.operator.observer import token_in
from tests.support.kube_fates import Fate, Pass
from tests.support.kube_proxy import Hook
from tests.support.kube_request import Exchange

__all__ = ["EVENTS", "LEASE", "Ledger", "Page", "Steering"]

LEASE = "leases.coordination.k8s.io"
EVENTS = "events.events.k8s.io"
_UNNUMBERED = (LEASE, EVENTS)
_STATUS = ("tenants.tenantry.dev", "status")


class Steering:
    """What a case does to its writes, numbered from 1, those without a number 0; override what is needed."""

    def decide(self, number: int, exchange: Exchange) -> Fate:
        """Decide about a write before anybody else has seen it."""
        return Pass()

    def committed(self, number: int, exchange: Exchange) -> None:
        """The API server has answered a write, and the operator knows nothing yet."""

    def delivered(self, number: int, exchange: Exchange) -> None:
        """The answer to a write has been sent to the operator."""


@dataclass(slots=True)
class Page:
    """The writes of one case since `turned`. `notes`: what happened besides, with its time."""

    writes: list[Exchange] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)
    notes: list[tuple[float, str]] = field(default_factory=list)
    steering: Steering = field(default_factory=Steering)
    said: tuple[str, int, str] | None = None

    def note(self, text: str) -> None:
        """Have a line in the trace."""
        self.notes.append((time.monotonic(), text))

    def numbered(self) -> Sequence[Exchange]:
        """Return the writes that have a number."""
        return [each for each in self.writes if each.number in self.numbers]

    def trace(self, last: int = 40) -> str:
        """Return what happened, a line each."""
        lines = [(each.at, f"{self.numbers.get(each.number, '-'):>3} {_told(each)}") for each in self.writes]
        lines += [(at, f"  * {text}") for at, text in self.notes]
        lines.sort(key=lambda line: line[0])
        begun = lines[0][0] if lines else 0.0
        return "\n".join(f"{at - begun:7.2f} s {text}" for at, text in lines[-last:])


class Ledger(Hook):
    """A page for each token. `strays`: the writes that are no case's, but for Events and the Lease."""

    def __init__(self) -> None:
        self.pages: defaultdict[str, Page] = defaultdict(Page)
        self.strays: list[Exchange] = []

    def turn(self, token: str, steering: Steering | None = None) -> Page:
        """Begin a new page for a case, whose first write is number 1."""
        page = self.pages[token] = Page(said=self.pages[token].said, steering=steering or Steering())
        return page

    def forget(self, token: str) -> None:
        """Drop the page of a case that is over."""
        self.pages.pop(token, None)

    def on_write(self, exchange: Exchange) -> Fate:
        """Number a write and let its case decide."""
        if exchange.resource in _UNNUMBERED:
            return Pass()
        token = token_in(exchange.namespace, exchange.name)
        if token is None:
            self.strays.append(exchange)
            return Pass()
        page = self.pages[token]
        page.writes.append(exchange)
        if (exchange.resource, exchange.subresource) == _STATUS:
            uid, status = exchange.body["metadata"]["uid"], exchange.body["status"]
            said = uid, status["observedGeneration"], status["phase"]
            before, page.said = page.said, said
            if said == before:
                return page.steering.decide(0, exchange)
        number = page.numbers[exchange.number] = len(page.numbers) + 1
        return page.steering.decide(number, exchange)

    async def committed(self, exchange: Exchange) -> None:
        """Tell the case that its write was carried out."""
        if (page := self._page(exchange)) is not None:
            page.steering.committed(page.numbers.get(exchange.number, 0), exchange)
            if not exchange.committed:
                page.numbers.pop(exchange.number, None)

    async def delivered(self, exchange: Exchange) -> None:
        """Tell the case that its write was answered."""
        if (page := self._page(exchange)) is not None:
            page.steering.delivered(page.numbers.get(exchange.number, 0), exchange)

    def _page(self, exchange: Exchange) -> Page | None:
        if exchange.resource in _UNNUMBERED:
            return None
        token = token_in(exchange.namespace, exchange.name)
        return None if token is None else self.pages.get(token)


def _told(exchange: Exchange) -> str:
    where = "/".join(part for part in (exchange.namespace, exchange.name, exchange.subresource) if part)
    fate = "" if isinstance(exchange.fate, Pass) else f" [{exchange.fate}]"
    return f"{exchange.verb} {exchange.resource} {where} -> {exchange.status or 'nothing'}{fate}"
