"""The demo's table: redrawn in place on a terminal, appended row by row elsewhere."""

import shutil
import sys
from collections.abc import Sequence

from tests.demo.board import Line

__all__ = ["Table", "rendered"]

_TITLES = ("TENANT", "SOURCE", "STATUS", "NAMESPACE", "APPLICATION", "AFTER")
_WIDTHS = (20, 8, 7, 41, 32, 8)
_CLEAR = "\x1b[H\x1b[2J"


def rendered(lines: Sequence[Line]) -> list[str]:
    """Return the table as text lines, titles first."""
    return [_row(_TITLES), *(_row(_cells(line)) for line in lines)]


class Table:
    """Shows the lines of a board whenever they have changed; `notes` stand above them."""

    def __init__(self, notes: Sequence[str]) -> None:
        self._notes = notes
        self._shown: list[Line] = []
        self._started = False

    def show(self, lines: Sequence[Line]) -> None:
        """Show `lines`, if anything has changed."""
        if list(lines) == self._shown and self._started:
            return
        if sys.stdout.isatty():
            print(_CLEAR + "\n".join(self._screen(lines)), flush=True)
        else:
            if not self._started:
                print("\n".join([*self._notes, _row(_TITLES)]))
            self._append(lines)
        self._shown, self._started = list(lines), True

    def _screen(self, lines: Sequence[Line]) -> list[str]:
        width, height = shutil.get_terminal_size()
        # The notes hold commands to copy, so they are left whole; a line may take several rows of the screen.
        taken = sum(1 + len(note) // width for note in self._notes)
        room = max(5, height - taken - 4)
        table = [text[: width - 1] for text in rendered(lines[-room:])]
        more = [f"... and {len(lines) - room} above"] if len(lines) > room else []
        return [*self._notes, *table, *more]

    def _append(self, lines: Sequence[Line]) -> None:
        # A row is worth a line of a log when it is complete; what it went through before is not.
        for line in lines:
            if line.application and line not in self._shown:
                print(_row(_cells(line)))
        present = {line.tenant for line in lines}
        for line in self._shown:
            if line.tenant not in present:
                print(f"{line.tenant}: gone")
        sys.stdout.flush()


def _row(cells: Sequence[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def _cells(line: Line) -> tuple[str, ...]:
    after = "" if line.seconds is None else f"{line.seconds:.2f} s"
    return (line.tenant, line.source, line.status, line.namespace or "-", line.application or "-", after)
