"""What the generator itself can't do, named by who has to act.

    TenantryError
    └── GeneratorError
        ├── SourceError      a source can't be read completely: nothing of this read may be used
        ├── Refused          the caller's request gets no answer: 4xx
        │   └── BadToken     for it has no token that is valid: 401, 403
        ├── NotReady         there is no answer that would be safe to give yet: 503
        ├── AssemblyError    an answer that is not what it ought to be was not sent: 500
        └── RecordError      the record of what was served can't be used
            ├── RecordUnavailable   it can't be read or written now: try again
            ├── RecordCorrupt       it is there and not whole: a person must restore or delete it
            └── RecordConflict      somebody else writes it: this process must not answer

Argo CD copies the message of an answer that is no success into the ApplicationSet's status, and older versions look at
the ApplicationSet again whenever that text changes; so no message holds an id, a time or a counter.
"""

from collections.abc import Mapping

from tenantry.errors import TenantryError

__all__ = [
    "AssemblyError",
    "BadToken",
    "GeneratorError",
    "NotReady",
    "RecordConflict",
    "RecordCorrupt",
    "RecordError",
    "RecordUnavailable",
    "Refused",
    "SourceError",
]


class GeneratorError(TenantryError):
    """Root of the generator's own errors."""


class SourceError(GeneratorError):
    """A source could not be read to its end; the text says why and what to do."""


class Refused(GeneratorError):
    """A request that is answered with `status` (4xx), the message and `headers`."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class BadToken(Refused):
    """A request without a valid token. `kind`, for a metric: `missing`, `unresolved` by Argo CD, or `unknown`."""

    def __init__(self, kind: str, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, headers=headers)
        self.kind = kind


class NotReady(GeneratorError):
    """Any answer now would be short, and a short answer deletes Applications."""


class AssemblyError(GeneratorError):
    """The bytes of an answer don't add up to the rows that it was to hold."""


class RecordError(GeneratorError):
    """The record of what was served can't be read or written; the text names the object and what to do."""


class RecordUnavailable(RecordError):
    """Nothing is known about what is kept, or nothing was written; the same call may succeed later."""


class RecordCorrupt(RecordError):
    """A part of the record is missing or not what was written. It is not the same as having no record."""


class RecordConflict(RecordError):
    """Somebody else has written since this process last read or wrote the record."""
