"""What both services ask of the Python that runs them."""

import gc
import sys

__all__ = ["prepare_interpreter"]

_RECURSION_LIMIT = 25_000
"""The API server takes JSON 10,000 levels deep; by Python's default a single such object would make every list that
holds it unreadable."""
_COLLECT_EVERY = 20_000
"""Objects between two collections of cyclic garbage. With Python's 700, which suit a small heap, a third of the
operator's start goes into walking through caches that only grow, and filtered answers meet walks through every row."""


def prepare_interpreter() -> None:
    """Set the limits of this process that Python has for small ones."""
    sys.setrecursionlimit(_RECURSION_LIMIT)
    gc.set_threshold(_COLLECT_EVERY)
