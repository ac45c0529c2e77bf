"""Shorter times for a service's process, where a case would have to wait for long. They change nothing else."""

from tenantry import lease
from tenantry_generator import membership

__all__ = ["forget_acknowledgements_soon", "short_leases"]


def forget_acknowledgements_soon() -> None:
    """Have an unused acknowledgement expire after two seconds."""
    membership.ACKNOWLEDGED_FOR = 2.0


def short_leases() -> None:
    """Have a Lease last four seconds, with everything in proportion."""
    timing = lease.LeaseTiming(duration=4, renew_deadline=2.5, retry_period=0.5)
    lease.LeaseTiming = lambda: timing  # type: ignore[assignment,misc]
