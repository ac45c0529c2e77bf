"""The operator's metrics, under the names that controller-runtime gives them, so that stock dashboards and alerts work.

kopf has none. They are on a registry of their own, so that tests and processes never share one. Nothing here has a
label per tenant: ten thousand of them would be ten thousand series.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily

from tenantry.measuring import ApiMetrics, Asked, Values, add_build_info

__all__ = ["Metrics", "Result"]

Result = Literal["success", "error", "requeue"]

_CONTROLLER = "tenant"
_RECONCILE_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    *(1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60),
)
_QUEUE_BUCKETS = tuple(10.0**exponent for exponent in range(-8, 4))


class Metrics:
    """Instruments by purpose. What is a state and no event is read when it is asked for: see `watch_queue`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._reconciles = Counter(
            "controller_runtime_reconcile_total",
            "Looks at a tenant, by how they ended; requeue: somebody else wrote at the same time.",
            ("controller", "result"),
            registry=self._registry,
        )
        for result in ("success", "error", "requeue"):
            self._reconciles.labels(_CONTROLLER, result)
        self._errors = self._counter("controller_runtime_reconcile_errors_total", "Looks at a tenant that failed.")
        self._seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "How long a look at a tenant took.",
            ("controller",),
            buckets=_RECONCILE_BUCKETS,
            registry=self._registry,
        ).labels(_CONTROLLER)
        self.active_workers = self._gauge("controller_runtime_active_workers", "Workers that look at a tenant now.")
        self.max_workers = self._gauge("controller_runtime_max_concurrent_reconciles", "Workers that there are.")
        self.adds = self._queue_counter("workqueue_adds_total", "Tenants put into the queue.")
        self.retries = self._queue_counter("workqueue_retries_total", "Tenants put back after a failure.")
        self.queue_seconds = self._queue_histogram("workqueue_queue_duration_seconds", "Wait until work on it began.")
        self.work_seconds = self._queue_histogram("workqueue_work_duration_seconds", "Time from then until its end.")
        self._events = Counter(
            "tenantry_operator_events_total",
            "Events about Tenants: written, refused by the API server, or dropped because too many waited.",
            ("result",),
            registry=self._registry,
        )
        for outcome in ("written", "refused", "dropped"):
            self._events.labels(outcome)
        self._leading = Gauge(
            "leader_election_master_status",
            "1 while this process holds the Lease, 0 while it stands by.",
            ("name",),
            registry=self._registry,
        )

        self._repairs = Counter(
            "tenantry_operator_drift_repairs_total",
            "Objects in a tenant's namespaces that somebody had changed or deleted and that were put back.",
            ("kind",),
            registry=self._registry,
        )
        self._releases = Counter(
            "tenantry_operator_namespaces_let_go_total",
            "Namespaces that were deleted or released, by which of the two.",
            ("action",),
            registry=self._registry,
        )
        for action in ("deleted", "released"):
            self._releases.labels(action)
        self._prevented = Counter(
            "tenantry_operator_deletions_prevented_total",
            "Deletions that were not carried out as the object was no longer what the plan had seen.",
            registry=self._registry,
        )
        add_build_info(self._registry)
        self.api = ApiMetrics(self._registry)

    def count_repair(self, kind: str) -> None:
        """Count an object of that kind that was put back."""
        self._repairs.labels(kind).inc()

    def count_namespace(self, action: Literal["deleted", "released"]) -> None:
        """Count a namespace that was let go."""
        self._releases.labels(action).inc()

    def count_prevented(self) -> None:
        """Count a deletion that a look at the live object prevented."""
        self._prevented.inc()

    def watch_tenants(self, *, phases: Callable[[], Mapping[str, int]], ready: Callable[[], Mapping[str, int]]) -> None:
        """Ask at every scrape how many Tenants are in each phase, and how many have each status of Ready."""
        asked: tuple[tuple[str, str, str, Values], ...] = (
            ("tenantry_tenants", "Tenants, by phase.", "phase", lambda: _by_label(phases())),
            ("tenantry_tenants_ready", "Tenants, by the status of Ready.", "status", lambda: _by_label(ready())),
        )
        for name, text, label, values in asked:
            self._registry.register(Asked(GaugeMetricFamily, name, text, (label,), values))

    def count_reconcile(self, result: Result, seconds: float) -> None:
        """Count one look at a tenant."""
        self._reconciles.labels(_CONTROLLER, result).inc()
        self._seconds.observe(seconds)
        if result == "error":
            self._errors.inc()

    def count_event(self, result: Literal["written", "refused", "dropped"]) -> None:
        """Count what became of one Event."""
        self._events.labels(result).inc()

    def watch_queue(
        self, *, depth: Callable[[], float], unfinished: Callable[[], float], longest: Callable[[], float]
    ) -> None:
        """Ask these at every scrape: tenants that wait; seconds of work under way, summed up, and of the longest."""
        self._queue_gauge("workqueue_depth", "Tenants that wait in the queue.").set_function(depth)
        self._queue_gauge(
            "workqueue_unfinished_work_seconds", "Seconds that the looks under way have taken so far, summed up."
        ).set_function(unfinished)
        self._queue_gauge(
            "workqueue_longest_running_processor_seconds", "Seconds that the longest look under way has taken so far."
        ).set_function(longest)

    def watch_lease(self, name: str, held: Callable[[], bool]) -> None:
        """Ask at every scrape whether this process holds the Lease `name`."""
        self._leading.labels(name).set_function(lambda: float(held()))

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, ("controller",), registry=self._registry).labels(_CONTROLLER)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, ("controller",), registry=self._registry).labels(_CONTROLLER)

    def _queue_counter(self, name: str, text: str) -> Counter:
        labels = ("name", "controller")
        return Counter(name, text, labels, registry=self._registry).labels(_CONTROLLER, _CONTROLLER)

    def _queue_gauge(self, name: str, text: str) -> Gauge:
        labels = ("name", "controller")
        return Gauge(name, text, labels, registry=self._registry).labels(_CONTROLLER, _CONTROLLER)

    def _queue_histogram(self, name: str, text: str) -> Histogram:
        labels = ("name", "controller")
        histogram = Histogram(name, text, labels, buckets=_QUEUE_BUCKETS, registry=self._registry)
        return histogram.labels(_CONTROLLER, _CONTROLLER)


def _by_label(counts: Mapping[str, int]) -> Mapping[tuple[str, ...], float]:
    return {(label,): float(count) for label, count in counts.items()}
