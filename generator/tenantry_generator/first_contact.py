"""Whether an answer would take Applications away from an ApplicationSet that was never answered before.

With no record of what it was shown, its own number of Applications is the only witness. A wrong or empty database on
the first day has fewer elements than that, and is refused until somebody agrees to exactly these two numbers.
"""

import hashlib
import json
from dataclasses import dataclass

from tenantry_generator.guard import ALWAYS_ALLOWED, SHARE

__all__ = ["Contact", "deletes"]

_HASH = 16


@dataclass(frozen=True, slots=True)
class Contact:
    """An ApplicationSet that owns `owned` Applications and would be answered with `elements`."""

    applicationset: str
    uid: str
    owned: int
    elements: int

    @property
    def hash(self) -> str:
        """What an acknowledgement names: it holds for these numbers alone."""
        text = json.dumps(["first contact", self.applicationset, self.uid, self.owned, self.elements])
        return hashlib.sha256(text.encode()).hexdigest()[:_HASH]


def deletes(contact: Contact, *, strict: bool) -> bool:
    """Whether the answer would delete more than may leave. `strict`: whether it would delete anything at all."""
    surplus = contact.owned - contact.elements
    if strict or contact.elements == 0:
        return surplus > 0
    return surplus > max(ALWAYS_ALLOWED, contact.owned // SHARE)
