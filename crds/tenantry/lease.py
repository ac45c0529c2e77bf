"""One process at a time acts: a small elector on a coordination.k8s.io Lease, by client-go's rules.

Every write is a compare-and-swap on the resourceVersion. Another holder's renewals are judged by when this process saw
the record change, on its own monotonic clock, so that clocks that disagree can't make two holders. A holder counts its
own time from before it sent a renewal, and stops well before anybody else may start. The official client's elector was
no choice: it can't create a Lease, and its renewals have no time-out.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tenantry.errors import Conflict, Forbidden, Invalid, KubeError, NotFound, Unavailable
from tenantry.kube import Kube
from tenantry.resources import LEASES
from tenantry.telemetry import get_logger

__all__ = ["Elector", "LeaseTiming"]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """Seconds. `duration`: how long others respect a record that doesn't change. `renew_deadline`: how long the holder
    acts on one renewal. `retry_period`: from one renewal, or look at another's Lease, to the next.
    """

    duration: int = 15
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        # Room for two tries and their time-outs before the deadline, and for slow clocks after it.
        if not (self.duration > self.renew_deadline > 2 * self.retry_period > 0):
            raise ValueError("a Lease needs duration > renew_deadline > 2 * retry_period > 0")


@dataclass(frozen=True, slots=True)
class _Record:
    """The Lease as it was seen; `changed_at` is when, on our clock, its spec was first seen like this."""

    spec: Mapping[str, Any]
    version: str
    changed_at: float

    @property
    def holder(self) -> str:
        return str(self.spec.get("holderIdentity") or "")

    def expires(self, timing: LeaseTiming) -> float:
        return self.changed_at + (_whole(self.spec.get("leaseDurationSeconds"), low=1) or timing.duration)


class Elector:
    """Gets a Lease, keeps it and gives it back.

    `identity` must be that of no other living process. A process that finds its own identity in the Lease goes on with
    it at once: it follows one that has ended. `kube` had better be a client of its own, whose connections nobody else
    can use up.
    """

    def __init__(
        self, kube: Kube, *, namespace: str, name: str, identity: str, timing: LeaseTiming | None = None
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._timing = timing or LeaseTiming()
        self._record: _Record | None = None
        self._watchdog: asyncio.Handle
        self.valid_until = float("-inf")
        """Until when, on the event loop's clock, this process may act; others start `duration - renew_deadline` later
        at the earliest."""

    @property
    def valid(self) -> bool:
        """Whether this process may act now. Look again after every await."""
        return _now() < self.valid_until

    async def acquire(self) -> None:
        """Wait until this process holds the Lease; `holding` must follow at once.

        Failures are waited out, but for one that only a person can mend: Forbidden, Invalid or a missing namespace
        (NotFound), unless the Lease could be read before.
        """
        told: object = None
        while not self.valid:
            try:
                said = await self._attempt()
            except KubeError as error:
                if self._record is None and isinstance(error, Forbidden | Invalid | NotFound):
                    raise
                said = str(error)
            if self.valid:
                return
            if said != told:
                log.info("standing by", lease=self._name, because=said)
                told = said
            await asyncio.sleep(self._pause())

    @asynccontextmanager
    async def holding(self, on_lost: Callable[[str], None]) -> AsyncIterator[None]:
        """Renew the Lease during the block, which acts on it, and give it back afterwards.

        When it is lost, `on_lost` is called with the reason, once, and must stop whatever acts. It is called straight
        from a timer of the event loop, before any task that was waiting while the time ran out.
        """

        def lose(why: str) -> None:
            self.valid_until = float("-inf")
            self._watchdog.cancel()
            keeper.cancel()
            on_lost(why)

        keeper = asyncio.create_task(self._keep(lose), name=f"Lease {self._name}")
        # Soon, not now: what ran out between `acquire` and here is lost in the same way.
        self._watchdog = asyncio.get_running_loop().call_soon(self._watch, lose)
        try:
            yield
        finally:
            self._watchdog.cancel()
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            if self.valid:
                await self._release()

    async def _attempt(self) -> str:
        """Take the Lease if it is to be had, else say why it isn't."""
        present = await self._read()
        last = self._record
        if last is not None and last.holder not in ("", self._identity) and _now() < last.expires(self._timing):
            # Also when the object is gone: whoever held it doesn't know that yet.
            return f"{last.holder} holds it"
        try:
            await self._write(over=present)
        except Conflict:
            return "somebody else was first"
        return ""

    def _watch(self, lose: Callable[[str], None]) -> None:
        if self.valid:
            self._watchdog = asyncio.get_running_loop().call_at(self.valid_until, self._watch, lose)
        else:
            lose("it could not be renewed in time")

    async def _keep(self, lose: Callable[[str], None]) -> None:
        while True:
            await asyncio.sleep(self._timing.retry_period)
            try:
                holder = await self._renew()
            except KubeError as error:
                log.warning("renewing the Lease failed; trying again", lease=self._name, error=str(error))
                continue
            if holder != self._identity:
                lose(f"{holder or 'nobody'} holds it")

    async def _renew(self) -> str:
        """Renew the Lease; return who holds it, which is somebody else if it was taken away."""
        try:
            await self._write(over=self._record)
        except (Conflict, NotFound):
            present = await self._read()
            if present is not None and present.holder != self._identity:
                return present.holder
            # Touched by somebody, or written by a try of ours whose answer was lost; or deleted, and still ours.
            await self._write(over=present)
        return self._identity

    async def _release(self) -> None:
        """Let the next holder start at once; if that fails, it has to wait until the Lease expires."""
        self.valid_until = float("-inf")
        try:
            async with self._in_time("releasing the Lease"):
                while not await self._try_release():
                    pass
        except KubeError as error:
            log.warning("releasing the Lease failed; it expires by itself", lease=self._name, error=str(error))

    async def _try_release(self) -> bool:
        """Return False after a conflict: a renewal that was cut short has arrived after all."""
        # Read anew: what the last renewal left behind may never have been told.
        present = await self._read()
        if present is not None and present.holder == self._identity:
            spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _timestamp()}
            try:
                await self._patch(spec, version=present.version)
            except Conflict:
                return False
        return True

    async def _read(self) -> _Record | None:
        """Look at the Lease; None when there is none."""
        try:
            async with self._in_time("reading the Lease"):
                return self._see(await self._kube.get(LEASES, self._name, self._namespace))
        except NotFound:
            return None

    async def _write(self, *, over: _Record | None) -> None:
        """Write this process into the Lease that was seen as `over`, or into a new one. Conflict: it has changed."""
        last = self._record
        taken = last is None or last.holder != self._identity
        before = last.spec if last is not None else {}
        now = _timestamp()
        spec: dict[str, Any] = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._timing.duration,
            "acquireTime": now if taken else before.get("acquireTime"),
            "renewTime": now,
            "leaseTransitions": _whole(before.get("leaseTransitions"), low=0) + (taken and last is not None),
        }
        sent = _now()
        async with self._in_time("writing the Lease"):
            if over is not None:
                await self._patch(spec, version=over.version)
            else:
                await self._create(spec)
        self.valid_until = sent + self._timing.renew_deadline

    async def _patch(self, spec: dict[str, Any], *, version: str) -> None:
        body = {"metadata": {"resourceVersion": version}, "spec": spec}
        self._see(await self._kube.merge_patch(LEASES, self._name, body, self._namespace))

    async def _create(self, spec: dict[str, Any]) -> None:
        body = {"metadata": {"name": self._name, "namespace": self._namespace}, "spec": spec}
        try:
            self._see(await self._kube.create(LEASES, body, self._namespace))
        except NotFound as error:
            raise NotFound(f"the Lease {self._name} has no place: {error}", status=404, reason=error.reason) from error

    def _see(self, body: Mapping[str, Any]) -> _Record:
        found = body.get("spec")
        spec = found if isinstance(found, dict) else {}
        last = self._record
        # Only a change of the spec is a sign of life; anybody may write a label.
        changed_at = last.changed_at if last is not None and last.spec == spec else _now()
        self._record = _Record(spec, str(body["metadata"]["resourceVersion"]), changed_at)
        return self._record

    def _pause(self) -> float:
        """Return how long to stand by until the next look: at the latest until the Lease that was seen expires."""
        pause = self._timing.retry_period * random.uniform(0.8, 1.0)  # noqa: S311 - spreads load
        if self._record is not None and self._record.holder:
            left = self._record.expires(self._timing) - _now()
            if left > 0:
                pause = min(pause, left + 0.01)
        return pause

    @asynccontextmanager
    async def _in_time(self, doing: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timing.renew_deadline / 2):
                yield
        except TimeoutError as error:
            raise Unavailable(f"{doing} {self._namespace}/{self._name}: no answer in time") from error


def _now() -> float:
    return asyncio.get_running_loop().time()


def _timestamp() -> str:
    """Return the present as a MicroTime. For people: no elector judges by it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _whole(value: object, *, low: int) -> int:
    return value if isinstance(value, int) and value >= low else 0
