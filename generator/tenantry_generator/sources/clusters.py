"""Which clusters' namespaces can be asked for: our own, and one for each kubeconfig in a directory.

A request names a cluster; it never says where one is, or whoever writes an ApplicationSet could have our credentials
sent to a server of theirs. A cluster that can't be read freezes the answers that name it, and no other.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tenantry.errors import KubeError, SettingsError
from tenantry.kube import Kube
from tenantry.resources import NAMESPACES
from tenantry.telemetry import get_logger
from tenantry_generator.errors import NotReady, Refused, SourceError
from tenantry_generator.expand import IN_CLUSTER, Place
from tenantry_generator.feed import Feed
from tenantry_generator.metrics import Metrics
from tenantry_generator.sources import Read
from tenantry_generator.sources.namespaces import NamespaceSource

__all__ = ["Clusters"]

log = get_logger(__name__)

_RECHECK = 5.0
"""Seconds between two looks at the kubeconfigs."""
_PAUSE = 1.0
"""Seconds before a cluster that failed, or whose kubeconfig has changed, is tried again."""
_SHOWN = 20


class _Cluster:
    """A Source of one cluster's namespaces. `file` is its kubeconfig; our own has a client that is there already."""

    def __init__(self, cluster: str, *, file: Path | None = None, kube: Kube | None = None) -> None:
        self.cluster = cluster
        self.name = f"namespaces/{cluster}"
        self._namespaces = NamespaceSource(operated=file is None)
        self._file = file
        self._kube = kube
        self._trouble: str | None = None
        self._uid: str | None = None

    @property
    def problem(self) -> str | None:
        return self._trouble or self._namespaces.problem

    @property
    def read_at(self) -> float | None:
        at = self._namespaces.last_activity
        return None if at is None else time.time() - asyncio.get_running_loop().time() + at

    def start_over(self) -> None:
        """Nothing to forget: `run` lists everything anew."""

    async def run(self, publish: Callable[[Read[Place]], None]) -> None:
        """Follow the cluster for ever; its last namespaces stay whatever happens."""
        while True:
            try:
                if self._kube is not None:
                    self._trouble = None
                    await self._namespaces.follow(self._kube, publish)
                elif self._file is not None:
                    await self._follow_file(self._file, publish)
            except (SourceError, KubeError, OSError) as error:
                self._report(str(error))
            await asyncio.sleep(_PAUSE)

    async def _follow_file(self, file: Path, publish: Callable[[Read[Place]], None]) -> None:
        """Follow the cluster of a kubeconfig until that changes."""
        content = _content(file)
        async with await _connect(file) as kube:
            await self._identify(kube)
            self._trouble = None
            following = asyncio.create_task(self._namespaces.follow(kube, publish))
            try:
                while _content(file) == content:
                    await asyncio.wait((following,), timeout=_RECHECK)
                    if following.done():
                        following.result()
                log.info("the kubeconfig has changed and is read again", cluster=self.cluster)
            finally:
                following.cancel()
                await asyncio.wait((following,))

    async def _identify(self, kube: Kube) -> None:
        """Raise SourceError if this is another cluster than before: all its namespaces would seem to have left."""
        uid = (await kube.get(NAMESPACES, "kube-system"))["metadata"]["uid"]
        if self._uid not in (None, uid):
            raise SourceError(
                f"{kube.server} is another cluster than before; correct the kubeconfig, or restart to accept it"
            )
        self._uid = uid

    def _report(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("a cluster's namespaces may be behind", cluster=self.cluster, reason=trouble)
        self._trouble = trouble


class Clusters:
    """The clusters by name: `own` as Argo CD calls its own, and those of the kubeconfigs in `directory`.

    A kubeconfig that is added or changed is picked up within seconds. One that is removed leaves the namespaces as they
    were last seen, until a restart. `feeds`: what was last read of each, by its name; `on_read` is called after a read.
    """

    def __init__(self, *, own: Kube | None, directory: Path | None, metrics: Metrics) -> None:
        self.feeds: dict[str, Feed] = {}
        self.on_read: Callable[[], None] = lambda: None
        self._directory = directory
        self._metrics = metrics
        self._complaint: str | None = None
        if own is not None:
            self._add(_Cluster(IN_CLUSTER, kube=own))

    def require(self, cluster: str) -> None:
        """Raise Refused, 400, if there is no such cluster."""
        if cluster not in self.feeds:
            raise Refused(400, f"input.parameters: no such cluster; {self._known()}")

    def read(self, cluster: str) -> Mapping[str, Place]:
        """Return the namespaces that were last read of a cluster that there is. NotReady: none have been yet."""
        feed = self.feeds[cluster]
        if feed.read is None:
            why = feed.problem or "still reading"
            raise NotReady(f"no complete read yet of the namespaces of the cluster {cluster} ({why})")
        return feed.read.rows

    async def run(self) -> None:
        """Follow every cluster for ever."""
        async with asyncio.TaskGroup() as tasks:
            for feed in self.feeds.values():
                tasks.create_task(feed.run(), name=feed.name)
            while True:
                for cluster in self._found():
                    tasks.create_task(self._add(cluster).run(), name=cluster.name)
                await asyncio.sleep(_RECHECK)

    def _known(self) -> str:
        if not self.feeds:
            return "there is none: add cluster to TENANTRY_SOURCES, or set TENANTRY_CLUSTERS_DIR"
        shown = sorted(self.feeds)[:_SHOWN]
        return f"known are {', '.join(shown)}{', …' if len(self.feeds) > _SHOWN else ''}"

    def _add(self, cluster: _Cluster) -> Feed:
        feed = self.feeds[cluster.cluster] = Feed(cluster, self._metrics, lambda: self.on_read())
        return feed

    def _found(self) -> Iterator[_Cluster]:
        """Yield each cluster whose kubeconfig was not there before; names with a dot in front are the kubelet's own."""
        if self._directory is None:
            return
        try:
            files = sorted(path for path in self._directory.iterdir() if not path.name.startswith("."))
            files = [path for path in files if path.is_file()]
        except OSError as error:
            if str(error) != self._complaint:
                log.warning("the kubeconfigs can't be listed", directory=str(self._directory), reason=str(error))
            self._complaint = str(error)
            return
        self._complaint = None
        for path in files:
            if path.name not in self.feeds:
                yield _Cluster(path.name, file=path)


async def _connect(file: Path) -> Kube:
    try:
        return await Kube.connect(str(file))
    except SettingsError as error:
        raise SourceError(f"the kubeconfig {file.name} can't be used: {error.__cause__}") from error


def _content(file: Path) -> bytes:
    return file.read_bytes()
