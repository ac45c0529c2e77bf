"""How far a long job is, said as suits who reads it: one rewritten line on a terminal, few lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self, TextIO

__all__ = ["Progress", "duration"]

_QUIET = 30.0
"""Seconds between two lines of one phase where there is no terminal."""


def duration(seconds: float) -> str:
    """Return a time span for people: `42 s`, `9 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Progress:
    """For the length of a block, prints progress texts of the form `phase: details`; a new phase is always printed."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._phase = ""
        self._printed_at = float("-inf")

    def __call__(self, text: str) -> None:
        """Show `text`."""
        phase = text.partition(":")[0]
        new = phase != self._phase
        if self._stream.isatty():
            start = "\n" if new and self._phase else "\r\x1b[K"
            print(start + text, end="", file=self._stream, flush=True)
        elif new or time.monotonic() - self._printed_at >= _QUIET:
            print(text, file=self._stream, flush=True)
            self._printed_at = time.monotonic()
        self._phase = phase

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the line that a terminal shows."""
        if self._phase and self._stream.isatty():
            print(file=self._stream)
        self._phase = ""
