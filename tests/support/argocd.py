"""Argo CD on the test control plane: its CRDs, its settings and its own ApplicationSet controller, the real one.

What decides about Applications is therefore Argo CD's code, deletions included. Only its application controller is
played (application_controller.py): that one needs a repo-server and reachable clusters.
"""

import asyncio
import os
import re
import signal
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.resources import (
    APP_PROJECTS,
    APPLICATION_SETS,
    APPLICATIONS,
    CONFIG_MAPS,
    NAMESPACES,
    SECRETS,
    Resource,
)
from tests.support.binaries import Binaries
from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.processes import Process, free_port

__all__ = ["NAMESPACE", "Application", "ArgoCD", "Refreshed", "install_kinds"]

NAMESPACE = "argocd"
_REFRESH = "argocd.argoproj.io/application-set-refresh"
_MANAGER = "tests"
_PART_OF = {"app.kubernetes.io/part-of": "argocd"}
_START = 60.0


@dataclass(frozen=True, slots=True)
class Application:
    """What tells whether an Application is still the same one, and whether it is being deleted."""

    uid: str
    deletion_timestamp: str | None


@dataclass(frozen=True, slots=True)
class Refreshed:
    """How the controller answered to a refresh: `reason` and `message` are those of its condition ErrorOccurred."""

    ok: bool
    reason: str
    message: str


class ArgoCD:
    """Argo CD in one control plane, with its log in `directory`."""

    def __init__(self, binaries: Binaries, control_plane: ControlPlane, directory: Path) -> None:
        self._binaries = binaries
        self._control_plane = control_plane
        self._log = directory / "applicationset-controller.log"
        self._metrics_port = free_port()
        self._kube: Kube | None = None
        self._process: Process | None = None

    async def start(self) -> None:
        """Install what the controller needs and start it; return when it is ready."""
        await install_kinds(self._binaries, self._control_plane)
        self._kube = await self._control_plane.kube()
        for resource, body in _settings():
            await self._apply(resource, body)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._process = Process(
            "applicationset-controller",
            [
                self._binaries.applicationset_controller,
                f"--namespace={NAMESPACE}",
                f"--metrics-addr=127.0.0.1:{self._metrics_port}",
                f"--probe-addr=127.0.0.1:{free_port()}",
                f"--webhook-addr=127.0.0.1:{free_port()}",
            ],
            log=self._log,
            env={**os.environ, "KUBECONFIG": str(self._control_plane.kubeconfig)},
        )
        await eventually(self._ready, within=_START, what="the ApplicationSet controller is ready")

    async def stop(self) -> None:
        """Stop the controller."""
        if self._process is not None:
            await asyncio.to_thread(self._process.stop)
        if self._kube is not None:
            await self._kube.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the controller from asking and doing anything meanwhile."""
        if self._process is None:
            raise RuntimeError("Argo CD has not been started")
        self._process.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send(signal.SIGCONT)

    def check(self) -> None:
        """Raise Ended if the controller has ended by itself."""
        if self._process is not None:
            self._process.check()

    async def configure_plugin(self, name: str, *, url: str, token: str) -> None:
        """Make the ConfigMap `name`, and a Secret for its token, that plugin generators refer to."""
        secret = {"metadata": _metadata(name), "stringData": {"token": token}}
        await self._apply(SECRETS, secret)
        data = {"baseUrl": url, "token": f"${name}:token"}
        await self._apply(CONFIG_MAPS, {"metadata": _metadata(name), "data": data})

    async def apply_application_set(self, body: Mapping[str, Any]) -> None:
        """Apply an ApplicationSet of this namespace."""
        await self._apply(APPLICATION_SETS, body)

    async def delete_application_set(self, name: str) -> None:
        """Delete an ApplicationSet, if it exists, with its Applications, and wait until they are gone.

        They are deleted here too, since the garbage collector looks for new kinds only every 30 s.
        """
        kube = self._client()
        with suppress(NotFound):
            await kube.delete(APPLICATION_SETS, name, NAMESPACE)
        for application in await self.applications(name):
            with suppress(NotFound):
                await kube.delete(APPLICATIONS, application, NAMESPACE)

        async def gone() -> bool:
            return not await self.applications(name)

        await eventually(gone, within=30, what=f"the Applications of {name} are gone")

    async def applications(self, application_set: str) -> dict[str, Application]:
        """Return the Applications that an ApplicationSet owns, by name."""
        items = (await self._client().list(APPLICATIONS, NAMESPACE))["items"]
        metadata = [item["metadata"] for item in items if application_set in _owners(item)]
        return {each["name"]: Application(each["uid"], each.get("deletionTimestamp")) for each in metadata}

    async def refresh(self, name: str, *, within: float = 30.0) -> Refreshed:
        """Make the controller ask the generators of an ApplicationSet again; return what came of it.

        A success removes the annotation. A failure leaves it, and may leave the conditions as they were; then the
        second reconcile that ended since our write tells, as the first may have begun before it. So that there is a
        second one, each reconcile that ends without success is followed by another write.
        """
        seen = await self._reconciles(name)
        await self._annotate(name)
        ended = await self._reconciles(name)

        async def answered() -> Refreshed | None:
            nonlocal seen
            count = await self._reconciles(name)
            body = await self._client().get(APPLICATION_SETS, name, NAMESPACE)
            if _annotation(body) is None:
                return Refreshed(ok=True, reason="", message="")
            failure = _failure(body) if count >= ended + 2 else None
            if failure is None and count > seen:
                seen = count
                await self._annotate(name)
            return failure

        what = f"the controller has answered to the refresh of {name}"
        return await eventually(answered, within=within, what=what)

    async def _annotate(self, name: str) -> None:
        # The same value again would be no change, and so no refresh.
        patch = {"metadata": {"annotations": {_REFRESH: uuid.uuid4().hex}}}
        await self._client().merge_patch(APPLICATION_SETS, name, patch, NAMESPACE)

    async def _reconciles(self, name: str) -> int:
        """Return how many reconciles of an ApplicationSet have ended, by the controller's own metric."""
        text = await self._metrics()
        labels = (f'name="{name}"', f'namespace="{NAMESPACE}"')
        for found in re.finditer(r"^argocd_appset_reconcile_count\{(.*)\} (\S+)$", text, re.MULTILINE):
            if set(labels) <= set(found[1].split(",")):
                return int(float(found[2]))
        return 0

    async def _metrics(self) -> str:
        url = f"http://127.0.0.1:{self._metrics_port}/metrics"
        async with aiohttp.ClientSession(raise_for_status=True) as http, http.get(url) as response:
            return await response.text()

    async def _ready(self) -> bool:
        self.check()
        # Its /readyz is never there, it registers no check; whatever is made before it watches is in its first list.
        return bool(await self._metrics())

    async def _apply(self, resource: Resource, body: Mapping[str, Any]) -> None:
        await self._client().apply(resource, body, field_manager=_MANAGER)

    def _client(self) -> Kube:
        if self._kube is None:
            raise RuntimeError("start() comes first")
        return self._kube


async def install_kinds(binaries: Binaries, control_plane: ControlPlane) -> None:
    """Make a control plane serve Argo CD's kinds; return when it does."""
    # Server-side, since they are too big for the annotation of a client-side apply.
    await control_plane.kubectl("apply", "--server-side", "--filename", str(binaries.argocd_crds))
    await control_plane.serve_crds()


def _settings() -> list[tuple[Resource, dict[str, Any]]]:
    everything = {
        "sourceRepos": ["*"],
        "destinations": [{"server": "*", "namespace": "*"}],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
    }
    return [
        (NAMESPACES, {"metadata": {"name": NAMESPACE}}),
        (CONFIG_MAPS, {"metadata": _metadata("argocd-cm")}),
        (SECRETS, {"metadata": _metadata("argocd-secret"), "stringData": {"server.secretkey": uuid.uuid4().hex}}),
        (APP_PROJECTS, {"metadata": {"name": "default", "namespace": NAMESPACE}, "spec": everything}),
    ]


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": _PART_OF}


def _owners(body: Mapping[str, Any]) -> list[str]:
    references = body["metadata"].get("ownerReferences", [])
    return [reference["name"] for reference in references if reference["kind"] == "ApplicationSet"]


def _annotation(body: Mapping[str, Any]) -> str | None:
    value: str | None = body["metadata"].get("annotations", {}).get(_REFRESH)
    return value


def _failure(body: Mapping[str, Any]) -> Refreshed | None:
    for condition in body.get("status", {}).get("conditions", []):
        # A conflict over the annotation itself is tried again by the controller, and says nothing about the answer.
        own = condition["reason"] == "RefreshApplicationError"
        if condition["type"] == "ErrorOccurred" and condition["status"] == "True" and not own:
            return Refreshed(ok=False, reason=condition["reason"], message=condition["message"])
    return None
