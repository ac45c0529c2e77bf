"""What can become of a request on its way to the API server and back."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Fate", "Hang", "LoseAck", "Pass", "Reject", "Reset"]


@dataclass(frozen=True, slots=True)
class Pass:
    """It arrives, and so does the answer."""


@dataclass(frozen=True, slots=True)
class Reject:
    """It does not arrive; the answer is this Status, with a Retry-After of so many seconds if one is given."""

    status: int
    reason: str
    message: str = "a fault that the test has put in"
    retry_after: int | None = None

    def answer(self, what: str) -> dict[str, Any]:
        """Return the Status object; `what` was rejected."""
        more = {} if self.retry_after is None else {"details": {"retryAfterSeconds": self.retry_after}}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": f"{self.message} ({what})",
            "reason": self.reason,
            "code": self.status,
            **more,
        }


@dataclass(frozen=True, slots=True)
class Hang:
    """It does not arrive, and there is no answer until the client gives up."""


@dataclass(frozen=True, slots=True)
class Reset:
    """It does not arrive, and the connection is reset."""


@dataclass(frozen=True, slots=True)
class LoseAck:
    """It arrives and is carried out, and the connection is reset instead of an answer."""


Fate = Pass | Reject | Hang | Reset | LoseAck
