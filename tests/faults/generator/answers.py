"""D3: whatever is asked and whatever the sources suffer, an answer is a refusal or exactly what was asked for.

Each case asks one generator a thousand times over raw sockets while Postgres stops, its table is emptied and renamed,
and the API server goes away. Nobody's tenant leaves, so that each answer is known to the last key.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp

from tenantry.kube import Kube
from tenantry.names import TENANT_LABEL
from tenantry.render import render_row
from tenantry.resources import NAMESPACES, TENANTS
from tests.faults.family import Broken, Defect, Family, Lane
from tests.faults.generator.client import Client, Trace
from tests.faults.generator.documents import draw
from tests.faults.generator.filters import Space, Truth
from tests.faults.generator.http import Answer, Connection, NoAnswer, check_answer
from tests.faults.generator.parts import Gate, Table, gate_to_api_server, metric, seeded, table
from tests.faults.generator.shots import May, Shooter, Shot
from tests.faults.generator.trouble import Trouble
from tests.faults.godecode import Unread, read
from tests.faults.stage import Stage
from tests.support.background import background
from tests.support.eventually import eventually
from tests.support.postgres import Postgres
from tests.support.tenantry import Generator

__all__ = ["ANSWERS"]

_BATCHES, _EACH = 100, 1000
_AT_ONCE = 8
_BODIES = 120
_SUCCESSES = 0.25
"""At least this share of the answers is a success, or the rest would say little."""
_PATIENCE = 30.0
_SETTLES = 45.0
"""Seconds: after so much trouble a Reflector may pause for 30 before it tries again."""
_SETS = ("web", "jobs", "reports")
_ROWS = {f"{name}_{number}": ("active", "trial", "")[number % 3] for number in range(8) for name in ("ada", "Bo", "cy")}
_LABELS: Mapping[str, Mapping[str, str]] = {
    "d3-gold": {"tier": "gold"},
    "d3-iron": {"tier": "iron", "env": "prod"},
    "d3-none": {},
}
_NAMED = "kubernetes.io/metadata.name"
"""The label that each namespace has."""
_OWNER = "ada_0"
_SPACES: Mapping[str, Mapping[str, str]] = {"prod": {"env": "prod"}, "test": {"env": "test", "old": "1"}}


class _Batches:
    """Batches of requests to one generator, one batch after the other."""

    at_once = 1
    names: Sequence[str] = tuple(f"batch-{number}" for number in range(_BATCHES))

    def __init__(self, generator: Generator, server: Postgres, ours: Table, api: Gate, document: Any) -> None:
        self._generator = generator
        self._server = server
        self._table = ours
        self._api = api
        self._document = document
        self._truth = Truth([], [])

    async def learn(self, spaces: Sequence[Space]) -> None:
        """Take the tenants from an unfiltered answer; `spaces` are the namespaces."""

        async def whole() -> list[dict[str, Any]] | None:
            found = await self._everything()
            return found if {*_ROWS, *_LABELS} <= {str(each["tenant"]) for each in found} else None

        elements = await eventually(whole, within=20, what="every tenant is served")
        assert {each["tenant"]: each["status"] for each in elements if each["source"] == "postgres"} == _ROWS
        self._truth = Truth(elements, spaces)

    async def _everything(self) -> list[dict[str, Any]]:
        client = Client(self._generator.url, self._generator.token, applicationset="")
        try:
            return await client.ask()
        finally:
            client.close()

    async def run(self, name: str) -> None:
        trace, seen = Trace(), Counter[int]()
        shots = self._shots(name)

        async def ask() -> None:
            connection = Connection(self._generator.url)
            try:
                for shot in shots:
                    await self._one(connection, shot, seen, trace)
                    if seen.total() >= _EACH:
                        return
            finally:
                connection.close()

        trouble = Trouble(seeded(f"{name} trouble"), self._server, self._table, self._api, _ROWS, trace)
        async with background(trouble.go_on()):
            asking = [asyncio.create_task(ask()) for _ in range(_AT_ONCE)]
            try:
                await asyncio.gather(*asking)
            finally:
                for task in asking:
                    task.cancel()
        if seen[200] < _SUCCESSES * seen.total():
            raise AssertionError(f"only {seen[200]} of {seen.total()} answers are a success: {seen}\n  {trace}")
        await eventually(self._healthy, within=_SETTLES, what="every source is read, and nothing is held")

    async def _healthy(self) -> bool:
        up = [await metric(self._generator, "tenantry_source_up", source=each) for each in ("postgres", "cluster")]
        return up == [1, 1] and not await self._generator.holds()

    def _shots(self, name: str) -> Iterator[Shot]:
        chance = seeded(f"{name} shots")
        words = {
            key: sorted({str(each[key]) for each in self._truth.elements})
            for key in ("tenant", "name", "status", "source", "state")
        }
        bodies = draw(self._document, words, number=int(name.removeprefix("batch-")), count=_BODIES)
        shooter = Shooter(chance, self._generator.token, _SETS)
        while True:
            yield shooter.shot(chance.choice(bodies))

    async def _one(self, shared: Connection, shot: Shot, seen: Counter[int], trace: Trace) -> None:
        """Send one shot and judge everything that comes back."""
        own = shot.may is not May.ANSWER
        connection = Connection(self._generator.url) if own else shared
        try:
            async with asyncio.timeout(_PATIENCE):
                for answer, body in zip(await _answers(connection, shot), shot.bodies * 2, strict=False):
                    seen[answer.status] += 1
                    self._judge(shot, body, answer)
        except TimeoutError:
            raise Broken(f"{shot.kind}: neither an answer nor an end within {_PATIENCE:.0f} s: {shot}") from None
        except Broken as error:
            raise Broken(f"{shot.kind}: {error}\nsent: {shot.pieces!r}\nwhat led there:\n  {trace}") from None
        finally:
            if own:
                connection.close()

    def _judge(self, shot: Shot, body: bytes, answer: Answer) -> None:
        check_answer(answer, to_head=shot.to_head)
        if not 200 <= answer.status < 300 or shot.may is May.LOOK:
            return
        if shot.may is May.REFUSE:
            raise Broken(f"a success upon what is no proper request: {answer.body[:300]!r}")
        try:
            elements = read(answer.status, answer.headers, answer.body)
        except Unread as error:
            raise Broken(f"a success that can't be read: {error}: {answer.body[:300]!r}") from None
        self._truth.check(body, elements)


async def _answers(connection: Connection, shot: Shot) -> list[Answer]:
    """Return what comes back: as many answers as there are requests, or as come before the connection ends."""
    found: list[Answer] = []
    for attempt in (1, 2):
        try:
            await connection.send(*shot.pieces, then_end=shot.ends)
            while len(found) < len(shot.bodies) or (shot.ends and connection.is_open):
                found.append(await connection.receive(to_head=shot.to_head))
            return found
        except NoAnswer:
            # A connection that is closed while nobody uses it is met once; a proper request is answered in the end.
            if shot.may is not May.ANSWER or shot.ends:
                return found
            if attempt == 2:
                raise Broken("a proper request is not answered") from None
            found = []
    return found


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[_Batches]:
    kube, server = await stage.kube(), await stage.postgres()
    directory = stage.directory / f"answers-{secrets.token_hex(4)}"
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(table(server, _ROWS))
        api, kubeconfig = await stack.enter_async_context(gate_to_api_server(stage, directory))
        for name, labels in _LABELS.items():
            body = {"metadata": {"name": name, "labels": dict(labels)}, "spec": {}}
            await kube.apply(TENANTS, body, field_manager="tests")
            stack.push_async_callback(kube.delete, TENANTS, name)
        spaces = await _make_spaces(kube, stack)
        env = {"KUBECONFIG": str(kubeconfig), "TENANTRY_DATABASE_URL": ours.dsn}
        generator = Generator(
            token=secrets.token_urlsafe(24),
            directory=directory,
            env=env,
            defect=None if defect is None else defect.place,
        )
        stack.push_async_callback(generator.stop)
        await generator.start()
        async with aiohttp.ClientSession() as http, http.get(f"{generator.url}/api/v1/openapi.json") as response:
            document = await response.json()
        batches = _Batches(generator, server, ours, api, document)
        await batches.learn(spaces)
        yield batches


async def _make_spaces(kube: Kube, stack: AsyncExitStack) -> list[Space]:
    """Give a tenant its namespaces."""
    owner, mark, spaces = str(render_row(_OWNER, {})["name"]), secrets.token_hex(4), []
    for suffix, labels in _SPACES.items():
        name = f"d3-{mark}-{suffix}"
        spaces.append(Space(name, owner, {**labels, TENANT_LABEL: owner, _NAMED: name}))
        await kube.create(NAMESPACES, {"metadata": {"name": name, "labels": dict(spaces[-1].labels)}})
        stack.push_async_callback(kube.delete, NAMESPACES, name)
    return spaces


ANSWERS = Family(
    name="D3",
    title="a thousand requests of every shape to one generator whose sources are in trouble",
    open=_open,
    sample=1,
    defect=Defect(
        "the last element of a filtered answer is forgotten, and nobody counts",
        "tests.faults.generator.defects:forget_the_last",
    ),
    drawn=True,
    lane=Lane.GENERATOR,
)
