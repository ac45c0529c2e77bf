"""Says what is served and what is held: to the log when that changes, and to the metrics."""

import time
from collections.abc import Sequence

from tenantry.render import CLUSTER, POSTGRES
from tenantry.telemetry import get_logger
from tenantry_generator.membership import Membership, holds
from tenantry_generator.metrics import Metrics
from tenantry_generator.snapshot import Snapshot

__all__ = ["measure", "report_holds"]

log = get_logger(__name__)

_NAMES_IN_LOG = 20


def measure(snapshot: Snapshot, membership: Membership, sources: Sequence[str], metrics: Metrics) -> None:
    """Show what is served, by source."""
    merged = membership.merged
    metrics.shadowed_rows.set(merged.shadowed)
    metrics.snapshot_revision.set(snapshot.revision)
    metrics.snapshot_changed.set(time.time())
    by_source = {CLUSTER: len(merged.cluster), POSTGRES: len(merged.database) - merged.shadowed}
    for name in sources:
        metrics.snapshot_tenants.labels(name).set(by_source[name])


def report_holds(before: Membership, after: Membership, metrics: Metrics) -> None:
    """Log each hold that began or is over, and show those that stand."""
    was, now = ({hold.hash: hold for hold in holds(each)} for each in (before, after))
    for key in now.keys() - was.keys():
        hold = now[key]
        log.warning(
            "too many are missing at once: they are held, and served as they were last seen",
            set=hold.set,
            held=len(hold.names),
            names=sorted(hold.names)[:_NAMES_IN_LOG],
            why=hold.why,
            hash=key,
        )
    for key in was.keys() - now.keys():
        log.info("a hold is over", set=was[key].set, hash=key, acknowledged=key in after.acknowledged)
    metrics.set_holds(after)
