"""The operator as a process: what it says when it can't work, and how it ends."""

import asyncio
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.control_plane import ControlPlane
from tests.support.processes import free_port
from tests.support.tenantry import Operator

COMMAND = Path(sys.executable).with_name("tenantry-operator")


async def run(*arguments: str, **env: str) -> tuple[int, str, str]:
    """Run the operator to its end; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        env={"PATH": os.environ["PATH"], "TENANTRY_BIND": f"127.0.0.1:{free_port()}", **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


def kubeconfig(directory: Path, server: str) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": server}}],
        "users": [{"name": "x", "user": {"token": "secret"}}],
    }
    path = directory / "kubeconfig"
    path.write_text(json.dumps(config))
    return str(path)


async def test_it_says_its_version_and_what_it_can_be_told() -> None:
    assert await run("--version") == (0, f"tenantry-operator {version('tenantry')}\n", "")
    code, output, _ = await run("--help")
    assert code == 0
    assert "KUBECONFIG" in output
    assert "TENANTRY_BIND" in output


@pytest.mark.parametrize("content", [None, "{", "{}"], ids=["missing", "no YAML", "empty"])
async def test_a_kubeconfig_that_is_none_ends_it_with_one_line(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    code, _, errors = await run(KUBECONFIG=str(path))
    assert code == 2
    says = f"tenantry-operator: KUBECONFIG holds '{path}'; it accepts the path of a kubeconfig file"
    assert errors.startswith(says), errors
    assert errors.count("\n") == 1, errors


async def test_without_any_cluster_it_ends_with_one_line() -> None:
    code, _, errors = await run()
    assert code == 2
    assert errors.startswith("tenantry-operator: KUBECONFIG is not set; it accepts the path of a kubeconfig file"), (
        errors
    )


async def test_a_kubeconfig_that_leads_nowhere_ends_it_with_one_line(tmp_path: Path) -> None:
    server = f"https://127.0.0.1:{free_port()}"
    code, _, errors = await run(KUBECONFIG=kubeconfig(tmp_path, server))
    assert code == 1
    assert errors.startswith("tenantry-operator: GET /apis/tenantry.dev/v1alpha1/tenants: can't connect to"), errors
    assert "secret" not in errors


async def test_a_wrong_address_to_listen_on_ends_it_with_one_line() -> None:
    code, _, errors = await run(TENANTRY_BIND="8080")
    assert code == 2
    assert errors == "tenantry-operator: TENANTRY_BIND holds '8080'; it accepts HOST:PORT, for example 0.0.0.0:4355\n"


async def test_it_ends_cleanly_when_asked_to(control_plane: ControlPlane, tmp_path: Path) -> None:
    operator = Operator(kubeconfig=control_plane.kubeconfig, directory=tmp_path)
    await operator.start()
    assert await operator.stop() == 0, operator.process.log_tail()
    assert '"msg": "stopped"' in operator.process.log_tail()


async def test_a_token_that_is_refused_ends_it_with_one_line(control_plane: ControlPlane) -> None:
    wrong = control_plane.write_kubeconfig("wrong.kubeconfig", "not-a-token")
    code, _, errors = await run(KUBECONFIG=str(wrong))
    assert code == 1
    assert errors.startswith("tenantry-operator: GET /apis/tenantry.dev/v1alpha1/tenants: Unauthorized"), errors
