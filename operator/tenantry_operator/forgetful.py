"""Where kopf would keep its notes on an object: nowhere.

kopf takes each event's object apart to compare it with the last one that it handled, also when no handler of ours asks
for a difference; that was half of its share of the work. Told that an object's essence is nothing, it has nothing to
copy, and that it writes nothing on our objects holds by construction.
"""

from collections.abc import Iterable
from typing import Any

import kopf

__all__ = ["NoDiffs", "NoProgress"]


class NoDiffs(kopf.DiffBaseStorage):
    """Takes every two versions of an object for the same."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        """Return the essence of any object: nothing."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Return what was last handled: nothing ever was."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Write nothing."""


class NoProgress(kopf.ProgressStorage):
    """Remembers no handler's progress: there is none that could be half done."""

    def fetch(self, *, key: str, body: kopf.Body) -> None:
        """Return how far a handler got: not at all."""

    def store(self, *, key: str, record: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        """Write nothing."""

    def purge(self, *, key: str, body: kopf.Body, patch: kopf.Patch) -> None:
        """Write nothing."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        """Write nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Return the essence as it is."""
        return essence
