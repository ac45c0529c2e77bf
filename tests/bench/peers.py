"""What the operator is measured against: a controller-runtime controller in Go, and kopf doing nothing but count."""

import os
import sys
from pathlib import Path

from tests.support.binaries import build_peer
from tests.support.processes import Process, free_port
from tests.support.progress import Progress

__all__ = ["GoPeer", "KopfCounter"]


class GoPeer:
    """The controller of tests/support/controlplane/bench-peer against the cluster of a kubeconfig."""

    def __init__(self, *, kubeconfig: Path, directory: Path) -> None:
        with Progress() as progress:
            self._program = build_peer(progress)
        port = free_port()
        self._env = {"KUBECONFIG": str(kubeconfig), "PEER_METRICS": f"127.0.0.1:{port}"}
        self._log = directory / "bench-peer.log"
        self.metrics = f"http://127.0.0.1:{port}/metrics"

    def start(self) -> Process:
        """Start it; it is not ready yet."""
        return Process("bench-peer", [self._program], log=self._log, env=self._env)


class KopfCounter:
    """A bare `kopf.on.event` that counts Tenants, and ends its count with a line in its log."""

    def __init__(self, *, kubeconfig: Path, directory: Path, count: int) -> None:
        self._env = {"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), "COUNT": str(count)}
        self._log = directory / "kopf-counter.log"

    def start(self) -> Process:
        """Start it."""
        self._log.unlink(missing_ok=True)  # or an earlier run's last word would end this one at once
        command = [sys.executable, "-m", "kopf", "run", "--quiet", "--all-namespaces", "--standalone"]
        script = Path(__file__).with_name("kopf_counter.py")
        return Process("kopf counter", [*command, script], log=self._log, env=self._env)

    def done(self) -> bool:
        """Whether every Tenant has been seen."""
        return "counted all" in self._log.read_text()
