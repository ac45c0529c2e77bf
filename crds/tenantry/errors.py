"""What can go wrong, named by what the caller can do about it.

    TenantryError
    ├── SettingsError          a setting is wrong: the process ends with one line
    ├── InvalidTenant          an object that the model refuses, with every reason
    ├── InUse                  what is to be deleted is still referred to; look again later
    └── KubeError              the API server's answer, or the lack of one
        ├── Unauthorized       401: credentials
        ├── Forbidden          403: RBAC or admission
        ├── NotFound           404
        ├── Conflict           409: somebody else was first; read again
        ├── Gone               410: the resourceVersion or continue token has expired; list again
        ├── Invalid            400, 413, 422: the request itself; trying again is of no use
        ├── Throttled          429: try again after `retry_after` seconds
        └── Unavailable        5xx, a time-out, a broken connection: nothing is known, try again

Errors of libraries are translated where the library is called, so nothing above that line imports their classes.
"""

__all__ = [
    "Conflict",
    "Forbidden",
    "Gone",
    "InUse",
    "Invalid",
    "InvalidTenant",
    "KubeError",
    "NotFound",
    "SettingsError",
    "TenantryError",
    "Throttled",
    "Unauthorized",
    "Unavailable",
]


class TenantryError(Exception):
    """Root of every error that Tenantry raises on purpose."""


class SettingsError(TenantryError):
    """A setting holds what the process can't work with; the text names it, what it held and what it accepts."""

    def __init__(self, variable: str, held: str | None, accepts: str) -> None:
        self.variable = variable
        what = "is not set" if held is None else f"holds {held!r}"
        super().__init__(f"{variable} {what}; it accepts {accepts}")


class InvalidTenant(TenantryError):
    """An object that is no usable Tenant or TenantClass; the text lists each field and its reason."""


class InUse(TenantryError):
    """What is to be deleted is still referred to by somebody; the message names whom."""


class KubeError(TenantryError):
    """A request to the API server that did not succeed.

    `status` is the HTTP status, 0 when there was no answer; `reason` is the Status object's machine-readable reason.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class Unauthorized(KubeError):
    """401."""


class Forbidden(KubeError):
    """403."""


class NotFound(KubeError):
    """404. For a LIST this means that the kind is not served: an error, never an empty set."""


class Conflict(KubeError):
    """409."""


class Gone(KubeError):
    """410."""


class Invalid(KubeError):
    """400, 413 or 422."""


class Throttled(KubeError):
    """429."""


class Unavailable(KubeError):
    """5xx, a time-out, or no usable answer at all."""
