"""The installed command: what it answers in the article's environment, through disasters, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiohttp
import pytest

from tests.support import article
from tests.support.eventually import eventually
from tests.support.postgres import Postgres, execute
from tests.support.processes import free_port
from tests.support.tenantry import Generator

COMMAND = Path(sys.executable).with_name("tenantry-generator")
NAMES = sorted(article.TENANTS)


Make = Callable[..., Generator]


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Generator] = []

    def make(**env: str) -> Generator:
        made.append(Generator(token="s3cret", directory=tmp_path, env=env))
        return made[-1]

    yield make
    for generator in made:
        await generator.stop()


@pytest.fixture
async def generator(make: Make, database: str) -> Generator:
    running = make(TENANTRY_SOURCES="postgres", TENANTRY_DATABASE_URL=database)
    await running.start()
    return running


async def tenants(generator: Generator) -> list[str]:
    status, answer = await generator.getparams()
    assert status == 200, answer
    return sorted(element["tenant"] for element in answer["output"]["parameters"])


async def metrics(generator: Generator) -> list[str]:
    async with aiohttp.ClientSession() as http, http.get(f"{generator.url}/metrics") as response:
        return (await response.text()).splitlines()


async def test_the_article_s_environment_and_its_first_curl_give_its_tenants(make: Make, database: str) -> None:
    url = urlsplit(database)
    generator = make(
        TENANTRY_SOURCES="postgres",
        DB_NAME=url.path[1:],
        DB_USER=url.username or "",
        DB_PASSWORD=unquote(url.password or ""),
        DB_HOST=url.hostname or "",
        DB_PORT=str(url.port),
    )
    await generator.start()
    headers = {"Authorization": "Bearer s3cret", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{generator.url}/api/v1/getparams.execute", headers=headers) as response,
    ):
        answer = await response.json()
    assert {row["tenant"]: row["status"] for row in answer["output"]["parameters"]} == article.TENANTS
    assert len(answer["output"]["parameters"]) == 10
    assert await generator.stop() == 0
    log = generator.process.log.read_text()
    assert all(json.loads(line)["msg"] for line in log.splitlines())
    assert "s3cret" not in log
    assert str(url.password) not in log


async def test_one_of_ten_that_leaves_is_followed(generator: Generator, database: str) -> None:
    await execute(database, f"DELETE FROM organization WHERE tenant = '{NAMES[0]}'; NOTIFY tenantry")

    async def followed() -> bool:
        return await tenants(generator) == NAMES[1:]

    await eventually(followed, within=3, what="the tenant is gone")


@pytest.mark.parametrize(
    ("disaster", "held"),
    [
        ("TRUNCATE organization", 10),
        ("DELETE FROM organization", 10),
        (f"DELETE FROM organization WHERE tenant < '{NAMES[5]}'", 5),
        ("UPDATE organization SET tenant = upper(tenant)", 10),
    ],
)
async def test_many_that_leave_at_once_stay_and_newcomers_come(
    generator: Generator, database: str, disaster: str, held: int
) -> None:
    await execute(database, f"{disaster}; NOTIFY tenantry")

    async def shown() -> bool:
        assert f'tenantry_guard_held_tenants{{source="postgres"}} {held:.1f}' in await metrics(generator)
        return True

    await eventually(shown, within=3, what="the hold is shown")
    assert set(await tenants(generator)) >= set(NAMES)
    await execute(database, "INSERT INTO organization VALUES ('Acme Corp', 'trial'); NOTIFY tenantry")

    async def came() -> bool:
        return "Acme Corp" in await tenants(generator)

    await eventually(came, within=3, what="the newcomer is served")
    assert set(await tenants(generator)) >= set(NAMES)
    assert "they are held" in generator.process.log_tail(200)


@pytest.mark.parametrize("disaster", ["DROP TABLE organization", "ALTER TABLE organization DROP COLUMN status"])
async def test_a_table_that_breaks_takes_nobody_away(generator: Generator, database: str, disaster: str) -> None:
    await execute(database, f"{disaster}; NOTIFY tenantry")

    async def shown() -> bool:
        assert 'tenantry_source_up{source="postgres"} 0.0' in await metrics(generator)
        return True

    await eventually(shown, within=3, what="the source is shown as down")
    assert await tenants(generator) == NAMES


async def test_an_outage_takes_nobody_away_and_a_restart_during_it_answers_503(
    generator: Generator, postgres: Postgres
) -> None:
    postgres.stop()
    try:

        async def shown() -> bool:
            assert 'tenantry_source_up{source="postgres"} 0.0' in await metrics(generator)
            return True

        await eventually(shown, within=5, what="the source is shown as down")
        assert await tenants(generator) == NAMES
        generator.kill()
        await generator.start(until="/healthz")
        refused = (
            f"no complete read yet from: postgres (127.0.0.1:{postgres.port} refused the connection: "
            "is TENANTRY_DATABASE_URL right, is Postgres up?)"
        )

        async def refusing() -> bool:
            assert await generator.getparams() == (503, {"message": refused})
            return True

        await eventually(refusing, within=5, what="the answer is a 503 with the reason")
    finally:
        await postgres.start()

    async def back() -> bool:
        return await tenants(generator) == NAMES

    await eventually(back, within=20, what="the tenants are served again")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_cleanly_and_soon_while_a_client_keeps_its_connection(
    generator: Generator, number: signal.Signals
) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{generator.url}/healthz") as response:
        assert response.status == 200
        began = time.monotonic()
        assert generator.process.stop(number, grace=25) == 0
        assert time.monotonic() - began < 5
    assert "Traceback" not in generator.process.log_tail(200)


async def test_it_ends_cleanly_while_no_source_answers(make: Make, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        generator = make(
            KUBECONFIG=str(kubeconfig(tmp_path, f"https://127.0.0.1:{port}")),
            TENANTRY_DATABASE_URL=f"postgresql://u:p@127.0.0.1:{port}/db",
        )
        await generator.start(until="/healthz")
        began = time.monotonic()
        assert generator.process.stop(grace=25) == 0
        assert time.monotonic() - began < 5


def kubeconfig(tmp_path: Path, server: str) -> Path:
    path = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(json.dumps(config))
    return path


async def test_sources_that_lead_nowhere_are_a_503_that_names_both(
    make: Make, tmp_path: Path, postgres: Postgres
) -> None:
    port = free_port()
    generator = make(
        KUBECONFIG=str(kubeconfig(tmp_path, f"https://127.0.0.1:{port}")),
        TENANTRY_DATABASE_URL=postgres.dsn("postgres"),
    )
    await generator.start(until="/healthz")
    message = (
        "no complete read yet from: "
        f"cluster (GET /apis/tenantry.dev/v1alpha1/tenants: can't connect to 127.0.0.1:{port} (Connection refused)), "
        'postgres (table "organization" does not exist: create it or correct TENANTRY_TABLE)'
    )

    async def told() -> bool:
        assert await generator.getparams() == (503, {"message": message})
        return True

    await eventually(told, within=5, what="the answer is a 503 with the reasons")
    async with aiohttp.ClientSession() as http, http.get(f"{generator.url}/readyz") as response:
        assert (response.status, await response.text()) == (503, f"{message}\n")


def test_a_wrong_setting_ends_it_at_once_with_one_line(tmp_path: Path) -> None:
    ended = run(AUTH_TOKEN="s3cret", TENANTRY_COLUMNS="generator")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "tenantry-generator: TENANTRY_COLUMNS holds 'generator'; it accepts names of columns that are no key of an "
        "answer or a request; generator is taken; rename it in a view and name that in TENANTRY_TABLE"
    ]


def test_a_kubeconfig_that_is_not_there_ends_it_at_once_with_one_line(tmp_path: Path) -> None:
    path = str(tmp_path / "nowhere")
    ended = run(AUTH_TOKEN="s3cret", KUBECONFIG=path)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"tenantry-generator: KUBECONFIG holds '{path}'; it accepts the path of a kubeconfig file that exists; "
        "in a pod, leave it unset"
    ]


def test_a_kubeconfig_that_is_none_ends_it_at_once_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("not: [a kubeconfig")
    ended = run(AUTH_TOKEN="s3cret", KUBECONFIG=str(path))
    assert ended.returncode == 2
    assert ended.stderr.startswith(
        f"tenantry-generator: KUBECONFIG holds '{path}'; it accepts the path of a kubeconfig"
    )
    assert len(ended.stderr.splitlines()) == 1


def test_an_address_in_use_ends_it_at_once_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run(AUTH_TOKEN="s3cret", TENANTRY_SOURCES="postgres", TENANTRY_BIND=bind, DB_HOST="127.0.0.1")
    assert ended.returncode == 2
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert lines == [
        f"tenantry-generator: TENANTRY_BIND holds '{bind}'; it accepts an address that is free on this machine "
        f"(error while attempting to bind on address ('127.0.0.1', {bind.rpartition(':')[2]}): address already in use)"
    ]


def test_help_and_version() -> None:
    assert "TENANTRY_TOKEN_DIR" in run("--help").stdout
    assert run("--version").stdout.startswith("tenantry-generator 0.")
    assert run("--nonsense").returncode == 2
