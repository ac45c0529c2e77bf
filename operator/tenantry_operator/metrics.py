"""The operator's metrics, under the names that controller-runtime gives them, so that stock dashboards and alerts work.

kopf has none. They are on a registry of their own, so that tests and processes never share one. Nothing here has a
label per tenant: ten thousand of them would be ten thousand series.
"""

from collections.abc import Callable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

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
