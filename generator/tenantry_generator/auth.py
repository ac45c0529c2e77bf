"""Who may ask, and for what: bearer tokens, several at once so that they can be rotated without a gap.

401 and 403 are safe answers: Argo CD keeps every Application. Tokens are compared as digests, all of them each time, so
that neither the length nor the position of a match shows in the time that it takes. A token NAME is bound to the label
selector in the file NAME.selector beside it; where that can't be read, the token is not valid.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tenantry.errors import SettingsError
from tenantry.telemetry import get_logger
from tenantry_generator.errors import BadToken, Refused
from tenantry_generator.selector import EVERYTHING, Selector, parse_label_selector
from tenantry_generator.settings import usable_token

__all__ = ["Caller", "Tokens"]

log = get_logger(__name__)

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="tenantry"'}
_RECHECK = 2.0
_LONGEST = 8192
_SELECTOR = ".selector"

_Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose token it was: the name of its file, and what it is bound to."""

    name: str
    scope: Selector = EVERYTHING

    def require_unbound(self) -> None:
        """Raise Refused, 403, for a token that is bound: what is asked for would show other tenants too."""
        if self.scope is not EVERYTHING:
            raise Refused(403, "this token is bound to a selector, and only asks for parameters")


_Digests = tuple[tuple[Caller, bytes], ...]


class Tokens:
    """The tokens that are valid now: `literal`, and one in each file of `directory`.

    Files whose name starts with a dot are the kubelet's own and are passed over. While the directory can't be read, or
    holds no token, the last ones stay valid. A file NAME.selector holds what the token NAME is bound to. SettingsError
    when there is none to begin with and one is `required`.
    """

    def __init__(
        self,
        *,
        literal: str | None,
        directory: Path | None,
        required: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._literal: _Digests = () if literal is None else ((Caller("AUTH_TOKEN"), _digest(literal)),)
        self._directory = directory
        self._clock = clock
        self._from_files: _Digests = ()
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

    def check(self, headers: list[str]) -> Caller:
        """Return whose token is in `headers`, the request's Authorization headers.

        BadToken: they are not one with a valid token.
        """
        scheme, token, given = _read(headers[0]) if len(headers) == 1 else ("", "", b"")
        if scheme != "bearer" or not token:
            message = "the request needs one header: Authorization: Bearer TOKEN"
            raise BadToken("missing", 401, message, headers=_CHALLENGE)
        if token.startswith("$"):
            message = (
                "the token starts with '$': Argo CD could not resolve it; check that the Secret and the key that "
                "the plugin's ConfigMap names under `token` exist in Argo CD's namespace"
            )
            raise BadToken("unresolved", 401, message, headers=_CHALLENGE)
        self._refresh()
        tokens = (*self._literal, *self._from_files)
        known = [caller for caller, digest in tokens if hmac.compare_digest(digest, given)]
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
            digests = tuple(_read_tokens(self._directory, [name for name, *_ in found]))
            if _fingerprint(self._directory) != found:
                self._checked_at = float("-inf")  # changed meanwhile: a token and its selector may not be of one time
                return
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


@lru_cache(maxsize=16)
def _read(header: str) -> tuple[str, str, bytes]:
    """Return the scheme, the token and its digest; Argo CD sends the same for as long as it is valid."""
    scheme, _, token = header.strip().partition(" ")
    token = token.strip()
    return scheme.lower(), token, _digest(token)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _fingerprint(directory: Path) -> _Fingerprint:
    """Return what changes when a token does: the kubelet swaps a link, others write the file anew."""
    files = sorted(path for path in directory.iterdir() if not path.name.startswith(".") and path.is_file())
    stats = ((path.name, path.stat()) for path in files)
    return tuple((name, stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in stats)


def _read_tokens(directory: Path, names: list[str]) -> Iterator[tuple[Caller, bytes]]:
    """Yield the usable tokens; a file for a selector is never one."""
    for name in names:
        if name.endswith(_SELECTOR):
            if name.removesuffix(_SELECTOR) not in names:
                log.warning("a selector without a token of that name", file=str(directory / name))
            continue
        token = _read_token(directory / name)
        if token is None:
            continue
        bound = name + _SELECTOR
        scope = _read_selector(directory / bound) if bound in names else EVERYTHING
        if scope is not None:
            yield Caller(name, scope), _digest(token)


def _read_selector(path: Path) -> Selector | None:
    text = path.read_text("utf-8", "replace").strip()
    try:
        scope = parse_label_selector(text, "the selector")
    except Refused as error:
        scope, why = EVERYTHING, str(error)
    else:
        why = "it is empty"
    if not scope.requirements:
        log.warning("no usable selector, so its token is not valid", file=str(path), reason=why)
        return None
    return scope


def _read_token(path: Path) -> str | None:
    with path.open("rb") as file:
        token = file.read(_LONGEST).decode("utf-8", "replace").strip()
    if not usable_token(token):
        log.warning("no usable token: printable ASCII without spaces, not starting with '$'", file=str(path))
        return None
    return token
