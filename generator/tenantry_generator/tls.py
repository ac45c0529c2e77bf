"""The certificate of the server, read again when its Secret changes.

A renewed pair is loaded whole into a context of its own, and new connections are handed over to that; those that there
are keep the one that they began with. A pair that can't be used changes nothing, since the one before it still works.
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from tenantry.errors import SettingsError
from tenantry.telemetry import get_logger

__all__ = ["Certificates"]

log = get_logger(__name__)

_RECHECK = 2.0
_FILES = ("tls.crt", "tls.key")

_Fingerprint = tuple[tuple[int, int, int], ...]


class Certificates:
    """The pair in `directory`, a Secret of the type kubernetes.io/tls. `show` is told whether the last one was refused.

    SettingsError: there is no usable one to begin with.
    """

    def __init__(self, directory: Path, *, show: Callable[[bool], None]) -> None:
        self._directory = directory
        self._show = show
        self._complaint = ""
        try:
            self._seen = self._fingerprint()
            self._current = self._load()
            self.context = self._load()
        except (OSError, ssl.SSLError) as error:
            accepts = f"a directory with tls.crt and tls.key that belong together, in PEM ({_reason(error)})"
            raise SettingsError("TENANTRY_TLS_DIR", str(directory), accepts) from error
        # Called for each new connection, also of a client that names no host.
        self.context.sni_callback = self._hand_over
        show(False)

    async def follow(self) -> None:
        """Read the pair again, for ever, when it has changed."""
        while True:
            await asyncio.sleep(_RECHECK)
            self._look()

    def _look(self) -> None:
        try:
            seen = self._fingerprint()
            if seen == self._seen:
                return
            loaded = self._load()
            if self._fingerprint() != seen:
                return  # changed meanwhile: the next look gets both of one time
        except (OSError, ssl.SSLError) as error:
            self._refuse(_reason(error))
            return
        self._current, self._seen = loaded, seen
        self._complaint = ""
        self._show(False)
        log.info("read the certificate anew", directory=str(self._directory))

    def _refuse(self, reason: str) -> None:
        if reason != self._complaint:
            log.error(
                "the new certificate can't be used; the last one stays", directory=str(self._directory), reason=reason
            )
        self._complaint = reason
        self._show(True)

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        certificate, key = (self._directory / name for name in _FILES)
        context.load_cert_chain(certificate, key, password=_no_password)
        return context

    def _fingerprint(self) -> _Fingerprint:
        stats = [(self._directory / name).stat() for name in _FILES]
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)

    def _hand_over(self, connection: ssl.SSLObject, host: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._current


def _no_password() -> str:
    raise OSError("tls.key asks for a password, and there is none")


def _reason(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
