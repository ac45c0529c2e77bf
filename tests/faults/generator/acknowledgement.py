"""D4b: an acknowledgement lets go of exactly those of one hold who still miss, once, and for an hour at most.

Drawn at random: who leaves, who comes back before and after, whether Postgres can be read when somebody agrees, and
whether the generator is killed in between.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.faults.family import Broken, Defect, Family, Lane
from tests.faults.generator.client import Client, Trace, Watch, judged
from tests.faults.generator.guard import guarded
from tests.faults.generator.parts import Table, metric, mixed, seeded, table, with_admin
from tests.faults.stage import Stage
from tests.support.eventually import eventually
from tests.support.postgres import Postgres
from tests.support.tenantry import Generator

__all__ = ["ACKNOWLEDGEMENT", "HOUR"]

_SIZE = 20
_TOO_MANY = 3
"""So many of twenty may not leave together."""
_SEEDS = 6
_SOON = 8.0
HOUR = 2.0
"""Seconds that an hour has for an acknowledgement here, where that is to pass."""
_ACTIVE, _LEFT = "active", "suspended"
_QUICK = "tests.faults.generator.hurry:forget_acknowledgements_soon"


class _Agreements:
    """Cases `KIND/SEED`."""

    at_once = 4

    def __init__(self, stage: Stage, server: Postgres, defect: Defect | None) -> None:
        self._stage = stage
        self._server = server
        self._defect = defect
        self.names: Sequence[str] = mixed(f"{kind}/{seed}" for seed in range(_SEEDS) for kind in _KINDS)

    async def run(self, name: str) -> None:
        kind = name.partition("/")[0]
        rows = {f"t{number:02}": _ACTIVE for number in range(_SIZE)}
        directory = self._stage.directory / f"admins-{name.replace('/', '-')}"
        admin, more = with_admin(directory)
        also = _QUICK if kind == "expires" else ""
        async with (
            table(self._server, rows) as ours,
            guarded(self._stage, ours, self._defect, more=more, also=also) as generator,
        ):
            case = _Case(name, generator, ours, list(rows), admin)
            await judged(_KINDS[kind](case), case.watch.run())


class _Case:
    def __init__(self, name: str, generator: Generator, ours: Table, tenants: Sequence[str], admin: str) -> None:
        self.chance = seeded(name)
        self.generator = generator
        self.table = ours
        self.trace = Trace()
        self.view = name.startswith("view")
        self._tenants = tenants
        self.admin = admin
        parameters = {"status": _ACTIVE} if self.view else None
        client = Client(generator.url, generator.token, parameters, applicationset="watched")
        self.watch = Watch(client, self.trace, owed=tenants, name="an ApplicationSet")

    async def hold(self, leaving: Sequence[str] | None = None) -> tuple[str, list[str]]:
        """Have more leave than may; return the hold's hash and whom it keeps."""
        await self.watch.goes_on(2)
        leaving = leaving or self.chance.sample(self._tenants, self.chance.randint(_TOO_MANY, _SIZE - 1))
        self.trace.note(f"{len(leaving)} leave")
        await (self.table.set_status(leaving, _LEFT) if self.view else self.table.delete(leaving))
        return await self.held(leaving), list(leaving)

    async def held(self, tenants: Iterable[str]) -> str:
        """Wait until exactly these are held, together; return the hash."""
        wanted, seen = sorted(tenants), list[Any]()

        async def one() -> bool:
            nonlocal seen
            seen = await self.generator.holds()
            return [each["tenants"] for each in seen] == [wanted]

        try:
            await eventually(one, within=_SOON, what="one hold")
        except AssertionError:
            held = [(each["hash"], each["tenants"]) for each in seen]
            raise Broken(f"{wanted} are to be held; held are {held}\n  {self.trace}") from None
        return str(seen[0]["hash"])

    async def some_return(self, held: list[str], *, but: int = 1) -> list[str]:
        """Have some of those who are held come back, all but so many at most; return those who still miss."""
        back = self.chance.sample(held, self.chance.randint(0, len(held) - but))
        self.trace.note(f"{len(back)} are back")
        await self.come_back(back)
        return [each for each in held if each not in back]

    async def come_back(self, tenants: Sequence[str]) -> None:
        """Have tenants come back."""
        if tenants:
            back = dict.fromkeys(tenants, _ACTIVE)
            await (self.table.set_status(tenants, _ACTIVE) if self.view else self.table.insert(back))

    async def agree(self, given: str, code: int, released: Sequence[str] = ()) -> None:
        """Acknowledge a hash. Broken: the answer is another one than is to be expected."""
        self.trace.note(f"acknowledged: {given}")
        status, answer = await self.generator.acknowledge(given, token=self.admin)
        if (status, answer.get("released", [])) != (code, sorted(released)):
            raise Broken(f"{code} with {sorted(released)} was to be expected, not {status} {answer}\n  {self.trace}")

    async def away(self) -> None:
        """Shut the way to Postgres, and wait until that is noticed."""
        self.trace.note("Postgres is away")
        self.table.gate.shut()

        async def noticed() -> bool:
            return await metric(self.generator, "tenantry_source_up", source="postgres") == 0

        await eventually(noticed, within=_SOON, what="the source is shown as down")

    async def nobody_more_leaves(self) -> None:
        """Look on for longer than it takes to be sure of a departure."""
        await self.watch.goes_on(60, within=20)


async def _once(case: _Case) -> None:
    """Agreed to, those who miss leave, and no others; when all leave again after a return, they are held anew."""
    given, held = await case.hold()
    missing = await case.some_return(held, but=_TOO_MANY)
    assert await case.held(missing) == given
    case.watch.owed -= set(missing)
    await case.agree(given, 200, missing)
    await case.watch.misses(*missing, within=_SOON)
    await case.agree(given, 409)
    await case.come_back(missing)
    await case.watch.sees(*missing, within=_SOON)
    again, _ = await case.hold(held)
    await case.table.insert({"newcomer": _ACTIVE})
    await case.watch.sees("newcomer", within=_SOON)
    await case.nobody_more_leaves()
    if again == given:
        raise Broken(f"a new hold has the hash of one that was acknowledged, {given}\n  {case.trace}")
    await case.agree(given, 409)
    await case.held(held)


async def _while_away(case: _Case) -> None:
    """Agreed to while Postgres can't be read: followed when it can, for those who still miss then."""
    given, held = await case.hold()
    await case.away()
    await case.agree(given, 202)
    await case.watch.goes_on(10)
    await _follow_after(case, held, given)


async def _after_a_kill(case: _Case) -> None:
    """The same, though the generator is killed before it can follow."""
    given, held = await case.hold()
    await case.away()
    await case.agree(given, 202)
    case.trace.note("killed")
    case.generator.kill()
    await case.generator.start(until="/healthz")
    await case.watch.goes_on(5, within=30)
    await _follow_after(case, held, given)


async def _follow_after(case: _Case, held: list[str], given: str) -> None:
    missing = await case.some_return(held)
    case.watch.owed -= set(missing)
    case.trace.note("Postgres is back")
    case.table.gate.heal()
    await case.watch.misses(*missing, within=30)
    await case.agree(given, 409)
    await case.nobody_more_leaves()


async def _expires(case: _Case) -> None:
    """Not followed within its hour it is forgotten, and the hold stands."""
    given, held = await case.hold()
    await case.away()
    await case.agree(given, 202)
    await asyncio.sleep(HOUR * 1.5)
    case.trace.note("Postgres is back, an hour too late")
    case.table.gate.heal()

    async def read_again() -> bool:
        return await metric(case.generator, "tenantry_source_up", source="postgres") == 1

    await eventually(read_again, within=30, what="Postgres is read again")
    await case.nobody_more_leaves()
    assert await case.held(held) == given
    case.watch.owed -= set(held)
    await case.agree(given, 200, held)
    await case.watch.misses(*held, within=_SOON)


async def _by_many(case: _Case) -> None:
    """Of several who agree at the same time, one has agreed."""
    given, held = await case.hold()
    case.watch.owed -= set(held)
    asked = [case.generator.acknowledge(given, token=case.admin) for _ in range(8)]
    answers = await asyncio.gather(*asked)
    released = [answer["released"] for status, answer in answers if status == 200]
    if sorted(status for status, _ in answers) != [200, *[409] * 7] or released != [sorted(held)]:
        raise Broken(f"eight agreed at the same time and were told {answers}\n  {case.trace}")
    await case.watch.misses(*held, within=_SOON)


async def _by_nobody(case: _Case) -> None:
    """What is no acknowledgement of this hold lets nobody go."""
    given, held = await case.hold()
    await case.agree("0" * 16, 404)
    await case.agree(given.upper(), 404)
    own = await case.generator.acknowledge(given, token=case.generator.token)
    bodies: list[Any] = [{}, [], {"hash": [given]}, {"hash": given, "all": True}, {"hashes": [given]}]
    said = [own[0], *[await _post(case.generator, body, case.admin) for body in bodies]]
    if not all(400 <= code < 500 for code in said):
        raise Broken(f"what is no acknowledgement was answered with {said}\n  {case.trace}")
    await case.nobody_more_leaves()
    assert await case.held(held) == given


async def _post(generator: Generator, body: Any, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{generator.url}/api/v1/holds", json=body) as response,
    ):
        return response.status


_KINDS: Mapping[str, Callable[[_Case], Coroutine[Any, Any, None]]] = {
    "table": _once,
    "view": _once,
    "away": _while_away,
    "killed": _after_a_kill,
    "expires": _expires,
    "many": _by_many,
    "nobody": _by_nobody,
}


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[_Agreements]:
    yield _Agreements(stage, await stage.postgres(), defect)


ACKNOWLEDGEMENT = Family(
    name="D4b",
    title="holds that are acknowledged: once, twice, late, by many, by nobody, before a kill",
    open=_open,
    sample=2,
    defect=Defect(
        "an acknowledgement counts again when the same tenants leave again",
        "tests.faults.generator.defects:follow_acknowledgements_for_ever",
        cases=("table/0",),
    ),
    drawn=True,
    lane=Lane.GENERATOR,
)
