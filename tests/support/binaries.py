"""The real programs that tests and the demo run against: a Kubernetes control plane and Argo CD's controller.

They are built from Go modules that controlplane/go.mod pins, with the Go toolchain of this Python environment, so a
fresh machine needs nothing else, and every machine runs the same versions. Built once, they are kept outside the
checkout under a name made of everything that they are built from.

    python -m tests.support.binaries        build them now and print where they are
"""

import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.support.buildcache import build_once, cache
from tests.support.gobuild import BuildFailed, Go
from tests.support.progress import Progress
from tests.support.promtool import ensure_promtool

__all__ = ["Binaries", "BuildFailed", "build_peer", "ensure"]

_SOURCE = Path(__file__).with_name("controlplane")
_ARGO_CD = "github.com/argoproj/argo-cd/v3"
_ETCD = "go.etcd.io/etcd/server/v3"
_PACKAGES = {
    "etcd": _ETCD,
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "applicationset-controller": "./applicationset-controller",
}
_ASSETS = ("etcd", "kube-apiserver", "kubectl")
"""What $KUBEBUILDER_ASSETS, envtest's directory, holds."""
_VERSIONS = ("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion")
"""Where Kubernetes' own build puts its version; without it the programs say v0.0.0."""
_CRDS = ("application-crd.yaml", "applicationset-crd.yaml", "appproject-crd.yaml")


@dataclass(frozen=True, slots=True)
class Binaries:
    """Paths of the programs, and of the directory with Argo CD's CustomResourceDefinitions."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kubectl: Path
    applicationset_controller: Path
    argocd_crds: Path


def ensure(report: Callable[[str], None]) -> Binaries:
    """Return the programs, building what is not there yet; `report` gets a progress text every few seconds.

    etcd, kube-apiserver and kubectl come from $KUBEBUILDER_ASSETS when that is set. BuildFailed: with Go's own errors.
    """
    given = _assets()
    packages = {name: package for name, package in _PACKAGES.items() if name not in given}
    go = Go(_SOURCE)
    directory = cache("controlplane") / _fingerprint(go, packages)
    build_once(
        directory,
        what="the control plane",
        build=lambda into, log: _build(go, packages, into, log, report),
        report=report,
    )
    paths = {name: given.get(name, directory / name) for name in _PACKAGES}
    return Binaries(
        etcd=paths["etcd"],
        kube_apiserver=paths["kube-apiserver"],
        kube_controller_manager=paths["kube-controller-manager"],
        kubectl=paths["kubectl"],
        applicationset_controller=paths["applicationset-controller"],
        argocd_crds=directory / "argocd-crds",
    )


def build_peer(report: Callable[[str], None]) -> Path:
    """Return the benchmark's controller-runtime controller, built anew; after `ensure` that takes seconds.

    BuildFailed: with Go's own errors.
    """
    directory = cache("controlplane") / "bench-peer"
    with tempfile.TemporaryDirectory(prefix="peer-", dir=cache("controlplane")) as work:
        into = Path(work) / "done"
        into.mkdir()
        Go(_SOURCE).build(["./bench-peer"], variables={}, into=into, log=Path(work) / "build.log", report=report)
        directory.mkdir(exist_ok=True)
        return (into / "bench-peer").replace(directory / "bench-peer")


def _assets() -> dict[str, Path]:
    if not (value := os.environ.get("KUBEBUILDER_ASSETS")):
        return {}
    paths = {name: Path(value) / name for name in _ASSETS}
    if missing := [name for name, path in paths.items() if not os.access(path, os.X_OK)]:
        raise BuildFailed(
            f"KUBEBUILDER_ASSETS is {value!r}, where there is no executable {', '.join(missing)}; "
            "unset it, and the programs are built instead"
        )
    return paths


def _fingerprint(go: Go, packages: dict[str, str]) -> str:
    digest = hashlib.sha256(f"{go.version()} {' '.join(packages)}".encode())
    for name in ("go.mod", "go.sum", "applicationset-controller/main.go"):
        digest.update((_SOURCE / name).read_bytes())
    return digest.hexdigest()[:16]


def _build(go: Go, packages: dict[str, str], into: Path, log: Path, report: Callable[[str], None]) -> None:
    version = dict.fromkeys(_VERSIONS, _kubernetes_version())
    go.build(packages.values(), variables=version, into=into, log=log, report=report)
    if _ETCD in packages.values():
        (into / "server").rename(into / "etcd")  # Go names it after the last part of its path
    crds = into / "argocd-crds"
    crds.mkdir()
    for name in _CRDS:
        shutil.copyfile(go.module_directory(_ARGO_CD) / "manifests" / "crds" / name, crds / name)


def _kubernetes_version() -> str:
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", (_SOURCE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildFailed(f"{_SOURCE}/go.mod requires no k8s.io/kubernetes")
    return found[1]


def main() -> int:
    """Build, and print where each program is."""
    try:
        with Progress() as progress:
            binaries = ensure(progress)
            promtool = ensure_promtool(progress)
    except BuildFailed as error:
        print(error, file=sys.stderr)
        return 1
    for name, path in {**asdict(binaries), "promtool": promtool.path}.items():
        print(f"{name:<24} {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
