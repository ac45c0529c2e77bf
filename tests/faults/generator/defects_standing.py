"""Deliberate defects of whose turn it is, to see that cases find them."""

from collections.abc import Callable

from tenantry.lease import Elector
from tenantry_operator import standing

__all__ = ["believe_until_told", "go_on_without_a_lease"]


def go_on_without_a_lease() -> None:
    """Log that the Lease is lost, and go on. To be called before anybody has imported what this replaces."""

    def only_say(why: str) -> None:
        standing.log.error("the Lease is lost", because=why)

    standing.end_at_once = only_say


def believe_until_told() -> None:
    """Hold a Lease until a renewal says that somebody else has it, however long that takes."""

    def valid(self: Elector) -> bool:
        return self.valid_until > float("-inf")

    def watch(self: Elector, lose: Callable[[str], None]) -> None:
        """Look at no clock."""

    Elector.valid = property(valid)  # type: ignore[method-assign,assignment]
    Elector._watch = watch  # type: ignore[method-assign]
