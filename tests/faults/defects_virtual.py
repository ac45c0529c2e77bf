"""Deliberate defects for the families in virtual time. Each function is called in the process that runs the cases."""

import asyncio
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from tenantry_generator import acknowledging, guard, membership, views
from tenantry_generator.membership import Listing, Membership
from tenantry_generator.publisher import Publisher
from tenantry_generator.snapshot import Snapshot
from tenantry_generator.sources import Read, departures, postgres
from tests.faults.family import Defect

__all__ = ["ALL_OR_NONE", "FURTHER", "ONE_READ", "RELEASES_ALL", "TOUCHY", "UNREAD_SOURCE"]

_HERE = "tests.faults.defects_virtual"


def unread_source() -> None:
    """Take a source that has not been read for one without tenants."""
    build = Publisher._build

    async def careless(self: Publisher, state: Membership) -> Snapshot | None:
        unread = {name: Listing() for name in self.feeds.keys() - state.sources.keys()}
        return await build(self, replace(state, sources={**state.sources, **unread}))

    patch.object(Publisher, "_build", careless).start()


def one_read() -> None:
    """Have a row leave with the first read that lacks it."""
    settle = departures.settle

    def careless(state: departures.State | None, reading: departures.Reading, *, anew: bool) -> departures.State:
        after = settle(state, reading, anew=anew)
        return replace(after, rows=after.rows.updated({}, after.absent.keys()), absent={})

    patch.object(postgres, "settle", careless).start()


def first_read() -> None:
    """Have who is recorded leave with the first read of a process that lacks them."""
    settle = departures.settle

    def careless(state: departures.State | None, reading: departures.Reading, *, anew: bool) -> departures.State:
        return replace(settle(state, reading, anew=anew), first=None)

    patch.object(postgres, "settle", careless).start()


def empty_set() -> None:
    """Publish what is there after a read that failed: nothing."""
    run, report = postgres.PostgresSource.run, postgres.PostgresSource._report
    publish: dict[int, Any] = {}

    async def remembering(self: postgres.PostgresSource, tell: Any) -> None:
        publish[id(self)] = tell
        await run(self, tell)

    def careless(self: postgres.PostgresSource, problem: str) -> None:
        report(self, problem)
        publish[id(self)](Read({}))

    patch.object(postgres.PostgresSource, "run", remembering).start()
    patch.object(postgres.PostgresSource, "_report", careless).start()


def all_or_none() -> None:
    """Publish nothing while a source can't be read."""
    settle = Publisher._settle

    async def careless(self: Publisher) -> None:
        if self.snapshot is None or self.feeds.all_up:
            await settle(self)
        else:
            await asyncio.sleep(1.0)

    patch.object(Publisher, "_settle", careless).start()


def releases_all() -> None:
    """Have who agrees to one hold agree to every hold of its set."""
    acknowledge = membership.acknowledge

    def careless(state: Membership, given: str, *, by: str, now: float) -> Membership:
        standing = membership.holds(state)
        sets = {hold.set for hold in standing if hold.hash == given}
        for hold in standing:
            if hold.set in sets:
                state = acknowledge(state, hold.hash, by=by, now=now)
        return acknowledge(state, given, by=by, now=now)

    patch.object(acknowledging, "acknowledge", careless).start()


def touchy() -> None:
    """Hold more than one in a hundred."""
    patch.object(guard, "ALWAYS_ALLOWED", 1).start()
    for module in (membership, views):
        patch.object(module, "SHARE", 100).start()


def unguarded_views() -> None:
    """Never hold what leaves a view."""

    def careless(name: str, standing: Any, **given: Any) -> guard.Verdict:
        return guard.Verdict((), frozenset(given["missing"]))

    patch.object(views, "judge", careless).start()


ONE_READ = Defect("a row has left with the first read that lacks it", f"{_HERE}:one_read", tries=150)
UNREAD_SOURCE = Defect("a source that was not read is taken for empty", f"{_HERE}:unread_source", tries=150)
ALL_OR_NONE = Defect("while one source is down the other is not followed", f"{_HERE}:all_or_none", tries=2)
RELEASES_ALL = Defect("who agrees to one hold agrees to all of its set", f"{_HERE}:releases_all", tries=8)
TOUCHY = Defect("more than one in a hundred are held", f"{_HERE}:touchy", cases=("150/nightly/0", "400/nightly/0"))

FURTHER = (
    ("D2", "seed-1", f"{_HERE}:{empty_set.__name__}"),
    ("D2", "seed-31", f"{_HERE}:{unguarded_views.__name__}"),
    ("D2", "seed-43", f"{_HERE}:{releases_all.__name__}"),
    ("D5", "fine/short/good/0", f"{_HERE}:{first_read.__name__}"),
)
"""What families find beside the defect of the table: the family, a case that shows it, and where it is put in."""
