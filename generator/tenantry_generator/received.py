"""When each ApplicationSet was last answered, and with what: so that a person can be told what would change now.

A note of this process and of no record: after a start, or once another replica may have answered, nothing is known.
Elements are kept by reference, most of them rows that are served anyway, and of so many at most.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tenantry.render import Row
from tenantry_generator.body import Body
from tenantry_generator.views import View

__all__ = ["Receipt", "Received", "Reply"]

_Key = tuple[str, str]

_MOST_ANSWERS = 1000
_MOST_ELEMENTS = 200_000


@dataclass(frozen=True, slots=True)
class Receipt:
    """An answer that was sent at the Unix time `at`. `elements` is None once it has been forgotten which they were.

    `key` is the query's, `tenants_key` that of its tenants alone, as a view has it. `revision` is the snapshot's,
    `recorded` that of the recorded state, which also grows when only holds or namespaces change.
    """

    applicationset: str
    key: str
    tenants_key: str
    revision: int
    at: float
    elements: Mapping[str, Row] | None
    recorded: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and what to call when it has been sent."""

    body: Body
    sent: Callable[[], None]


class Received:
    """The last answer to each query of each ApplicationSet. `on_note` is called with each."""

    def __init__(self, *, most_answers: int = _MOST_ANSWERS, most_elements: int = _MOST_ELEMENTS) -> None:
        self._most_answers = most_answers
        self._room = most_elements
        self._last: dict[_Key, Receipt] = {}  # the oldest first
        self._known: dict[_Key, None] = {}  # those of which the elements are known, the oldest first
        self._holders: dict[int, int] = {}
        """How many answers have the same elements, by their id; they take room once."""
        self.on_note: Callable[[Receipt], None] = lambda _: None

    def note(self, receipt: Receipt) -> None:
        """Remember an answer in the place of the one before it."""
        key = (receipt.applicationset, receipt.key)
        before = self._last.pop(key, None)
        if before is not None and before.elements is receipt.elements is not None:
            self._known[key] = self._known.pop(key)  # the same once more: it holds what it held
        else:
            self._let_go(key, before)
            if receipt.elements is not None:
                self._known[key] = None
                self._hold(receipt.elements)
        self._last[key] = receipt
        if len(self._last) > self._most_answers:
            self._drop(next(iter(self._last)))
        while self._room < 0:
            key = next(iter(self._known))
            self._let_go(key, self._last[key])
            self._last[key] = replace(self._last[key], elements=None)
        self.on_note(receipt)

    def last(self, applicationset: str, key: str) -> Receipt | None:
        """Return the last answer to a query, given by its key."""
        return self._last.get((applicationset, key))

    def last_of(self, view: View) -> Receipt | None:
        """Return the last answer that showed a view."""
        key = view.query.of_tenants.key
        same = (each for each in reversed(self._last.values()) if each.applicationset == view.applicationset)
        return next((each for each in same if each.tenants_key == key), None)

    def clear(self) -> None:
        """Forget everything: another replica may have answered since."""
        for key in list(self._last):
            self._drop(key)

    def _drop(self, key: _Key) -> None:
        self._let_go(key, self._last.pop(key))

    def _hold(self, elements: Mapping[str, Row]) -> None:
        holders = self._holders.get(id(elements), 0)
        self._holders[id(elements)] = holders + 1
        if not holders:
            self._room -= len(elements)

    def _let_go(self, key: _Key, receipt: Receipt | None) -> None:
        """Forget which elements an answer had, if that is known."""
        elements = None if receipt is None else receipt.elements
        if elements is None:
            return
        del self._known[key]
        holders = self._holders.pop(id(elements)) - 1
        if holders:
            self._holders[id(elements)] = holders
        else:
            self._room += len(elements)
