"""The bytes of an answer, whole before the first of them is sent, and the same bytes gzipped.

They come in parts so that one that many answers share is kept, and gzipped, once: gzip members that follow each
other are one gzip file, and the client of Argo CD reads them as such.
"""

import asyncio
import zlib
from array import array
from collections.abc import Sequence
from itertools import accumulate

from tenantry_generator.errors import AssemblyError

__all__ = ["Body", "Part"]

_GZIP = 31
"""zlib's name for gzip with the largest window; it writes no time, so equal bytes stay equal."""
_FASTEST = 1


class Part(bytes):
    """Elements that have been encoded, joined by commas. Its gzip member is made once and kept."""

    ends: "array[int]"
    """Where each of them ends."""
    _member: bytes | None = None

    @classmethod
    def of(cls, encoded: Sequence[bytes]) -> "Part":
        """Return `encoded`, at least one element, joined. AssemblyError: it does not add up."""
        part = cls(b",".join(encoded))
        part.ends = array("I", [end - 1 for end in accumulate([len(each) + 1 for each in encoded])])
        if not encoded or not all(encoded) or part.ends[-1] != len(part):
            raise AssemblyError("a part of the answer is not as long as its elements; it was not sent")
        return part

    def element(self, at: int) -> bytes:
        """Return an element by its number from 0."""
        return self[self.ends[at - 1] + 1 if at else 0 : self.ends[at]]

    @property
    def member(self) -> bytes:
        """The part as a gzip member."""
        if self._member is None:
            self._member = _gzip(self)
        return self._member


class Body:
    """`parts` make the body when they are joined; it is `length` bytes long."""

    __slots__ = ("_gzipped", "_whole", "length", "parts")

    def __init__(self, parts: Sequence[bytes]) -> None:
        self.parts = tuple(parts)
        self.length = sum(map(len, self.parts))
        self._gzipped: Body | None = None
        self._whole: bytes | None = None

    def __bytes__(self) -> bytes:
        return self.whole()

    def whole(self) -> bytes:
        """Return the body in one piece. It is kept: who takes answers as they are takes the next one so, too."""
        if self._whole is None:
            self._whole = b"".join(self.parts)
        return self._whole

    @property
    def packed(self) -> "Body | None":
        """What `gzipped` returns, if that has been made."""
        return self._gzipped

    async def gzipped(self) -> "Body":
        """Return the same body as gzip, or itself if that is not shorter; it is made once, beside the event loop."""
        if self._gzipped is None:
            packed = Body(await asyncio.to_thread(_members, self.parts))
            self._gzipped = packed if packed.length < self.length else self
        return self._gzipped


def _members(parts: Sequence[bytes]) -> list[bytes]:
    """Return a gzip member for each part; what stands between two of them is the same everywhere."""
    known: dict[bytes, bytes] = {}
    members = []
    for part in parts:
        if isinstance(part, Part):
            members.append(part.member)
        else:
            members.append(known.setdefault(part, known.get(part) or _gzip(part)))
    return members


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(_FASTEST, zlib.DEFLATED, _GZIP)
    return packer.compress(data) + packer.flush()
