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
        self._most_elements = most_elements
        self._last: dict[tuple[str, str], Receipt] = {}  # the oldest first
        self.on_note: Callable[[Receipt], None] = lambda _: None

    def note(self, receipt: Receipt) -> None:
        """Remember an answer in the place of the one before it."""
        key = (receipt.applicationset, receipt.key)
        self._last.pop(key, None)
        self._last[key] = receipt
        if len(self._last) > self._most_answers:
            del self._last[next(iter(self._last))]
        self._forget_elements()
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
        self._last.clear()

    def _forget_elements(self) -> None:
        room, counted = self._most_elements, set[int]()
        for key, receipt in reversed(list(self._last.items())):
            if receipt.elements is None:
                continue
            if id(receipt.elements) not in counted:
                counted.add(id(receipt.elements))
                room -= len(receipt.elements)
            if room < 0:
                self._last[key] = replace(receipt, elements=None)
