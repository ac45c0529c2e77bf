"""A Postgres source that runs, and what it has published so far."""

import contextlib
from collections.abc import AsyncIterator, Mapping

from tenantry.render import Row
from tenantry_generator.settings import load_settings
from tenantry_generator.sources import Read
from tenantry_generator.sources.postgres import PostgresSource, Timing
from tests.support.background import background
from tests.support.eventually import eventually

__all__ = ["EAGER", "WOKEN", "Follower", "following"]

EAGER = Timing(poll=0.1, first_retry=0.05, last_retry=0.2)
WOKEN = Timing(poll=3600, first_retry=0.05, last_retry=0.2)


class Follower:
    """A source that runs, with everything that it has published."""

    def __init__(self, source: PostgresSource) -> None:
        self.source = source
        self.reads: list[Read[Row]] = []

    @property
    def names(self) -> set[str]:
        return set(self.reads[-1].rows) if self.reads else set()

    async def has(self, *names: str, within: float = 10) -> None:
        await eventually(lambda: self.names == set(names) or None, within=within, what=f"the read has {sorted(names)}")

    async def problem(self, expected: str, within: float = 10) -> None:
        async def told() -> bool:
            assert self.source.problem == expected
            return True

        await eventually(told, within=within, what="the source says why it can't read")


@contextlib.asynccontextmanager
async def following(
    dsn: str, values: Mapping[str, str] | None = None, *, timing: Timing = EAGER
) -> AsyncIterator[Follower]:
    settings = load_settings({"AUTH_TOKEN": "s3cret", "TENANTRY_DATABASE_URL": dsn, **(values or {})})
    follower = Follower(PostgresSource(settings.database, settings.table, timing=timing))
    async with background(follower.source.run(follower.reads.append)) as task:
        yield follower
        assert not task.done(), task
