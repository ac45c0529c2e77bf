"""Where tenants come from. A source publishes complete sets or nothing: it never turns an error into an absence."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from tenantry_generator.blockmap import BlockMap

__all__ = ["RESTORED", "Read", "Source", "kept"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

RESTORED = "the API server was restored from a backup that lacks it"
"""Why what an API server lacks may not have left."""


@dataclass(frozen=True, slots=True)
class Read(Generic[T_co]):
    """A complete set: every usable row by tenant name, and how many were not usable, by reason.

    `quarantined`: why a tenant that is there can't be published as it is. Its row is the last good one, and missing if
    the source has had none since its start: see `kept`. `doubted`: why a tenant that is not there may not have left.
    `keys`: parameters that the schemas of the classes describe, each of which is to be a key of every element.
    `confirmed`: whether it takes no further read to tell that what was served before this process began has left.
    """

    rows: Mapping[str, T_co]
    rejected: Mapping[str, int] = field(default_factory=dict)
    quarantined: Mapping[str, str] = field(default_factory=dict)
    doubted: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    confirmed: bool = True


def kept(read: Read[T], served: Mapping[str, T], held: Collection[str] = ()) -> Mapping[str, T]:
    """Return the rows of a read, in which each quarantined tenant has the row that it is served with.

    So has each that is missing in a read which is yet to be confirmed, but for those `held`, which had left before.
    What is served is older than this process when there is a record, so it knows more than the source does.
    """
    last = {name: served[name] for name in read.quarantined if name in served}
    if not read.confirmed:
        last |= {name: row for name, row in served.items() if name not in read.rows and name not in held}
    return BlockMap.of(read.rows).updated(last) if last else read.rows


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
