"""A real Kubernetes control plane on loopback: etcd, kube-apiserver and the controllers that tenants depend on.

Nothing is simulated, so admission, RBAC, server-side apply, garbage collection and namespace deletion behave as in a
cluster. There are no nodes: a Pod stays Pending.
"""

import asyncio
import json
import secrets
import shutil
import signal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tenantry.kube import Kube
from tenantry.resources import CRDS, NAMESPACES
from tests.support.binaries import Binaries
from tests.support.eventually import eventually
from tests.support.processes import Process, free_port

__all__ = ["ControlPlane", "KubectlFailed"]

_CONTROLLERS = (
    "namespace-controller",
    "garbage-collector-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
    "clusterrole-aggregation-controller",  # fills the ClusterRoles admin, edit and view
)
_START = 60.0
"""Seconds; some four on an idle machine."""


class KubectlFailed(RuntimeError):
    """kubectl ended with an error; the text has the command and what it printed."""


class ControlPlane:
    """One control plane, with its files in `directory`; `kubeconfig` is that of a cluster administrator.

    `without` are API groups with their versions that it does not serve: to delete a namespace, each kind is asked for.
    """

    def __init__(self, binaries: Binaries, directory: Path, *, without: Sequence[str] = ()) -> None:
        self._binaries = binaries
        self._directory = directory
        self._without = without
        self._etcd_port, self._port = free_port(), free_port()
        self._token = secrets.token_hex(16)
        self._etcd: Process | None = None
        self._apiserver: Process | None = None
        self._controllers: Process | None = None
        self.server = f"https://127.0.0.1:{self._port}"
        self.authority = directory / "certificates" / "apiserver.crt"
        self.kubeconfig = directory / "kubeconfig"
        self.audit_log = directory / "audit.log"
        """One JSON event for each request that a ServiceAccount has made, across restarts of the API server."""
        self.starts: list[tuple[datetime, datetime]] = []
        """When the API server was started and not ready yet; until then it refuses what it has no rules for."""

    async def start(self) -> None:
        """Start everything; return when the API server is ready and the `default` namespace exists."""
        self._directory.mkdir(parents=True, exist_ok=True)
        key = self._directory / "service-account.key"
        key.touch(0o600)
        key.write_bytes(_private_key())
        tokens = self._directory / "tokens.csv"
        tokens.touch(0o600)
        tokens.write_text(f'{self._token},admin,admin,"system:masters"\n')
        self.write_kubeconfig("kubeconfig", self._token)
        await self._start_again()

    async def stop(self) -> None:
        """Stop everything, clients before servers: an API server without etcd takes a minute to end."""
        for process in (self._controllers, self._apiserver, self._etcd):
            if process is not None:
                await asyncio.to_thread(process.stop, signal.SIGTERM, 5)
        self._controllers = self._apiserver = self._etcd = None

    def check(self) -> None:
        """Raise Ended if a part has ended by itself."""
        for process in (self._etcd, self._apiserver, self._controllers):
            if process is not None:
                process.check()

    async def start_apiserver(self) -> None:
        """Start the API server, on the same port each time, and wait until it is ready."""
        arguments = {
            "etcd-servers": f"http://127.0.0.1:{self._etcd_port}",
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": self._port,
            "endpoint-reconciler-type": "none",  # a loopback address is no valid endpoint
            "cert-dir": self._directory / "certificates",
            "token-auth-file": self._directory / "tokens.csv",
            "authorization-mode": "RBAC",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": self._directory / "service-account.key",
            "service-account-signing-key-file": self._directory / "service-account.key",
            "service-cluster-ip-range": "10.0.0.0/24",
            "audit-policy-file": self._audit_policy(),
            "audit-log-path": self.audit_log,
            **({"runtime-config": ",".join(f"{each}=false" for each in self._without)} if self._without else {}),
        }
        started = datetime.now(UTC)
        self._apiserver = self._start("kube-apiserver", self._binaries.kube_apiserver, arguments)
        await eventually(self._ready, within=_START, what="the API server is ready")
        self.starts.append((started, datetime.now(UTC)))

    def stop_apiserver(self) -> None:
        """End the API server at once, as in an outage: open requests and watches break."""
        if self._apiserver is not None:
            self._apiserver.kill()
            self._apiserver = None

    async def back_up(self) -> Path:
        """Stop everything for a copy of etcd's data, start it again, and return the copy's path."""
        await self.stop()
        copy = self._directory / f"backup-{secrets.token_hex(4)}"
        shutil.copytree(self._directory / "etcd", copy)
        await self._start_again()
        return copy

    async def restore(self, copy: Path) -> None:
        """Go back to what `back_up` has copied; the API server's resourceVersions go back too."""
        await self.stop()
        shutil.rmtree(self._directory / "etcd")
        shutil.copytree(copy, self._directory / "etcd")
        await self._start_again()

    async def _start_again(self) -> None:
        self._start_etcd()
        await self.start_apiserver()
        self._start_controllers()

    async def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as administrator and return what it printed; KubectlFailed if it fails."""
        process = await asyncio.create_subprocess_exec(
            self._binaries.kubectl,
            *arguments,
            env={"KUBECONFIG": str(self.kubeconfig), "HOME": str(self._directory)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await process.communicate((stdin or "").encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise KubectlFailed(f"kubectl {' '.join(arguments)} failed:\n{errors.decode()}")
        return output.decode()

    async def serve_crds(self) -> None:
        """Wait until every CustomResourceDefinition is served.

        Not `kubectl wait`, which fails on one that is so new that it has no conditions.
        """
        async with await self.kube() as kube:

            async def served() -> bool:
                return all(map(_established, (await kube.list(CRDS))["items"]))

            await eventually(served, within=30, what="every CustomResourceDefinition is established")

    async def kube(self) -> Kube:
        """Return a new client with the administrator's rights; the caller closes it."""
        return await Kube.connect(str(self.kubeconfig))

    async def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig that acts as an existing ServiceAccount, for an hour."""
        token = await self.kubectl("create", "token", name, f"--namespace={namespace}", "--duration=1h")
        return self.write_kubeconfig(f"{namespace}-{name}.kubeconfig", token.strip())

    def write_kubeconfig(self, file: str, token: str) -> Path:
        """Write a kubeconfig with a bearer token, whosever it is, and return its path."""
        path = self._directory / file
        cluster = {"server": self.server, "certificate-authority": str(self.authority)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token}}],
        }
        path.touch(0o600)
        path.write_text(json.dumps(config, indent=1))
        return path

    def _audit_policy(self) -> Path:
        # Early stages would count a request twice, and other users' requests would be most of the log.
        rules = [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
        path = self._directory / "audit-policy.json"
        path.write_text(json.dumps(policy))
        return path

    def _start(self, name: str, program: Path, arguments: dict[str, object]) -> Process:
        command: list[str | Path] = [program, *(f"--{key}={value}" for key, value in arguments.items())]
        return Process(name, command, log=self._directory / f"{name}.log")

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        arguments = {
            "data-dir": self._directory / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",
        }
        self._etcd = self._start("etcd", self._binaries.etcd, arguments)

    def _start_controllers(self) -> None:
        arguments = {
            "kubeconfig": self.kubeconfig,
            "controllers": ",".join(_CONTROLLERS),
            "leader-elect": "false",
            "bind-address": "127.0.0.1",
            "secure-port": free_port(),
            "cert-dir": self._directory / "controller-manager",
            "kube-api-qps": 400,  # two requests for each kind to delete one namespace
            "kube-api-burst": 800,
        }
        program = self._binaries.kube_controller_manager
        self._controllers = self._start("kube-controller-manager", program, arguments)

    async def _ready(self) -> bool:
        self.check()
        if not self.authority.exists():
            return False
        async with await self.kube() as kube:
            await kube.get(NAMESPACES, "default")
        return (await self.kubectl("get", "--raw", "/readyz")) == "ok"


def _established(crd: Mapping[str, Any]) -> bool:
    conditions = crd.get("status", {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def _private_key() -> bytes:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
