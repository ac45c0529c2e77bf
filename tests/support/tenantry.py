"""The two services as users run them: the installed commands, in processes of their own, with an environment.

The environment holds PATH and what a test gives, so that a setting of the machine never decides a test.
"""

import asyncio
import os
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.eventually import eventually
from tests.support.processes import Process, free_port

__all__ = ["Generator", "Operator"]

_ROOT = Path(__file__).parents[2]
_START = 30.0
_STOP = 25.0
"""Seconds that a service may take to end on SIGTERM."""


class _Service:
    """A command that listens on TENANTRY_BIND."""

    def __init__(self, command: str, *, directory: Path, env: Mapping[str, str], defect: str | None = None) -> None:
        self._name = command
        self._command: list[str | Path] = [Path(sys.executable).with_name(command)]
        self._directory = directory
        self._process: Process | None = None
        port = free_port()
        self._env = {"PATH": os.environ["PATH"], "TENANTRY_BIND": f"127.0.0.1:{port}", **env}
        if defect is not None:
            self._command = [sys.executable, "-m", "tests.faults.mutant", defect, command]
            self._env["PYTHONPATH"] = str(_ROOT)
        self.url = f"http://127.0.0.1:{port}"
        self.context: ssl.SSLContext | bool = True

    async def start(self, *, until: str) -> None:
        """Start the command and wait until a GET of the path `until` answers 200."""
        self._directory.mkdir(parents=True, exist_ok=True)
        log = self._directory / f"{self._name}.log"
        process = Process(self._name, self._command, log=log, env=self._env, cwd=self._directory)
        self._process = process

        async def answers() -> bool:
            process.check()
            async with aiohttp.ClientSession() as http, http.get(self.url + until, ssl=self.context) as response:
                return response.status == 200

        await eventually(answers, within=_START, what=f"{self._name} answers {until} with 200, log: {log}")

    async def stop(self) -> int:
        return await asyncio.to_thread(self.running().stop, grace=_STOP) if self._process else 0

    def running(self) -> Process:
        if self._process is None:
            raise RuntimeError(f"{self._name}: start() comes first")
        return self._process


class Operator:
    """`tenantry-operator` against the cluster of a kubeconfig, with its log in `directory`.

    `defect` (`module:function`) is a mistake to run it with, see tests/faults/mutant.py.
    """

    def __init__(
        self, *, kubeconfig: Path, directory: Path, env: Mapping[str, str] | None = None, defect: str | None = None
    ) -> None:
        settings = {"KUBECONFIG": str(kubeconfig), **(env or {})}
        self._service = _Service("tenantry-operator", directory=directory, env=settings, defect=defect)
        self.url = self._service.url

    async def start(self) -> None:
        """Start it and wait until it says that it is alive."""
        await self._service.start(until="/healthz")

    async def stop(self) -> int:
        """End it as Kubernetes would, with SIGTERM; return its exit code."""
        return await self._service.stop()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._service.running().kill()

    @property
    def process(self) -> Process:
        """The running process."""
        return self._service.running()


class Generator:
    """`tenantry-generator` with the given environment and its log in `directory`; `token` is its AUTH_TOKEN.

    Its record is kept there as well, unless the environment says in which namespace. `defect` is as the Operator's.
    """

    def __init__(self, *, token: str, directory: Path, env: Mapping[str, str], defect: str | None = None) -> None:
        settings = {"AUTH_TOKEN": token, **env}
        if "TENANTRY_LEASE_NAMESPACE" not in env:
            (directory / "record").mkdir(parents=True, exist_ok=True)
            settings["TENANTRY_RECORD_DIR"] = str(directory / "record")
        self._service = _Service("tenantry-generator", directory=directory, env=settings, defect=defect)
        self.token = token
        self.url = self._service.url

    def trust(self, context: ssl.SSLContext) -> None:
        """Speak TLS with it, with this context."""
        self._service.context = context
        self.url = self._service.url = self.url.replace("http:", "https:")

    async def start(self, *, until: str = "/readyz") -> None:
        """Start it and wait until it can answer; `until="/healthz"`: only until it listens."""
        await self._service.start(until=until)

    async def stop(self) -> int:
        """End it as Kubernetes would, with SIGTERM; return its exit code."""
        return await self._service.stop()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._service.running().kill()

    @property
    def process(self) -> Process:
        """The running process."""
        return self._service.running()

    async def holds(self) -> list[dict[str, Any]]:
        """Return the holds that stand."""
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as http,
            http.get(f"{self.url}/api/v1/holds") as response,
        ):
            answer = await response.json()
            assert response.status == 200, answer
            return list(answer["holds"])

    async def look(self, path: str) -> tuple[int, dict[str, Any]]:
        """Ask `explain/TENANT` or `preview?applicationSet=NAME`; return the status and the JSON answer."""
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as http,
            http.get(f"{self.url}/api/v1/{path}") as response,
        ):
            return response.status, await response.json()

    async def acknowledge(self, given: str, *, token: str) -> tuple[int, dict[str, Any]]:
        """Acknowledge a hold with a token that may; return the status and the JSON answer."""
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http,
            http.post(f"{self.url}/api/v1/holds", json={"hash": given, "by": "the test"}) as response,
        ):
            return response.status, await response.json()

    async def getparams(
        self, parameters: Mapping[str, Any] | None = None, applicationset: str = "test"
    ) -> tuple[int, dict[str, Any]]:
        """Ask as Argo CD asks; return the status and the JSON answer."""
        inputs = {} if parameters is None else {"parameters": dict(parameters)}
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as http,
            http.post(
                f"{self.url}/api/v1/getparams.execute",
                json={"applicationSetName": applicationset, "input": inputs},
            ) as response,
        ):
            return response.status, await response.json()
