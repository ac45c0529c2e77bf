"""The Postgres source through pgbouncer in transaction mode: each transaction may meet another server connection."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.following import EAGER, following
from tests.support import article
from tests.support.eventually import eventually
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Postgres, execute

GONE = min(article.TENANTS)


@pytest.fixture
async def pooler(tmp_path: Path) -> AsyncIterator[PgBouncer]:
    bouncer = PgBouncer(tmp_path)
    yield bouncer
    bouncer.stop()


async def test_changes_and_departures_are_found_by_polling(database: str, pooler: PgBouncer) -> None:
    through = await pooler.start(database)
    async with following(through, timing=EAGER) as follower:
        await eventually(lambda: len(follower.names) == 10, within=10, what="the first read")
        await execute(database, article.rows(("hooli", "trial")))
        await follower.has(*follower.names | {"hooli"}, within=5)
        await execute(database, f"DELETE FROM organization WHERE tenant = '{GONE}'")
        await eventually(lambda: len(follower.names) == 10, within=5, what="the row has left")
        assert [len(read.rows) for read in follower.reads[-2:]] == [11, 10]
        assert follower.source.problem is None


async def test_what_a_read_sets_does_not_stay_on_the_pooled_connection(database: str, pooler: PgBouncer) -> None:
    through = await pooler.start(database)
    async with following(through, timing=EAGER) as follower:
        await eventually(lambda: len(follower.reads) > 10, within=10, what="ten reads")
        await execute(through, "DO $$ BEGIN ASSERT current_setting('row_security') = 'on'; END $$")
        await execute(through, "DO $$ BEGIN ASSERT current_setting('transaction_read_only') = 'off'; END $$")


async def test_a_server_that_restarts_behind_the_pooler_takes_nobody_away(
    database: str, postgres: Postgres, pooler: PgBouncer
) -> None:
    through = await pooler.start(database)
    async with following(through, timing=replace(EAGER, connect=1, command=1, answer=1)) as follower:
        await eventually(lambda: len(follower.names) == 10, within=10, what="the first read")
        postgres.stop()
        try:
            await eventually(lambda: follower.source.problem, within=30, what="the outage is noticed")
        finally:
            await postgres.start()
        await execute(database, article.rows(("hooli", "trial")))
        await eventually(lambda: "hooli" in follower.names, within=40, what="it reads again")
        assert {len(read.rows) for read in follower.reads} == {10, 11}
