"""Says whether an answer would have de-provisioned somebody wrongfully (reliability.md, section 7).

Whatever Application an answer deletes, its tenant must have been removed from its source, or not match any more,
between the answer before and this one; and without an acknowledgement no more may go in 30 minutes than the guard's
limit. Every answer is judged. What is granted, because no generator could know better:

- Between an answer and the one before, what was known may be as old as the last complete read of that source, and
  `_LAG` seconds older, which is how long a change takes through the guard and the record.
- What is lost when a process starts or takes over, and still is when its first read has been confirmed, counts as
  removed, within the limit (docs/adr/0023): the record may hold what this process has never seen itself.
- The first answer after the record was lost is judged by the numbers alone, as is a first contact: the number of
  Applications is the only witness, and none for who may not read ApplicationSets or has not heard of this one yet.
  After the record was set back, what came or was agreed to since then is not known to anybody.
- What leaves the filters of an ApplicationSet is not counted as long as who answers does not know it as it is.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import product

from tests.faults.family import Broken
from tests.faults.virtual.argocd import Application, ApplicationSet, Generator
from tests.faults.virtual.clock import Clock
from tests.faults.virtual.truth import CLUSTER, NAMESPACES, POSTGRES, Truth

__all__ = ["Judge", "Knowledge"]

_LAG = 5.0
_WINDOW = 1800.0
_MINUTE = 130.0
"""The guard counts by the minute, from the start of one to the end of another."""
_ALWAYS = 2
_VALID = 3600.0
_NAMESPACES = "namespaces of in-cluster"


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What who answers goes by: until when it knows each source, and which record it has loaded.

    `forgot`: the time from which on the record that was loaded lacks what had been recorded, None if it lacks nothing.
    `born`: the time from which on that record was made, if there had been another one before that was lost.
    `amnesia`: there was none, although there had been one. `blind`: it has been told that it may not read the
    ApplicationSets, or that there are none, and has never read them.
    """

    until: dict[str, float]
    lineage: int
    forgot: float | None = None
    born: float = 0.0
    amnesia: bool = False
    blind: bool = False


@dataclass(slots=True)
class Judge:
    """`answers` and `deleted` count what was judged."""

    clock: Clock
    truth: Truth
    answers: int = 0
    deleted: int = 0
    agreed: dict[tuple[str, str], float] = field(default_factory=dict)
    """When somebody agreed, by what a hold calls its set and the name that was held."""
    _sources: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    """(wall clock, tenants by source), as whoever asks for every tenant was answered."""
    _lineage: int | None = None

    def agree(self, hold_set: str, names: Collection[str]) -> dict[tuple[str, str], float | None]:
        """Note that somebody agrees to a hold; return what was noted of its names before."""
        before = {(hold_set, name): self.agreed.get((hold_set, name)) for name in names}
        self.agreed |= dict.fromkeys(before, self.clock.now)
        return before

    def restore(self, before: dict[tuple[str, str], float | None]) -> None:
        """Note that it came to nothing."""
        for key, at in before.items():
            if at is None:
                self.agreed.pop(key, None)
            else:
                self.agreed[key] = at

    def take(
        self,
        applicationset: ApplicationSet,
        generator: Generator,
        found: dict[str, Application],
        known: Knowledge,
        wall: float,
        *,
        elsewhere: Collection[str] = (),
    ) -> None:
        """Judge an answer and let Argo CD act upon it. Broken.

        `elsewhere`: what the same answer gives to another generator of the ApplicationSet, and so is not deleted.
        """
        self.answers += 1
        self.forget(generator, wall)
        gone = generator.applications.keys() - found.keys() - set(elsewhere)
        if generator.lineage != known.lineage:
            self._first(applicationset, generator, gone, len(found), known)
        elif gone:
            self._next(applicationset, generator, gone, known, wall)
        self.deleted += len(generator.applications.keys() - found.keys())
        if generator.lineage != known.lineage or generator.edited:
            generator.counts, generator.removals = [], []  # to the guard, too, an edited view is another one
            if known.lineage != self._lineage:
                self._sources, self._lineage = [], known.lineage
        generator.applications, generator.lineage, generator.edited = found, known.lineage, False
        generator.came = {key: generator.came.get(key, self.clock.now) for key in found}
        generator.answered = (self.clock.now, wall)
        plain = generator.status is None and not generator.expanded
        history, counts = self._sources if plain else generator.counts, self._counts(generator, found)
        if not history or history[-1][1] != counts or wall - history[-1][0] > _MINUTE:
            history.append((wall, counts))

    def forget(self, generator: Generator, wall: float) -> None:
        """Forget departures that no longer count by the clock of now, which may be set back later.

        If it was, what is in its future is as if it had just been, as it is to the guard.
        """
        removals = [(min(at, wall), group, number) for at, group, number in generator.removals if wall - at < _WINDOW]
        generator.removals = removals
        for history in (generator.counts, self._sources):
            if history and history[-1][0] > wall:
                history[:] = [(min(at, wall), counts) for at, counts in history]

    def _first(
        self,
        applicationset: ApplicationSet,
        generator: Generator,
        gone: Collection[str],
        elements: int,
        known: Knowledge,
    ) -> None:
        """Judge a first contact, or the first answer out of a record that was lost or set back."""
        before = generator.applications
        if generator.lineage is not None and not known.amnesia:
            since = -1.0 if known.forgot is None else known.forgot
            old = [key for key in gone if generator.came.get(key, 0.0) <= since]
            gone = [key for key in old if not self._new_since(before[key], since, known.born)]
            self._reasons(applicationset, generator, gone, known)
            return
        generator.shortage = len(before) - elements
        if applicationset.contact[0] != known.lineage:
            applicationset.contact = (known.lineage, applicationset.owned)
        generators, owned = applicationset.generators, applicationset.contact[1]
        fresh = [each for each in generators if each is generator or each.lineage == known.lineage]
        lacking = sum(each.shortage or 0 for each in fresh)
        if len(fresh) < len(generators) or known.blind or any(each.unknown for each in fresh):
            return
        if applicationset.agreed_contact:
            applicationset.agreed_contact = False
            return
        if lacking > max(_ALWAYS, owned // 10) or (lacking > 0 and lacking == owned):
            raise Broken(
                f"the first answer to {applicationset.name} lacks {lacking} of its {owned} Applications, unasked, at "
                f"{self.clock.now:.1f}"
            )

    def _new_since(self, application: Application, at: float, born: float) -> bool:
        """Whether it may be there for something that a record of that time, begun when it was born, does not know."""
        tenant, namespace = application.tenant, application.namespace
        came, is_news = self.truth.came_after, self.truth.is_news
        agreed = any(name in (tenant, namespace) and then > at for (_, name), then in self.agreed.items())
        came_since = came(tenant, at) or came(namespace, at, (NAMESPACES,))
        return agreed or came_since or is_news(tenant, born, at) or is_news(namespace, born, at, (NAMESPACES,))

    def _next(
        self,
        applicationset: ApplicationSet,
        generator: Generator,
        gone: Collection[str],
        known: Knowledge,
        wall: float,
    ) -> None:
        reasons = self._reasons(applicationset, generator, gone, known)
        counted: dict[str, list[str]] = {}
        for key in sorted(gone):
            group = self._group(applicationset, generator, key, reasons[key])
            if group is not None:
                counted.setdefault(group, []).append(key)
        assert generator.answered is not None
        since = generator.answered[1]
        for group, keys in counted.items():
            limit = max(_ALWAYS, self._at_start(generator, group, wall) // 10)
            within = [number for at, kind, number in generator.removals if kind == group and wall - at < _WINDOW]
            total = sum(within) + (len(keys) if wall - since < _WINDOW else 0)
            if total > limit:
                raise Broken(
                    f"{total} of {group} left {applicationset.name} within 30 minutes, more than {limit}, and nobody "
                    f"agreed, at {self.clock.now:.1f}: now {', '.join(keys[:5])} ({self.truth.story(_tenant(keys[0]))})"
                )
            generator.removals.append((since, group, len(keys)))

    def _reasons(
        self, applicationset: ApplicationSet, generator: Generator, gone: Collection[str], known: Knowledge
    ) -> dict[str, set[str]]:
        """Return why each may be gone. Broken: for no reason."""
        found = {}
        for key in gone:
            found[key] = self._why(applicationset, generator, generator.applications[key], known)
            if not found[key]:
                raise Broken(
                    f"{applicationset.name} lost {key} at {self.clock.now:.1f}, which was not removed: last answered "
                    f"at {(generator.answered or (0.0, 0.0))[0]:.1f}, known until {known.until}; "
                    f"{self.truth.story(generator.applications[key].namespace) if generator.expanded else ''}; "
                    f"{self.truth.story(_tenant(key))}"
                )
        return found

    def _why(
        self, applicationset: ApplicationSet, generator: Generator, application: Application, known: Knowledge
    ) -> set[str]:
        now = self.clock.now
        last = now if generator.answered is None else generator.answered[0]

        def values(source: str, name: str) -> set[str | None]:
            since = min(last, known.until.get(source, last)) - _LAG
            hold_set = _NAMESPACES if source == NAMESPACES else f"source {source}"
            agreed = self._agrees(hold_set, name, last) or self._has_let_go(hold_set, source, name)
            return self.truth.values(source, name, since=since, agreed=agreed)

        name = application.tenant
        reasons: set[str] = set()
        if generator.edited and generator.status not in (None, application.status):
            reasons.add("unmatched")  # by what was answered last, which the author of the ApplicationSet has seen
        for row, tenant in product(values(POSTGRES, name), values(CLUSTER, name)):
            status = row if tenant is None else tenant
            if status is None:
                reasons.add("left")
            elif generator.status not in (None, status):
                reasons.add("unmatched")
        if self._agrees(f"view of {applicationset.name}", name, last):
            reasons.add("unmatched")
        if generator.expanded and any(each != name for each in values(NAMESPACES, application.namespace)):
            reasons.add("namespace")
        return reasons

    def _group(
        self, applicationset: ApplicationSet, generator: Generator, key: str, reasons: Collection[str]
    ) -> str | None:
        """Return what the guard counts a departure as, None if it does not, or somebody has agreed."""
        application = generator.applications[key]
        name = application.tenant
        last = self.clock.now if generator.answered is None else generator.answered[0]
        if generator.edited:
            return None  # the author of the ApplicationSet wants it so
        if "left" in reasons:
            if generator.status is not None or generator.expanded:
                return None  # counted by who asks for every tenant
            if any(self._agrees(f"source {source}", name, last) for source in (CLUSTER, POSTGRES)):
                return None
            return f"source {application.source}"
        if "namespace" in reasons:
            agrees = self._agrees(_NAMESPACES, application.namespace, last)
            return None if agrees else "namespaces"
        if self._agrees(f"view of {applicationset.name}", name, last):
            return None
        return "elements"

    def _agrees(self, hold_set: str, name: str, last: float) -> bool:
        """Whether somebody has agreed to that, and the answer before was given while that was valid."""
        at = self.agreed.get((hold_set, name))
        if at is None or last - at > _VALID + _LAG:
            return False
        sources = (NAMESPACES,) if hold_set.startswith(NAMESPACES) else (CLUSTER, POSTGRES)
        return hold_set.startswith("view") or not self.truth.came_after(name, at + _LAG, sources)

    def _has_let_go(self, hold_set: str, source: str, name: str) -> bool:
        """Whether somebody agreed, and that was followed while it was valid: the source is looked at no more for it.

        That may not have shown, while another source had the tenant too.
        """
        at = self.agreed.get((hold_set, name))
        return (
            at is not None
            and self.truth.was_read(source, at - _LAG, at + _VALID)
            and not self.truth.came_after(name, at + _LAG, (source,))
        )

    def _counts(self, generator: Generator, found: dict[str, Application]) -> dict[str, int]:
        if generator.expanded:
            return {"namespaces": len(found), "elements": len({each.tenant for each in found.values()})}
        if generator.status is not None:
            return {"elements": len(found)}
        has = self.truth.has
        return {
            f"source {source}": sum(each.source == source or has(source, each.tenant) for each in found.values())
            for source in (CLUSTER, POSTGRES)
        }

    def _at_start(self, generator: Generator, group: str, wall: float) -> int:
        """Return how many there were 30 minutes ago, or when that began to be known."""
        start = wall - _WINDOW
        history = self._sources if group.startswith("source") else generator.counts
        past = [(at, counts.get(group, 0)) for at, counts in history]
        near = [count for at, count in past if abs(at - start) <= _MINUTE]
        before = [count for at, count in past if at < start - _MINUTE]
        if near or before:
            return max([*near, *before[-1:]])
        return past[0][1]


def _tenant(key: str) -> str:
    return key.partition("/")[0]
