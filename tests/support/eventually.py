"""Waiting for something that becomes true by itself, with a deadline and a useful last word."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

from tests.support.processes import Ended

__all__ = ["eventually"]

T = TypeVar("T")

_PAUSE = 0.05


@overload
async def eventually(check: Callable[[], Awaitable[T | None]], *, within: float, what: str) -> T: ...


@overload
async def eventually(check: Callable[[], T | None], *, within: float, what: str) -> T: ...


async def eventually(check: Callable[[], Any], *, within: float, what: str) -> Any:
    """Call `check` every 50 ms until its answer is truthy, and return that.

    AssertionError after `within` seconds, naming `what` was waited for and the last state seen: the last answer, or the
    error that `check` raised. A check that hangs is given up at the deadline too; a child that ended (Ended) is not
    waited for any longer.
    """
    seen: object = "nothing: the first look did not end"
    try:
        async with asyncio.timeout(within):
            while True:
                try:
                    answer = check()
                    value = await answer if inspect.isawaitable(answer) else answer
                except Ended:
                    raise
                except Exception as error:  # whatever the check raises is the state to show
                    seen = error
                else:
                    if value:
                        return value
                    seen = value
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise AssertionError(f"not within {within:g} s: {what}; last seen: {seen!r}") from None
