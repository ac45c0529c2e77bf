"""Translates what the API server says, or fails to say, into tenantry.errors."""

import json
import os
from collections.abc import Mapping
from typing import Any

import aiohttp

from tenantry.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    Throttled,
    Unauthorized,
    Unavailable,
)

__all__ = ["error_from_response", "error_from_status", "reason"]

_BY_STATUS: Mapping[int, type[KubeError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: Invalid,
    422: Invalid,
    429: Throttled,
}
_MISTYPED = "failed to create typed patch object"
"""What the API server says with a 500 when a value that is applied has another type than its field."""


def error_from_status(context: str, status: Mapping[str, Any], *, retry_after: float | None = None) -> KubeError:
    """Return the error that a Kubernetes Status object means; its message starts with `context`."""
    code = int(status.get("code") or 500)
    if retry_after is None and (details := status.get("details")):
        retry_after = details.get("retryAfterSeconds")
    message = status.get("message") or status.get("reason") or "no reason given"
    kind = _BY_STATUS.get(code, Unavailable if code >= 500 else Invalid)
    if code == 500 and _MISTYPED in message:
        kind = Invalid
    return kind(f"{context}: {message}", status=code, reason=str(status.get("reason") or ""), retry_after=retry_after)


def error_from_response(context: str, response: aiohttp.ClientResponse, raw: bytes) -> KubeError:
    """Return the error for an HTTP answer that is no success, whatever its body is."""
    try:
        status = json.loads(raw)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        status = {"message": raw[:200].decode(errors="replace").strip()}
    header = response.headers.get("Retry-After", "")
    retry_after = float(header) if header.isascii() and header.isdigit() else None
    # The HTTP status decides: a proxy in between may send a body that claims something else.
    return error_from_status(context, {**status, "code": response.status}, retry_after=retry_after)


def reason(error: BaseException) -> str:
    """Return why there was no whole answer, in words that stay the same from try to try."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno is not None:
        # The library's own text names one of several addresses, and Python objects.
        return f"can't connect to {error.host}:{error.port} ({os.strerror(abs(error.os_error.errno))})"
    return str(error) or type(error).__name__
