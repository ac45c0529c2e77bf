"""Where the API server is and how to prove who we are, by the official client's own rules.

kubernetes.aio knows kubeconfig, exec plugins, OIDC and rotating ServiceAccount tokens; this module asks it for exactly
that and hides the rest, so that both services and kopf log in the same way.
"""

import asyncio
import contextlib
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import Configuration

from tenantry.errors import SettingsError
from tenantry.telemetry import get_logger

__all__ = ["Credentials", "load_credentials"]

log = get_logger(__name__)

_ACCEPTS = "the path of a kubeconfig file; in a pod, leave it unset"
_RENEWAL_PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """A loaded configuration: the API server's address, TLS and the current bearer token."""

    configuration: Configuration
    refresher: asyncio.Task[None] | None = None

    @property
    def server(self) -> str:
        """Address of the API server, with its scheme and without a trailing slash."""
        return str(self.configuration.host).rstrip("/")

    @property
    def proxy(self) -> str | None:
        """The proxy of the kubeconfig, if it names one."""
        return self.configuration.proxy or None

    def ssl_context(self) -> ssl.SSLContext:
        """Return the TLS context: the cluster's CA and, where there is one, the client certificate."""
        context = ssl.create_default_context(cafile=self.configuration.ssl_ca_cert)
        # Clusters' own CAs often lack the key identifiers that Python 3.13 asks for.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.configuration.cert_file:
            context.load_cert_chain(self.configuration.cert_file, self.configuration.key_file)
        if not self.configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    async def authorization(self) -> str | None:
        """Return the current Authorization header; a token that is due is read again first."""
        header: str | None = await self.configuration.get_api_key_with_prefix("BearerToken")
        if header is None:
            return None
        # The library hands out "bearer x" in a pod, and a bare token for some kubeconfigs.
        scheme, _, token = header.strip().partition(" ")
        return f"{scheme.capitalize()} {token.strip()}" if token else f"Bearer {scheme}"

    async def close(self) -> None:
        """Stop refreshing."""
        if self.refresher is not None:
            self.refresher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.refresher


async def load_credentials(kubeconfig: str | None = None) -> Credentials:
    """Load `kubeconfig`, else $KUBECONFIG, else the pod's ServiceAccount.

    Raises SettingsError, which names the variable, when there is none or it can't be used.
    """
    path = kubeconfig or os.environ.get("KUBECONFIG")
    configuration = Configuration()
    try:
        if not path:
            kubernetes_config.load_incluster_config(client_configuration=configuration)
            return Credentials(configuration)
        _require(path)
        loader = await kubernetes_config.load_kube_config(config_file=path, client_configuration=configuration)
    except (kubernetes_config.ConfigException, OSError, ValueError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError("KUBECONFIG", path or None, f"{_ACCEPTS} ({reason})") from error
    return Credentials(configuration, asyncio.create_task(_keep_fresh(loader, configuration), name="token refresh"))


def _require(path: str) -> None:
    if not any(Path(part).is_file() for part in path.split(os.pathsep)):
        raise FileNotFoundError("no such file")


async def _keep_fresh(loader: Any, configuration: Configuration) -> None:
    """Renew the token of an exec plugin or provider for ever; return at once where there is none to renew."""
    while True:
        try:
            await kubernetes_config.refresh_token(loader, client_configuration=configuration)
            return
        except (kubernetes_config.ConfigException, OSError, ValueError) as error:
            log.warning("renewing the Kubernetes token failed; trying again", error=str(error))
            await asyncio.sleep(_RENEWAL_PAUSE)
