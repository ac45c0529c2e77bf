"""Trouble that takes no tenant away: servers that stop, ways that are shut, a table that is emptied and filled."""

import asyncio
import random
from collections.abc import Coroutine, Mapping
from typing import Any

from tests.faults.generator.client import Trace
from tests.faults.generator.parts import Gate, Table
from tests.support import article
from tests.support.postgres import Postgres

__all__ = ["Trouble"]

_LONGEST = 1.2
"""Seconds that one trouble lasts: longer than it takes to be sure that a row has left."""


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do it; when cancelled meanwhile, end only once it is done: what was half done is not undone, or half undone."""
    doing = asyncio.create_task(work)
    try:
        await asyncio.shield(doing)
    finally:
        await asyncio.wait((doing,))


class Trouble:
    """Makes trouble for a table with these `rows`, its server and the API server, one after the other."""

    def __init__(
        self, draw: random.Random, server: Postgres, table: Table, api: Gate, rows: Mapping[str, str], trace: Trace
    ) -> None:
        self._draw = draw
        self._server = server
        self._table = table
        self._api = api
        self._rows = rows
        self._trace = trace
        self._kinds = {
            "Postgres stops": self._stop,
            "its connections are cut": self._cut,
            "the way to it is shut": self._shut,
            "the way to it swallows everything": self._mute,
            "the table is emptied": self._empty,
            "half of the table is deleted": self._halve,
            "the table is renamed": self._rename,
            "the table is locked": self._lock,
            "a column is missing": self._drop_column,
            "the API server is away": self._api_shut,
            "the API server is silent": self._api_mute,
        }

    async def go_on(self) -> None:
        """Make trouble until cancelled, and undo the last one then."""
        while True:
            await asyncio.sleep(self._draw.uniform(0, 0.2))
            kind = self._draw.choice(list(self._kinds))
            self._trace.note(kind)
            await self._kinds[kind]()
            self._trace.note("over")

    async def _last(self) -> None:
        await asyncio.sleep(self._draw.uniform(0.1, _LONGEST))

    async def _stop(self) -> None:
        try:
            await _to_its_end(asyncio.to_thread(self._server.stop))
            await self._last()
        finally:
            await _to_its_end(self._server.start())

    async def _cut(self) -> None:
        self._table.gate.cut()

    async def _shut(self) -> None:
        self._table.gate.shut()
        try:
            await self._last()
        finally:
            self._table.gate.heal()

    async def _mute(self) -> None:
        self._table.gate.mute()
        try:
            await self._last()
        finally:
            self._table.gate.heal()

    async def _empty(self) -> None:
        await self._undone("TRUNCATE organization", article.rows(*self._rows.items()))

    async def _halve(self) -> None:
        gone = dict(self._draw.sample(sorted(self._rows.items()), len(self._rows) // 2))
        listed = ", ".join(f"'{tenant}'" for tenant in gone)
        await self._undone(f"DELETE FROM organization WHERE tenant IN ({listed})", article.rows(*gone.items()))

    async def _rename(self) -> None:
        await self._undone(
            "ALTER TABLE organization RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO organization"
        )

    async def _drop_column(self) -> None:
        await self._undone(
            "ALTER TABLE organization RENAME COLUMN status TO state",
            "ALTER TABLE organization RENAME COLUMN state TO status",
        )

    async def _lock(self) -> None:
        await self._table.sql(f"LOCK organization; SELECT pg_sleep({self._draw.uniform(0.1, _LONGEST)})")

    async def _undone(self, statement: str, back: str) -> None:
        try:
            await _to_its_end(self._table.sql(f"{statement}; NOTIFY tenantry"))
            await self._last()
        finally:
            await _to_its_end(self._table.sql(f"{back}; NOTIFY tenantry"))

    async def _api_shut(self) -> None:
        self._api.shut()
        try:
            await self._last()
        finally:
            self._api.heal()

    async def _api_mute(self) -> None:
        self._api.mute()
        try:
            await self._last()
        finally:
            self._api.heal()
