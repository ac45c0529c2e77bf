"""Mistakes in how the operator takes in what it sees, for tests/faults/mutant.py."""

from typing import Any

from tenantry.resources import NAMESPACES
from tenantry_operator import execute

__all__ = ["deletes_unseen"]


def deletes_unseen() -> None:
    """Delete a namespace by its name, without another look at it."""

    async def delete(kube: Any, entry: Any, action: Any, memory: Any) -> None:
        await kube.delete(NAMESPACES, action.target)

    setattr(execute, "_delete", delete)  # noqa: B010 - a function, to mypy, is no variable
