"""Which replica answers: the one that holds the Lease, and only while nobody else can hold it.

Two that answered with different sets would have Argo CD delete Applications by turns. A replica that loses the Lease
stands by instead of ending: when the API server comes back, it has what it had read and goes on within seconds.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from tenantry.errors import KubeError, TenantryError
from tenantry.lease import Elector
from tenantry.telemetry import get_logger

__all__ = ["LEASE", "Role", "Step"]

log = get_logger(__name__)

LEASE = "tenantry-generator"
_STANDING_BY = f"this replica stands by: it does not hold the Lease {LEASE}, so another one may be answering"
_AFTER_FAILURE = 2.0

Step = Callable[[], Awaitable[None]]


class Role:
    """Answers or stands by. Without an `elector` it always answers: then nobody may run a second one.

    `on_promoted` runs each time that this process has got the Lease, and has to succeed before it answers; a
    TenantryError has it run again. `show` runs while it answers, and makes that known outside.
    """

    def __init__(self, elector: Elector | None, *, on_promoted: Step | None = None, show: Step | None = None) -> None:
        self._elector = elector
        self.on_promoted = on_promoted
        self._show = show
        self._promoted = False
        self._why = _STANDING_BY

    def answering(self) -> bool:
        """Whether this process may answer now, by a clock that goes on while it is stopped. Look again after awaits."""
        return self._promoted and (self._elector is None or self._elector.valid)

    def why_not(self) -> str:
        """Return why it does not answer, in words that stay the same from try to try; "" when it does."""
        if self.answering():
            return ""
        return _STANDING_BY if self._promoted else self._why

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """Get the Lease and get it back whenever it is lost, during the block; give it back afterwards."""
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self._run(), name="role")
            try:
                yield
            finally:
                running.cancel()

    async def _run(self) -> None:
        if self._elector is None:
            await self._answer()
        while self._elector is not None:
            try:
                await self._elector.acquire()
            except KubeError as error:
                self._tell(f"this replica can't get the Lease {LEASE}: {error}")
                await asyncio.sleep(_AFTER_FAILURE)
            else:
                await self._answer_while_holding(self._elector)

    async def _answer_while_holding(self, elector: Elector) -> None:
        lost = asyncio.Event()

        def step_down(why: str) -> None:
            log.warning("the Lease is lost: this replica stands by", lease=LEASE, because=why)
            lost.set()

        async with elector.holding(step_down):
            answering, losing = asyncio.create_task(self._answer()), asyncio.create_task(lost.wait())
            try:
                await asyncio.wait([answering, losing], return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._promoted, self._why = False, _STANDING_BY
                for task in (answering, losing):
                    task.cancel()
                with suppress(asyncio.CancelledError):
                    await answering

    async def _answer(self) -> None:
        """Get ready to answer, answer until cancelled, and show it."""
        while self.on_promoted is not None:
            try:
                await self.on_promoted()
                break
            except TenantryError as error:
                self._tell(f"this replica is to answer and can't yet: {error}")
                await asyncio.sleep(_AFTER_FAILURE)
        self._promoted = True
        log.info("this replica answers")
        await (self._show() if self._show is not None else asyncio.Event().wait())

    def _tell(self, why: str) -> None:
        if why != self._why:
            log.error(why)
        self._why = why
