"""D6r: Postgres or the API server is away for some seconds, in each way that there is: nobody is removed meanwhile.

Drawn at random: which way, and for how long. A client asks all the time as Argo CD would. Afterwards a row and a Tenant
that are made anew must be served within half a minute, which shows that both sources are followed again.
"""

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from tenantry.kube import Kube
from tenantry.resources import NAMESPACES, TENANTS
from tests.faults.family import Broken, Defect, Family, Lane
from tests.faults.generator.client import Client, Trace, Watch, judged
from tests.faults.generator.parts import Gate, Table, gate_to_api_server, mixed, seeded, table
from tests.faults.stage import Stage
from tests.support.eventually import eventually
from tests.support.postgres import Postgres
from tests.support.tenantry import Generator

__all__ = ["OUTAGES"]

_WAYS = (
    "postgres-stopped",
    "api-cut",
    "postgres-frozen",
    "api-refused",
    "postgres-cut",
    "api-silent",
    "postgres-refused",
    "postgres-silent",
    "both-refused",
    "both-silent",
)
_SEEDS = 4
_SHORTEST, _LONGEST = 0.5, 5.0
_RECOVERY = 30.0
_LANES = 3
_LANE = "faults.example/lane"


@dataclass
class _Lane:
    """A generator with a Postgres server and a way to the API server of its own, and the tenants that it serves."""

    generator: Generator
    server: Postgres
    table: Table
    api: Gate
    kube: Kube
    name: str
    rows: list[str] = field(default_factory=list)
    tenants: list[str] = field(default_factory=list)

    async def declare(self, name: str) -> None:
        """Make a Tenant."""
        metadata = {"name": name, "labels": {_LANE: self.name}}
        await self.kube.create(TENANTS, {"metadata": metadata, "spec": {}})
        self.tenants.append(name)

    def watches(self, trace: Trace) -> tuple[Watch, Watch]:
        """Return who asks for the rows, and who asks for the Tenants of this lane."""
        url, token = self.generator.url, self.generator.token
        rows = Client(url, token, {"source": "postgres"}, "rows")
        tenants = Client(url, token, {"selector": {"matchLabels": {_LANE: self.name}}}, "tenants")
        return (
            Watch(rows, trace, owed=self.rows, name="who asks for rows", pause=0.05),
            Watch(tenants, trace, owed=self.tenants, name="who asks for Tenants", pause=0.05),
        )


class _Outages:
    """Cases `WAY/SEED`, as many at once as there are lanes."""

    at_once = _LANES
    names: Sequence[str] = mixed(f"{way}/{seed}" for seed in range(_SEEDS) for way in _WAYS)

    def __init__(self, stage: Stage, stack: AsyncExitStack, defect: Defect | None) -> None:
        self._stage = stage
        self._stack = stack
        self._defect = defect
        self._free: list[_Lane] = []
        self._starting = asyncio.Lock()

    async def run(self, name: str) -> None:
        if not self._free:
            async with self._starting:
                self._free.append(await self._lane())
        lane = self._free.pop()
        try:
            await self._run(name, lane)
        finally:
            self._free.append(lane)

    async def _run(self, name: str, lane: _Lane) -> None:
        chance, trace = seeded(name), Trace()
        rows, tenants = lane.watches(trace)
        gates = {"postgres": [lane.table.gate], "api": [lane.api], "both": [lane.table.gate, lane.api]}
        what, _, how = name.partition("/")[0].partition("-")

        async def suffer() -> None:
            await rows.goes_on(3, within=_RECOVERY)
            await tenants.goes_on(3, within=_RECOVERY)
            lasts = chance.uniform(_SHORTEST, _LONGEST)
            trace.note(f"{what} {how} for {lasts:.1f} s")
            await _break(lane.server, gates[what], how, lasts)
            trace.note("healed")
            await self._recovers(lane, rows, tenants, trace)

        await judged(suffer(), rows.run(), tenants.run())

    async def _recovers(self, lane: _Lane, rows: Watch, tenants: Watch, trace: Trace) -> None:
        healed = time.monotonic()
        new = secrets.token_hex(4)
        await lane.table.insert({f"row_{new}": "active"})
        tenants.known.add(f"d6-{new}")
        await lane.declare(f"d6-{new}")
        try:
            await rows.sees(f"row_{new}", within=_RECOVERY)
            await tenants.sees(f"d6-{new}", within=_RECOVERY)
        except AssertionError as error:
            took = time.monotonic() - healed
            raise Broken(f"what came after the outage is not served after {took:.0f} s: {error}\n  {trace}") from None
        lane.rows.append(f"row_{new}")

    async def _lane(self) -> _Lane:
        stage, stack = self._stage, self._stack
        name = f"d6-{secrets.token_hex(4)}"
        directory = stage.directory / name
        kube = await stage.kube()
        server = Postgres(directory)
        stack.callback(server.destroy)
        await server.create()
        ours = await stack.enter_async_context(table(server, dict.fromkeys((f"row_{n}" for n in range(12)), "active")))
        api, kubeconfig = await stack.enter_async_context(gate_to_api_server(stage, directory))
        await kube.create(NAMESPACES, {"metadata": {"name": name}})
        stack.push_async_callback(kube.delete, NAMESPACES, name)
        env = {
            "KUBECONFIG": str(kubeconfig),
            "TENANTRY_DATABASE_URL": ours.dsn,
            "TENANTRY_LEASE_NAMESPACE": name,
        }
        place = None if self._defect is None else self._defect.place
        generator = Generator(token=secrets.token_urlsafe(24), directory=directory, env=env, defect=place)
        lane = _Lane(generator, server, ours, api, kube, name, rows=[f"row_{n}" for n in range(12)])
        stack.push_async_callback(_forget, lane)
        for number in range(4):
            await lane.declare(f"{name}-{number}")
        stack.push_async_callback(generator.stop)
        await generator.start()
        await eventually(lambda: _serves(generator), within=20, what="the generator of a lane answers")
        return lane


async def _serves(generator: Generator) -> bool:
    return (await generator.getparams())[0] == 200


async def _forget(lane: _Lane) -> None:
    for tenant in lane.tenants:
        await lane.kube.delete(TENANTS, tenant)


async def _break(server: Postgres, gates: Sequence[Gate], how: str, lasts: float) -> None:
    """Break something in one way, and heal it after so many seconds."""
    match how:
        case "stopped":
            await asyncio.to_thread(server.stop)
        case "frozen":
            server.send(signal.SIGSTOP)
        case _:
            for gate in gates:
                {"refused": gate.shut, "silent": gate.mute, "cut": gate.cut}[how]()
    try:
        await asyncio.sleep(lasts)
    finally:
        if how == "stopped":
            await server.start()
        elif how == "frozen":
            server.send(signal.SIGCONT)
        for gate in gates:
            gate.heal()


@asynccontextmanager
async def _open(stage: Stage, defect: Defect | None) -> AsyncIterator[_Outages]:
    async with AsyncExitStack() as stack:
        yield _Outages(stage, stack, defect)


OUTAGES = Family(
    name="D6r",
    title="short outages of Postgres and of the API server while a client asks all the time",
    open=_open,
    sample=1,
    defect=Defect(
        "what can't be read is served as if it listed nobody",
        "tests.faults.generator.defects:serve_only_what_can_be_read",
        cases=("postgres-refused/2",),
    ),
    drawn=True,
    lane=Lane.GENERATOR,
)
