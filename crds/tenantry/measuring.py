"""What both services measure alike: their version, their requests to API servers, and what they hear from those.

Nothing is counted here: whoever knows a number keeps it, and is asked at every scrape.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tenantry.kube import Kube
from tenantry.reflector import Reflector

__all__ = ["ApiMetrics", "Asked", "Values", "add_build_info"]

Values = Callable[[], Mapping[tuple[str, ...], float]]
"""The value for each set of label values."""


class Asked(Collector):
    """A counter or a gauge whose values somebody else keeps: `values` is called at every scrape."""

    def __init__(
        self,
        family: type[CounterMetricFamily] | type[GaugeMetricFamily],
        name: str,
        text: str,
        labels: Sequence[str],
        values: Values,
    ) -> None:
        self._family = family
        self._about = (name, text)
        self._labels = tuple(labels)
        self._values = values

    def describe(self) -> Iterable[Metric]:
        """Return the metric without values, for the registry."""
        return [self._family(*self._about, labels=self._labels)]

    def collect(self) -> Iterable[Metric]:
        """Return the metric as it is now."""
        metric = self._family(*self._about, labels=self._labels)
        for labels, value in sorted(self._values().items()):
            metric.add_metric(labels, value)
        return [metric]


class ApiMetrics:
    """Requests by method and code, under client-go's name, and what each kind's caches hear."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._clients: list[Kube] = []
        self._caches: list[Callable[[], Iterable[Reflector[Any]]]] = []
        about = "Requests to API servers, by method and HTTP status; <error>: there was no whole answer."
        registry.register(
            Asked(CounterMetricFamily, "rest_client_requests_total", about, ("method", "code"), self._requests)
        )
        about = "Seconds since a watch of this kind last brought anything, bookmarks among it."
        registry.register(
            Asked(GaugeMetricFamily, "tenantry_watch_last_event_age_seconds", about, ("kind",), self._ages)
        )
        about = "Lists that were refused or doubted, as their resourceVersion was lower than one seen before."
        name = "tenantry_resource_version_regressions_total"
        registry.register(Asked(CounterMetricFamily, name, about, ("kind",), self._regressions))

    def watch(self, *clients: Kube, caches: Callable[[], Iterable[Reflector[Any]]] = tuple) -> None:
        """Ask these too: clients, and the caches that run at the time of a scrape."""
        self._clients += clients
        self._caches.append(caches)

    def _requests(self) -> Mapping[tuple[str, ...], float]:
        total = Counter[tuple[str, ...]]()
        for client in self._clients:
            total.update(client.requests)
        return total

    def _running(self) -> Iterable[Reflector[Any]]:
        return (cache for caches in self._caches for cache in caches())

    def _ages(self) -> Mapping[tuple[str, ...], float]:
        ages: dict[tuple[str, ...], float] = {}
        for cache in self._running():
            age = asyncio.get_running_loop().time() - cache.last_activity
            ages[cache.kind,] = max(age, ages.get((cache.kind,), 0.0))
        return ages

    def _regressions(self) -> Mapping[tuple[str, ...], float]:
        total = Counter[tuple[str, ...]]()
        for cache in self._running():
            total[cache.kind,] += cache.regressions
        return total


def add_build_info(registry: CollectorRegistry) -> None:
    """Add `tenantry_build_info`, whose label says which version runs."""
    info = Gauge("tenantry_build_info", "1; the label says which version runs.", ("version",), registry=registry)
    info.labels(version("tenantry")).set(1)
