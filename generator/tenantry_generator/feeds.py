"""The sources of a generator, looked at together: which have been read, and what an answer is made of meanwhile."""

from collections.abc import Iterator, Mapping

from tenantry_generator.answer_metrics import Outcome
from tenantry_generator.feed import Feed

__all__ = ["Feeds"]


class Feeds(Mapping[str, Feed]):
    """The sources that are configured, by name."""

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        self._feeds = feeds

    def __getitem__(self, name: str) -> Feed:
        return self._feeds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._feeds)

    def __len__(self) -> int:
        return len(self._feeds)

    @property
    def unread(self) -> list[str]:
        """Those that have not been read since the start, each with the reason: they are served as recorded."""
        return [feed.state for feed in self.values() if not feed.complete]

    @property
    def all_up(self) -> bool:
        """Whether what every source lists is known now."""
        return all(feed.up for feed in self.values())

    def is_sure(self, source: str) -> bool:
        """Whether what a source lists is known now. One that is no longer configured lists nothing."""
        return source not in self._feeds or self._feeds[source].up

    def are_served(self, *, impatient: bool) -> bool:
        """Whether every source has been read, or those that have not been won't be soon, or nobody waits for them."""
        return impatient or all(feed.complete or feed.problem is not None for feed in self.values())

    @property
    def outcome(self) -> Outcome:
        """What an answer of now is made of, as far as it depends on them."""
        if any(feed.read is None for feed in self.values()):
            return "recorded"
        return "fresh" if all(feed.problem is None for feed in self.values()) else "last_good"
