"""The parts that cases of the generator break: a table, the ways to Postgres and to the API server, and a process."""

import json
import random
import secrets
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.stage import Stage
from tests.support import article
from tests.support.postgres import Postgres, execute
from tests.support.processes import free_port
from tests.support.tcp_proxy import Proxy
from tests.support.tenantry import Generator

__all__ = ["Gate", "Table", "gate_to", "gate_to_api_server", "metric", "mixed", "seeded", "table", "with_admin"]

NOTIFY = Path(__file__).parents[3] / "manifests/postgres/notify.sql"


class Gate:
    """A way to a server: `shut` refuses what comes and ends what is open, `mute` swallows everything."""

    def __init__(self, port: int) -> None:
        self.proxy = Proxy(port)
        self._port = port
        self._nobody = free_port()

    def shut(self) -> None:
        """Have nobody get through, at once."""
        self.proxy.port = self._nobody
        self.proxy.cut()

    def cut(self) -> None:
        """End every connection; new ones get through."""
        self.proxy.cut()

    def mute(self) -> None:
        """Take every byte and pass none on."""
        self.proxy.mute = True

    def heal(self) -> None:
        """Let everybody through. What was swallowed is lost, so its connections can't go on."""
        was_mute, self.proxy.mute, self.proxy.port = self.proxy.mute, False, self._port
        if was_mute:
            self.proxy.cut()


@dataclass(frozen=True, slots=True)
class Table:
    """A table `organization` of its own; `dsn` leads to it through `gate`, `direct` past it."""

    direct: str
    dsn: str
    gate: Gate

    async def sql(self, *statements: str) -> None:
        """Run SQL as its owner."""
        await execute(self.direct, *statements)

    async def insert(self, rows: Mapping[str, str]) -> None:
        """Add tenants with their statuses."""
        await self.sql(article.rows(*rows.items()))

    async def delete(self, tenants: Iterable[str]) -> None:
        """Delete tenants, in one statement."""
        await self.sql(f"DELETE FROM organization WHERE tenant IN ({_listed(tenants)})")

    async def set_status(self, tenants: Iterable[str], status: str) -> None:
        """Give tenants another status, in one statement."""
        await self.sql(f"UPDATE organization SET status = '{status}' WHERE tenant IN ({_listed(tenants)})")


@asynccontextmanager
async def table(server: Postgres, rows: Mapping[str, str]) -> AsyncIterator[Table]:
    """Give a table with these tenants and statuses, in a database of its own, whose changes wake the generator."""
    name, gate = f"faults_{uuid.uuid4().hex}", Gate(server.port)
    direct = await server.create_database(name)
    await execute(direct, article.TABLE, NOTIFY.read_text(), *([article.rows(*rows.items())] if rows else []))
    async with gate.proxy.instead_of(direct) as dsn:
        yield Table(direct, dsn, gate)
    await server.drop_database(name)


@asynccontextmanager
async def gate_to_api_server(stage: Stage, directory: Path) -> AsyncIterator[tuple[Gate, Path]]:
    """Give a way to the API server, and an administrator's kubeconfig that takes it."""
    plane = await stage.control_plane()
    async with gate_to(plane.server, plane.kubeconfig, directory) as gate_and_path:
        yield gate_and_path


@asynccontextmanager
async def gate_to(server: str, kubeconfig: Path, directory: Path) -> AsyncIterator[tuple[Gate, Path]]:
    """Give a way to an API server, or to what stands before one, and a copy of a kubeconfig that takes it."""
    url, config = urlsplit(server), json.loads(kubeconfig.read_text())
    gate = Gate(int(str(url.port)))
    async with gate.proxy.listening() as address:
        config["clusters"][0]["cluster"]["server"] = f"{url.scheme}://{address}"
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "kubeconfig"
        path.write_text(json.dumps(config))
        yield gate, path


def seeded(name: str) -> random.Random:
    """Return the chance that decides in the case `name`, the same each time."""
    return random.Random(name)  # noqa: S311 - it is to be replayed, not to be secret


def mixed(names: Iterable[str]) -> tuple[str, ...]:
    """Return names in an order, always the same, in which some out of many are of all kinds."""
    names = list(names)
    return tuple(seeded("mixed").sample(names, len(names)))


def with_admin(directory: Path) -> tuple[str, dict[str, str]]:
    """Return a token that may acknowledge holds, and the setting that makes it one."""
    token, place = secrets.token_urlsafe(24), directory / "admins"
    place.mkdir(parents=True, exist_ok=True)
    (place / "on-call").write_text(token)
    return token, {"TENANTRY_ADMIN_TOKEN_DIR": str(place)}


async def metric(generator: Generator, name: str, **labels: str) -> float:
    """Return the value of one of the generator's metrics, 0 if it has none with these labels."""
    async with aiohttp.ClientSession() as http, http.get(f"{generator.url}/metrics") as response:
        text = await response.text()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return 0.0


def _listed(tenants: Iterable[str]) -> str:
    return ", ".join(f"'{tenant}'" for tenant in tenants)
