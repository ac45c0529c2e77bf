"""The bytes of an answer, whole before the first of them is sent, and the same bytes gzipped.

They come in parts so that one that many answers share is kept, and gzipped, once: gzip members that follow each
other are one gzip file, and the client of Argo CD reads them as such.
"""

import asyncio
import zlib
from collections.abc import Sequence

__all__ = ["Body"]

_GZIP = 31
"""zlib's name for gzip with the largest window; it writes no time, so equal bytes stay equal."""
_FASTEST = 1


class Body:
    """`parts` make the body when they are joined; it is `length` bytes long."""

    __slots__ = ("_gzipped", "length", "parts")

    def __init__(self, parts: Sequence[bytes]) -> None:
        self.parts = tuple(parts)
        self.length = sum(map(len, self.parts))
        self._gzipped: Body | None = None

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)

    async def gzipped(self) -> "Body":
        """Return the same body as gzip; it is made once, beside the event loop."""
        if self._gzipped is None:
            self._gzipped = Body([await asyncio.to_thread(_gzip, bytes(self))])
        return self._gzipped


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(_FASTEST, zlib.DEFLATED, _GZIP)
    return packer.compress(data) + packer.flush()
