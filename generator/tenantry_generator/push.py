"""Has Argo CD ask at once when an answer has changed, by annotating the ApplicationSets that would get another one.

Only the replica that answers does it, after it serves the change, and it never keeps anything else waiting: without the
right to annotate, or without Argo CD, changes arrive when Argo CD next asks.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tenantry.errors import Conflict, Forbidden, KubeError, NotFound
from tenantry.telemetry import get_logger
from tenantry_generator.applicationsets import Use
from tenantry_generator.argocd import ApplicationSets
from tenantry_generator.first_contact import Contact
from tenantry_generator.membership import Membership
from tenantry_generator.metrics import Metrics
from tenantry_generator.push_pending import ANY, Pending
from tenantry_generator.push_plan import Change, Question, compare, differences, read_questions
from tenantry_generator.query import Query
from tenantry_generator.received import Receipt

__all__ = ["Push"]

log = get_logger(__name__)

_APART = 0.1
"""Seconds from one ApplicationSet to the next when all are to ask: hundreds would keep Argo CD from everything else."""
_MOST_AT_ONCE = 8
_MOST_CHANGES = 64
_POLL = 0.5
_AFTER_CRASH = 5.0
_FORBIDDEN = (
    "changes are not pushed, Argo CD sees them when it next asks: the right to list, watch and patch ApplicationSets "
    "is missing; apply the Role of manifests/base/generator-rbac.yaml in Argo CD's namespace"
)


class Push:
    """Tells `sets` of changes while `may_push()`. `contacts()` gives the first contacts that were refused."""

    def __init__(
        self,
        sets: ApplicationSets,
        *,
        parse: Callable[[Mapping[str, Any]], Query],
        may_push: Callable[[], bool],
        metrics: Metrics,
    ) -> None:
        self._sets = sets
        self._parse = parse
        self.contacts: Callable[[], Sequence[Contact]] = list
        self._may_push = may_push
        self._metrics = metrics
        self._now = asyncio.get_running_loop().time
        self._wake = asyncio.Event()
        self._changes: deque[tuple[Membership, Membership, float]] = deque()
        self._pending: dict[str, Pending] = {}
        self._revision: int | None = None
        self._everyone = True
        self._flying = 0
        self._told: dict[str, str] = {}
        sets.on_change = lambda _: self._wake.set()
        metrics.push_pending.set_function(lambda: sum(each.open for each in self._pending.values()))

    def served(self, before: Membership, after: Membership) -> None:
        """Take note that another state is served. It returns at once."""
        self._revision = after.revision
        self._changes.append((before, after, self._now()))
        if len(self._changes) > _MOST_CHANGES:
            self._everyone = True
        self._wake.set()

    def received(self, receipt: Receipt) -> None:
        """Take note of an answer that was handed out."""
        if self._sets.annotation(receipt.applicationset) is None:
            return
        pending = self._pending.setdefault(receipt.applicationset, Pending())
        waited = pending.fetched(receipt.key, revision=receipt.recorded, now=self._now())
        if waited is not None:
            self._metrics.push_delivery.observe(waited)
        self._wake.set()

    def start_over(self) -> None:
        """Forget everything, as another replica may have answered: everyone is to ask once this one serves."""
        self._revision = None
        self._forget()
        self._wake.set()

    async def run(self) -> None:
        """Push for ever."""
        while True:
            try:
                await self._run()
            except Exception:
                # The outermost loop: a defect here must end neither the process nor what is being answered.
                log.exception("pushing failed unexpectedly; everyone is told anew")
            self._flying = 0
            self._forget()
            await asyncio.sleep(_AFTER_CRASH)

    def _forget(self) -> None:
        self._changes.clear()
        self._pending.clear()
        self._everyone = True

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                waiting: float | None = _POLL
                if self._may_push():
                    await self._take_changes()
                    waiting = self._send_what_is_due(tasks)
                else:
                    self._forget()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(waiting):
                        await self._wake.wait()

    async def _take_changes(self) -> None:
        if self._everyone:
            self._take_everyone()
        while self._changes and not self._everyone:
            before, after, at = self._changes.popleft()
            if (change := compare(before, after)) is not None:
                for found, uses in self._sets.asking():
                    await self._take(change, found.name, uses, at)

    def _take_everyone(self) -> None:
        if self._sets.forbidden:
            self._warn("", _FORBIDDEN)
        if self._revision is None or not self._sets.synced:
            return
        self._changes.clear()
        self._everyone = False
        now = self._now()
        for number, (found, uses) in enumerate(self._sets.asking()):
            questions = read_questions(found.name, uses, self._parse)
            known = [each.query.key for each in questions]
            wanted = [*known, ANY] if any(use.templated for use in uses) else known
            pending = self._pending.setdefault(found.name, Pending())
            pending.want(wanted, known=known, revision=self._revision, since=None, earliest=now + number * _APART)

    async def _take(self, change: Change, name: str, uses: Sequence[Use], at: float) -> None:
        questions = read_questions(name, uses, self._parse)
        agreed = any(each.hash in change.agreed for each in self.contacts() if each.applicationset == name)
        everything = agreed or change.everywhere
        wanted = {each.query.key for each in questions if everything or await _differs(change, each)}
        if any(use.templated for use in uses) and (agreed or change.may_show_in(name)):
            wanted.add(ANY)
        if wanted:
            known = [each.query.key for each in questions]
            pending = self._pending.setdefault(name, Pending())
            pending.want(wanted, known=known, revision=change.after.revision, since=at)

    def _send_what_is_due(self, tasks: asyncio.TaskGroup) -> float | None:
        """Begin to annotate whom it is time for; return the seconds until it is time for the next one."""
        now, next_due = self._now(), None
        for name, pending in list(self._pending.items()):
            annotation = self._sets.annotation(name)
            if annotation is None and self._sets.synced:
                del self._pending[name]  # it was deleted
                continue
            if not pending.look(annotated=bool(annotation), now=now):
                log.info("told of a change, it asked for something else, or not here", applicationset=name)
            due = pending.due(annotated=bool(annotation))
            if due is None:
                continue
            if due > now:
                next_due = due if next_due is None else min(due, next_due)
            elif self._flying < _MOST_AT_ONCE:
                pending.sending()
                self._flying += 1
                tasks.create_task(self._send(name, pending))
        if self._everyone:
            return _POLL
        return None if next_due is None else next_due - now

    async def _send(self, name: str, pending: Pending) -> None:
        result = "patched"
        try:
            await self._sets.refresh(name, _unique(self._revision))
        except NotFound:
            result = "gone"
            self._pending.pop(name, None)
        except KubeError as error:
            result = {Conflict: "conflict", Forbidden: "forbidden"}.get(type(error), "failed")
            pending.failed(now=self._now(), forbidden=isinstance(error, Forbidden))
            self._tell(name, error)
        else:
            pending.sent(now=self._now())
            self._succeeded(name)
        self._metrics.pushes.labels(result).inc()
        self._flying -= 1
        self._wake.set()

    def _tell(self, name: str, error: KubeError) -> None:
        if isinstance(error, Forbidden):
            self._warn("", _FORBIDDEN, error=str(error))
        elif not isinstance(error, Conflict):
            what = "an ApplicationSet could not be annotated; trying again"
            self._warn(name, what, applicationset=name, error=str(error))

    def _warn(self, about: str, text: str, **facts: str) -> None:
        if self._told.get(about) != text:
            log.warning(text, **facts)
        self._told[about] = text

    def _succeeded(self, name: str) -> None:
        self._told.pop(name, None)
        if self._told.pop("", None) is not None:
            log.info("changes are pushed again")
            for each in self._pending.values():
                each.allow()


async def _differs(change: Change, question: Question) -> bool:
    for differs in differences(change, question):
        if differs:
            return True
        await asyncio.sleep(0)  # requests come first
    return False


def _unique(revision: int | None) -> str:
    """Return a value that was never used: the same again would be no change, and nothing happen."""
    return f"{datetime.now(UTC).isoformat(timespec='microseconds')}/{revision}/{secrets.token_hex(4)}"
