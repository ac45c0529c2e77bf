"""The generator's metrics, on a registry of its own so that tests and processes never share one."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from tenantry.measuring import ApiMetrics, Asked, Values, add_build_info
from tenantry_generator.answer_metrics import AnswerMetrics
from tenantry_generator.membership import Membership

__all__ = ["Metrics"]


class Metrics:
    """Instruments by purpose; those about a source have the label `source`."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        by_source = ("source",)
        self.answers = AnswerMetrics()
        registry.register(self.answers)
        self.answering = Gauge(
            "tenantry_answering", "1 while this replica answers; 0 while it stands by.", registry=registry
        )
        self.source_up = Gauge(
            "tenantry_source_up", "1 while the source is read without errors.", by_source, registry=registry
        )
        self.source_last_read = Gauge(
            "tenantry_source_last_read_timestamp_seconds",
            "Unix time at which the source was last known to be complete; 0 before.",
            by_source,
            registry=registry,
        )
        self.snapshot_tenants = Gauge(
            "tenantry_snapshot_tenants", "Tenants being served, by where they come from.", by_source, registry=registry
        )
        self.snapshot_revision = Gauge(
            "tenantry_snapshot_revision", "Revision of what is served; it grows with every change.", registry=registry
        )
        self.shadowed_rows = Gauge(
            "tenantry_shadowed_rows", "Database rows with a Tenant object of the same name.", registry=registry
        )
        self.rows_rejected = Counter(
            "tenantry_rows_rejected_total",
            "Rows and objects that could not be used, counted each time they are read.",
            ("source", "reason"),
            registry=registry,
        )
        self.guard_held = Gauge(
            "tenantry_guard_held_tenants",
            "Tenants, and namespaces of a cluster, that a source no longer has and the guard keeps serving.",
            by_source,
            registry=registry,
        )
        self._holds = Gauge("tenantry_guard_holds", "Holds that stand, by set.", ("set",), registry=registry)
        self._view_held = Gauge(
            "tenantry_guard_held_elements",
            "Elements that no longer match what an ApplicationSet asks for and the guard keeps serving.",
            ("applicationset",),
            registry=registry,
        )
        self.record_save = Histogram(
            "tenantry_record_save_seconds",
            "Time to write the record, whether that succeeded or not.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
            registry=registry,
        )
        self.record_errors = Counter(
            "tenantry_record_errors_total", "Times that the record could not be read or written.", registry=registry
        )
        self.record_revision = Gauge(
            "tenantry_record_revision", "Revision of the record as last written or read.", registry=registry
        )
        self.first_contact_refused = Counter(
            "tenantry_first_contact_refusals_total",
            "Answers refused since an ApplicationSet owns more Applications than they have elements.",
            ("applicationset",),
            registry=registry,
        )
        self.connections_ended = Counter(
            "tenantry_connections_ended_total",
            "Connections that a limit ended: for a header or a reader that took too long, or for want of room.",
            ("reason",),
            registry=registry,
        )
        self.tls_pair_refused = Gauge(
            "tenantry_tls_pair_refused",
            "1 while what is in TENANTRY_TLS_DIR can't be used, and the pair before it still is.",
            registry=registry,
        )
        self.pushes = Counter(
            "tenantry_push_total",
            "Tries to annotate an ApplicationSet so that it asks at once, by result.",
            ("result",),
            registry=registry,
        )
        self.push_pending = Gauge(
            "tenantry_push_pending",
            "ApplicationSets that have not fetched a change of their answer.",
            registry=registry,
        )
        self.push_delivery = Histogram(
            "tenantry_push_delivery_seconds",
            "Time from a change being served to the answer that has it being fetched.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            registry=registry,
        )
        self._add_answers(registry)
        self._add_sources(registry)
        add_build_info(registry)
        self.api = ApiMetrics(registry)

    def _add_answers(self, registry: CollectorRegistry) -> None:
        self._elements = Gauge(
            "tenantry_getparams_elements",
            "Elements in the last answer to an ApplicationSet that makes one Application of each of them: "
            "its one generator asks here, and has no selector.",
            ("applicationset",),
            registry=registry,
        )
        self.auth_failures = Counter(
            "tenantry_auth_failures_total",
            "Requests without a valid token: missing; unresolved, Argo CD having found no Secret; or unknown.",
            ("reason",),
            registry=registry,
        )
        for reason in ("missing", "unresolved", "unknown"):
            self.auth_failures.labels(reason)

    def _add_sources(self, registry: CollectorRegistry) -> None:
        self.snapshot_changed = Gauge(
            "tenantry_snapshot_timestamp_seconds",
            "Unix time since when what is served has been as it is; 0 before anything was.",
            registry=registry,
        )
        self.quarantined = Gauge(
            "tenantry_quarantined_tenants",
            "Tenants that the source has and that can't be used as they are: served as last good, or not at all.",
            ("source",),
            registry=registry,
        )
        self.discarded = Counter(
            "tenantry_snapshot_discarded_total",
            "Changes that were not served when they came: not_recorded, the record can't be written; conflict, "
            "another process has written it; or defect, an error of ours.",
            ("reason",),
            registry=registry,
        )
        for reason in ("not_recorded", "conflict", "defect"):
            self.discarded.labels(reason)

    def watch_postgres(
        self, *, listening: Callable[[], bool], connections: Callable[[], int], failures: Callable[[], int]
    ) -> None:
        """Ask these at every scrape: whether NOTIFY would be heard, connections opened, and times that it failed."""
        asked: tuple[tuple[type[GaugeMetricFamily] | type[CounterMetricFamily], str, str, Values], ...] = (
            (
                GaugeMetricFamily,
                "tenantry_postgres_listening",
                "1 while a NOTIFY would be heard.",
                lambda: {(): float(listening())},
            ),
            (
                CounterMetricFamily,
                "tenantry_postgres_connections_total",
                "Connections opened; also for a second look at a row that was missing.",
                lambda: {(): float(connections())},
            ),
            (
                CounterMetricFamily,
                "tenantry_postgres_failures_total",
                "Times that connecting or reading failed, and what was read was thrown away.",
                lambda: {(): float(failures())},
            ),
        )
        for family, name, text, values in asked:
            self._registry.register(Asked(family, name, text, (), values))

    def set_elements(self, applicationset: str, elements: int) -> None:
        """Show how many elements an ApplicationSet got that makes one Application of each."""
        self._elements.labels(self.answers.label(applicationset)).set(elements)

    def forget_elements(self) -> None:
        """Show none: another replica may have answered since."""
        self._elements.clear()

    def set_holds(self, membership: Membership) -> None:
        """Show what is held now, by set; a set without a hold has no line, but for the sources."""
        self._holds.clear()
        self._view_held.clear()
        for source, listing in membership.sources.items():
            self._holds.labels(f"source {source}").set(len(listing.holds))
            self.guard_held.labels(source).set(sum(len(hold.names) for hold in listing.holds))
        by_cluster: dict[str, set[str]] = {}
        for each in membership.namespaces.values():
            held = by_cluster.setdefault(each.expansion.cluster, set())
            held.update(*(hold.names for hold in each.holds))
            if each.holds:
                self._holds.labels(each.set).set(len(each.holds))
        for cluster, held in by_cluster.items():
            self.guard_held.labels(f"namespaces/{cluster}").set(len(held))
        for view in membership.views.values():
            if view.holds:
                self._holds.labels(view.set).set(len(view.holds))
                self._view_held.labels(view.applicationset).inc(len(view.held))

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)
