"""Who may ask: bearer tokens, several at once so that they can be rotated without a gap.

401 and 403 are safe answers: Argo CD keeps every Application. Tokens are compared as digests, all of them each time, so
that neither the length nor the position of a match shows in the time that it takes.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from pathlib import Path

from tenantry.errors import SettingsError
from tenantry.telemetry import get_logger
from tenantry_generator.errors import BadToken
from tenantry_generator.settings import usable_token

__all__ = ["Tokens"]

log = get_logger(__name__)

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="tenantry"'}
_RECHECK = 2.0
_LONGEST = 8192

_Fingerprint = tuple[tuple[str, int, int, int], ...]


class Tokens:
    """The tokens that are valid now: `literal`, and one in each file of `directory`.

    Files whose name starts with a dot are the kubelet's own and are passed over. While the directory can't be read, or
    holds no token, the last ones stay valid. SettingsError when there is none to begin with and one is `required`.
    """

    def __init__(
        self,
        *,
        literal: str | None,
        directory: Path | None,
        required: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._literal = () if literal is None else (("AUTH_TOKEN", _digest(literal)),)
        self._directory = directory
        self._clock = clock
        self._from_files: tuple[tuple[str, bytes], ...] = ()
        self._fingerprint: _Fingerprint | None = None
        self._complaint: str | None = None
        self._checked_at = float("-inf")
        self._refresh()
        if required and not self:
            raise SettingsError("TENANTRY_TOKEN_DIR", str(directory), "a directory with at least one readable token")

    def __bool__(self) -> bool:
        """Whether there is any token."""
        self._refresh()
        return bool(self._literal or self._from_files)

    def check(self, headers: list[str]) -> str:
        """Return the name of the token, that of its file, in `headers`, the request's Authorization headers.

        BadToken: they are not one with a valid token.
        """
        scheme, _, token = headers[0].strip().partition(" ") if len(headers) == 1 else ("", "", "")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise BadToken(
                "missing", 401, "the request needs one header: Authorization: Bearer TOKEN", headers=_CHALLENGE
            )
        if token.startswith("$"):
            message = (
                "the token starts with '$': Argo CD could not resolve it; check that the Secret and the key that "
                "the plugin's ConfigMap names under `token` exist in Argo CD's namespace"
            )
            raise BadToken("unresolved", 401, message, headers=_CHALLENGE)
        self._refresh()
        given = _digest(token)
        tokens: tuple[tuple[str, bytes], ...] = (*self._literal, *self._from_files)
        known = [name for name, digest in tokens if hmac.compare_digest(digest, given)]
        if not known:
            raise BadToken("unknown", 403, "the token is not valid")
        return known[0]

    def _refresh(self) -> None:
        if self._directory is None or self._clock() - self._checked_at < _RECHECK:
            return
        self._checked_at = self._clock()
        try:
            found = _fingerprint(self._directory)
            if found == self._fingerprint:
                return
            digests = tuple(
                (name, _digest(token)) for name, *_ in found if (token := _read_token(self._directory / name))
            )
        except OSError as error:
            self._keep(str(error))
            return
        if not digests:
            self._keep("it holds no token")
            return
        self._from_files, self._fingerprint, self._complaint = digests, found, None
        log.info("read tokens", directory=str(self._directory), count=len(digests))

    def _keep(self, complaint: str) -> None:
        if complaint != self._complaint:
            log.warning("no new tokens; the last ones stay valid", directory=str(self._directory), reason=complaint)
        self._complaint = complaint


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _fingerprint(directory: Path) -> _Fingerprint:
    """Return what changes when a token does: the kubelet swaps a link, others write the file anew."""
    files = sorted(path for path in directory.iterdir() if not path.name.startswith(".") and path.is_file())
    stats = ((path.name, path.stat()) for path in files)
    return tuple((name, stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in stats)


def _read_token(path: Path) -> str | None:
    with path.open("rb") as file:
        token = file.read(_LONGEST).decode("utf-8", "replace").strip()
    if not usable_token(token):
        log.warning("no usable token: printable ASCII without spaces, not starting with '$'", file=str(path))
        return None
    return token
