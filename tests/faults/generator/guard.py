"""D4a: exactly as many as may leave a set do leave, one more is held, and whatever comes or changes goes on meanwhile.

Sets of many sizes: the table itself, and what an ApplicationSet sees that asks for one status. The limit is told anew
here, from the documentation. Each case has a generator and a table of its own, since departures count for half an hour.
"""

import math
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.faults.family import Broken, Defect, Family, Lane
from tests.faults.generator.client import Client, Trace, Watch, judged
from tests.faults.generator.parts import Table, mixed, seeded, table
from tests.faults.stage import Stage
from tests.support.eventually import eventually
from tests.support.postgres import Postgres
from tests.support.tenantry import Generator

__all__ = ["GUARD", "guarded"]

_SIZES = (4, 19, 20, 29, 30, 99, 100, 109, 250, 1000)
_SETS = ("table", "view")
_WAYS = ("together", "by-and-by", "too-many")
_SOON = 6.0
"""Seconds: a row that is gone is looked for twice, a second apart, and the machine may be busy."""
_AT_ONCE = 4
_ACTIVE, _LEFT = "active", "suspended"


class _Limits:
    """Cases `SET/WAY/SIZE`."""

    at_once = _AT_ONCE
    names: Sequence[str] = mixed(f"{each}/{way}/{size}" for size in _SIZES for each in _SETS for way in _WAYS)

    def __init__(self, stage: Stage, server: Postgres, defect: Defect | None) -> None:
        self._stage = stage
        self._server = server
        self._defect = defect

    async def run(self, name: str) -> None:
        of, way, size = name.split("/")
        rows = {f"t{number:05}": _ACTIVE for number in range(int(size))}
        async with table(self._server, rows) as ours, guarded(self._stage, ours, self._defect) as generator:
            case = _Case(name, of, generator, ours, list(rows))
            work = {"together": case.together, "by-and-by": case.by_and_by, "too-many": case.too_many}[way]
            await judged(work(), case.watch.run())


class _Case:
    """One set, from which tenants leave."""

    def __init__(self, name: str, of: str, generator: Generator, ours: Table, tenants: Sequence[str]) -> None:
        self._chance = seeded(name)
        self._of = of
        self._generator = generator
        self._table = ours
        self._trace = Trace()
        self._size = len(tenants)
        # Those that leave, in the order in which they do.
        self._order = self._chance.sample(tenants, len(tenants))
        self._new = 0
        parameters = {"status": [_ACTIVE]} if of == "view" else None
        client = Client(generator.url, generator.token, parameters, applicationset="watched")
        pause = max(0.03, len(tenants) / 3000)
        self.watch = Watch(client, self._trace, owed=tenants, name=f"the {of} of {len(tenants)}", pause=pause)

    @property
    def _limit(self) -> int:
        return max(2, self._size // 10)

    async def together(self) -> None:
        """The limit leaves in one statement, then one more."""
        await self.watch.goes_on(2)
        await self._let_go(self._limit)
        await self._life()
        await self._is_held(1)

    async def by_and_by(self) -> None:
        """They leave in several statements. How many there were at the start is known to the minute, erring low."""
        await self.watch.goes_on(2)
        left = 0
        while left < (room := max(2, (self._size - left) // 10)):
            some = self._chance.randint(1, room - left) if left else math.ceil(room / 2)
            await self._let_go(some)
            left += some
        await self._is_held(self._limit - left + 1)

    async def too_many(self) -> None:
        """One more than the limit leave in one statement: none does; what comes back leaves the hold."""
        await self.watch.goes_on(2)
        held = await self._is_held(min(self._limit + 1, self._size))
        back = held[: self._chance.randint(1, len(held) - 1)]
        await self._come_back(back)
        await self._held_are(held[len(back) :])
        await self.watch.goes_on(5)

    async def _let_go(self, count: int) -> None:
        leaving, self._order = self._order[:count], self._order[count:]
        self._trace.note(f"{count} leave")
        self.watch.owed -= set(leaving)
        await self._leave(leaving)
        await self.watch.misses(*leaving, within=_SOON)
        if held := await self._generator.holds():
            raise Broken(f"{count} within the limit of {self._limit} are held: {held}\n  {self._trace}")

    async def _is_held(self, count: int) -> list[str]:
        """Have so many leave, beyond the limit; whatever goes on meanwhile, none of them is let go."""
        leaving, self._order = self._order[:count], self._order[count:]
        self._trace.note(f"{count} more leave, beyond the limit of {self._limit}")
        await self._leave(leaving)
        await self._held_are(leaving)
        await self._life()
        await self.watch.goes_on(5)
        await self._held_are(leaving)
        return leaving

    async def _held_are(self, tenants: Sequence[str]) -> None:
        wanted = sorted(tenants)
        seen: list[Any] = []

        async def held() -> bool:
            nonlocal seen
            seen = await self._generator.holds()
            return [each["tenants"] for each in seen] == [wanted]

        try:
            await eventually(held, within=_SOON, what="one hold")
        except AssertionError:
            shown = [(each["set"], each["why"], each["tenants"][:10]) for each in seen]
            text = f"{wanted[:10]} ({len(wanted)} beyond the limit of {self._limit}) are to be held; held are {shown}"
            raise Broken(f"{text}\n  {self._trace}") from None

    async def _life(self) -> None:
        """Somebody new comes, and somebody who stays changes."""
        new = f"new{self._new:02}"
        self._new += 1
        await self._table.insert({new: _ACTIVE})
        await self.watch.sees(new, within=_SOON)
        stays = self._chance.choice(self._order) if self._order else new
        plan = secrets.token_hex(4)
        await self._table.sql(f"UPDATE organization SET plan = '{plan}' WHERE tenant = '{stays}'")

        def changed() -> bool:
            return self.watch.rows.get(stays, {}).get("plan") == plan

        await eventually(changed, within=_SOON, what=f"the change of {stays} is served; {self._trace}")

    async def _leave(self, tenants: Sequence[str]) -> None:
        await (self._table.delete(tenants) if self._of == "table" else self._table.set_status(tenants, _LEFT))

    async def _come_back(self, tenants: Sequence[str]) -> None:
        self._trace.note(f"{len(tenants)} are back")
        if self._of == "table":
            await self._table.insert(dict.fromkeys(tenants, _ACTIVE))
        else:
            await self._table.set_status(tenants, _ACTIVE)


@asynccontextmanager
async def guarded(
    stage: Stage, ours: Table, defect: Defect | None, *, more: dict[str, str] | None = None, also: str = ""
) -> AsyncIterator[Generator]:
    """Run a generator on a table alone, which gets a column `plan`; `also` names further changes of its code."""
    await ours.sql("ALTER TABLE organization ADD plan text NOT NULL DEFAULT ''")
    directory = stage.directory / f"guard-{secrets.token_hex(4)}"
    places = ",".join(filter(None, (also, defect.place if defect else "")))
    env = {
        "TENANTRY_SOURCES": "postgres",
        "TENANTRY_DATABASE_URL": ours.dsn,
        "TENANTRY_COLUMNS": "status,plan",
        **(more or {}),
    }
    generator = Generator(token=secrets.token_urlsafe(24), directory=directory, env=env, defect=places or None)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(generator.stop)
        await generator.start()
        yield generator


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[_Limits]:
    yield _Limits(stage, await stage.postgres(), defect)


GUARD = Family(
    name="D4a",
    title="departures at the limit and one beyond it, from tables and views of many sizes",
    open=_open,
    sample=2,
    defect=Defect(
        "one more may leave than the limit says",
        "tests.faults.generator.defects:let_one_more_go",
        cases=("table/too-many/20",),
    ),
    lane=Lane.GENERATOR,
)
