"""Where tenants come from. A source publishes complete sets or nothing: it never turns an error into an absence."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

__all__ = ["Read", "Source"]

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Read(Generic[T_co]):
    """A complete set: every usable row by tenant name, and how many were not usable, by reason."""

    rows: Mapping[str, T_co]
    rejected: Mapping[str, int] = field(default_factory=dict)


class Source(Protocol[T_co]):
    """Follows one place where tenants are kept."""

    @property
    def name(self) -> str:
        """What messages and metrics call it."""

    @property
    def problem(self) -> str | None:
        """Why it can't be read at present, in words that stay the same from try to try; None while it can."""

    @property
    def read_at(self) -> float | None:
        """The Unix time at which what was last published was last known to be complete; None before."""

    def start_over(self) -> None:
        """Forget that anything was read completely; `run`, which is called anew, reads it before it publishes."""

    async def run(self, publish: Callable[[Read[T_co]], None]) -> None:
        """Call `publish` with each complete set, for ever; failures are waited out and shown in `problem`."""
