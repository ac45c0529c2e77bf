"""Cases that are killed together: a kill costs one start of the operator, however many cases share it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tests.faults.operator.cuts import Case, Run
from tests.faults.operator.world import World

__all__ = ["Lots"]

_JOIN = 0.1
"""Seconds in which cases that begin at the same time come together."""


class Lots:
    """Runs cases in a world of theirs, at a time all that are waiting by then."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: list[Run] = []
        self._runner: asyncio.Task[None] | None = None

    async def run(self, case: Case) -> None:
        """Run a case in the next lot; Broken if it fails."""
        run = Run(self._world, case)
        self._waiting.append(run)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        try:
            await run.verdict
        finally:
            run.close()

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(_JOIN)
            lot, self._waiting = self._waiting, []
            try:
                await self._lot(lot)
            except Exception as error:  # what ends a lot is the result of each of its cases
                for run in _open(lot):
                    run.verdict.set_exception(error)
        self._runner = None

    async def _lot(self, lot: Sequence[Run]) -> None:
        await _each(lot, Run.prepare)
        await _each(lot, Run.begin)
        for index in range(max(len(run.case.cuts) for run in lot)):
            await _each(lot, Run.stand, index)
            if not _open(lot):
                return
            await self._world.kill()
            for run in _open(lot):
                run.killed(index)
            await self._world.operator.start()
        await _each(lot, Run.judge)


async def _each(lot: Sequence[Run], step: Callable[..., Awaitable[None]], *arguments: int) -> None:
    """Take a step of each case that has no verdict yet; one that fails there has failed."""

    async def one(run: Run) -> None:
        try:
            await step(run, *arguments)
        except Exception as error:  # the others go on
            run.verdict.set_exception(error)

    await asyncio.gather(*map(one, _open(lot)))


def _open(lot: Sequence[Run]) -> list[Run]:
    return [run for run in lot if not run.verdict.done()]
