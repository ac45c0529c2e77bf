"""The body of an Event, as both services write them: what has just happened to an object, for people to find."""

import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tenantry.names import GROUP

__all__ = ["event"]

_NOTE_LIMIT = 1024  # bytes
_INSTANCE_LIMIT = 128


def event(
    component: str,
    regarding: Mapping[str, str],
    *,
    about: str,
    namespace: str,
    action: str,
    reason: str,
    note: str,
    warning: bool,
) -> dict[str, Any]:
    """Return an events.k8s.io/v1 Event of now. `about`: what its generated name begins with; a long note is cut."""
    return {
        "metadata": {"generateName": f"{about}-", "namespace": namespace},
        "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "note": note.encode(errors="replace")[:_NOTE_LIMIT].decode(errors="ignore"),
        "action": action,
        "regarding": dict(regarding),
        "reportingController": f"{GROUP}/{component}",
        "reportingInstance": socket.gethostname()[:_INSTANCE_LIMIT],
    }
