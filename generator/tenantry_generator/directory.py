"""What is known of the ApplicationSets that ask here, and what stands for it where they can't be read."""

from collections.abc import Collection, Sequence
from typing import Protocol

from tenantry_generator.applicationsets import ApplicationSet, Use

__all__ = ["Directory", "Nobody"]


class Directory(Protocol):
    """The ApplicationSets that use us, as far as they are known."""

    @property
    def settled(self) -> bool:
        """Whether it is known by now which there are, or known that it can't be."""

    @property
    def behind(self) -> bool:
        """Whether what is known of them may be old, since they can't be read at present."""

    def names(self) -> Collection[str]:
        """Return the names of those that are known to ask here."""

    def find(self, name: str) -> tuple[ApplicationSet, Sequence[Use]] | None:
        """Return an ApplicationSet and its generators that ask here; None when it is not known whether there is one."""


class Nobody:
    """A Directory where ApplicationSets can't be read."""

    settled = True
    behind = False

    def names(self) -> Collection[str]:
        """Return none."""
        return ()

    def find(self, name: str) -> None:
        """Return None."""
