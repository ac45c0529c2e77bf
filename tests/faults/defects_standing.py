"""A deliberate defect of who may write, to see that cases find it."""

from tenantry_operator import standing

__all__ = ["go_on_without_a_lease"]


def go_on_without_a_lease() -> None:
    """Log that the Lease is lost, and go on. To be called before anybody has imported what this replaces."""

    def only_say(why: str) -> None:
        standing.log.error("the Lease is lost", because=why)

    standing.end_at_once = only_say
