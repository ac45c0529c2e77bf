"""Shorter times for a service's process, where a case would have to wait for long. They change nothing else."""

from tenantry_generator import membership

__all__ = ["forget_acknowledgements_soon"]


def forget_acknowledgements_soon() -> None:
    """Have an unused acknowledgement expire after two seconds."""
    membership.ACKNOWLEDGED_FOR = 2.0
