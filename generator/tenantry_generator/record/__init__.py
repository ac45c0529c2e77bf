"""Where the record of what was last served is kept: in ConfigMaps of ours, or in files where there is no cluster.

What it means is not known here: it is one small document and tables of JSON values. It is written before what it holds
is served, so a change of one tenant must cost little, and whoever reads it gets all of one state or an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

__all__ = ["RecordStore", "Stored"]


@dataclass(frozen=True, slots=True)
class Stored:
    """What is kept: `meta`, one small JSON document, and `tables`: table name -> key -> value, JSON as bytes.

    The mappings must not change afterwards: the next save is compared with them, which costs little if they are of the
    kind in `tables`. `revision` is 0 or more.
    """

    revision: int
    meta: bytes
    tables: Mapping[str, Mapping[str, bytes]]


class RecordStore(Protocol):
    """Keeps one Stored for the one process that writes it."""

    async def load(self) -> Stored | None:
        """Return what is kept; None: there has never been any.

        RecordUnavailable: it can't be read now; RecordCorrupt: it is there and not whole.
        """
        ...

    async def is_current(self) -> bool:
        """Whether what this process last loaded or saved is what is kept now. RecordUnavailable."""
        ...

    def adopt(self, tables: Mapping[str, Mapping[str, bytes]]) -> None:
        """Compare the next save with `tables`, if they hold what was loaded, so that its bytes need not be kept.

        It takes long, and may be called in another thread; nothing else may be called meanwhile.
        """
        ...

    async def save(self, stored: Stored) -> None:
        """Keep `stored`, all of it or nothing.

        RecordUnavailable: not known to be written, try again; RecordConflict: somebody else has written since this
        process last did, or `stored` is of a lower revision than what is kept.
        """
        ...
