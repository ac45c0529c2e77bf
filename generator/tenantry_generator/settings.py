"""The generator's settings: those of the plugin that it replaces (AUTH_TOKEN, DB_*), and its own, TENANTRY_*.

A wrong value ends the process before it serves anything, with one line; a secret never appears in that line.
"""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from tenantry.errors import SettingsError
from tenantry.names import ARGOCD_NAMESPACE
from tenantry.render import CLUSTER, POSTGRES, RESERVED, STATUS
from tenantry.settings import Environment, pod_namespace

__all__ = ["HELP", "Database", "Settings", "Table", "load_settings", "usable_token"]

HELP = """\
environment variables:
  AUTH_TOKEN               the bearer token that Argo CD sends
  TENANTRY_TOKEN_DIR       a directory of files with one token each, all of them valid, read again when they change; a
                           file NAME.selector binds the token NAME to the tenants that a label selector matches;
                           one of AUTH_TOKEN and TENANTRY_TOKEN_DIR is required
  TENANTRY_TLS_DIR         a directory with tls.crt and tls.key, read again when they change (default: plain HTTP)
  TENANTRY_SOURCES         where tenants come from: cluster, postgres (default: cluster,postgres)
  TENANTRY_CLUSTERS_DIR    a directory of kubeconfigs, each named after a cluster whose tenants' namespaces may be asked
                           for, read again when they change
  TENANTRY_LEASE_NAMESPACE namespace of the record, and of the Lease that lets one generator at a time answer (default,
                           where cluster is a source: the pod's own; outside a pod: no Lease, and there must be no
                           second generator)
  TENANTRY_POD_NAME        the pod to label while it answers; a Service can select it (default: none is labelled)
  TENANTRY_BIND            HOST:PORT to listen on (default: 0.0.0.0:4355)
  KUBECONFIG               the cluster; unset in a pod
  TENANTRY_ADMIN_TOKEN_DIR a directory of files with one token each that may acknowledge holds
  TENANTRY_RECORD_DIR      a directory for the record of what was served (default: ConfigMaps beside the Lease)
  TENANTRY_ARGOCD_NAMESPACE  namespace of Argo CD and its ApplicationSets (default: argocd)
  TENANTRY_CONFIGMAPS      ConfigMaps by which plugin generators ask here (default: tenantry)
  DB_HOST, DB_PORT         Postgres (default: localhost, 5432)
  DB_NAME                  its database (default: organization)
  DB_USER, DB_PASSWORD     its role (default: postgres, no password)
  TENANTRY_DATABASE_URL    postgresql://USER:PASSWORD@HOST:PORT/NAME?sslmode=verify-full; wins over DB_*
  TENANTRY_TABLE           TABLE or SCHEMA.TABLE (default: organization)
  TENANTRY_TENANT_COLUMN   the column that names the tenant (default: tenant)
  TENANTRY_COLUMNS         the other columns to publish, separated by commas (default: status)
"""

_DATABASE_URL = "TENANTRY_DATABASE_URL"
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_NAME = "letters, digits and _, not starting with a digit, written as the catalog has it"
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_HIDDEN = "(hidden)"
_PORT = 5432


@dataclass(frozen=True, slots=True)
class Database:
    """How to reach Postgres: `arguments` are those of asyncpg.connect; the rest but `hosts` is for messages.

    `user_setting`, `name_setting` and `address_setting` are the variables to look at when that part is wrong. `hosts`:
    each host and port where there are several, one of which is the primary.
    """

    arguments: Mapping[str, str | int | None] = field(repr=False)
    address: str
    user: str
    name: str
    user_setting: str
    name_setting: str
    address_setting: str
    hosts: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """What to read. `schema` is None where the role's search_path decides; `columns` are the keys to publish."""

    schema: str | None
    name: str
    tenant_column: str
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return self.name if self.schema is None else f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the process is told from outside. `auth_token` is None when only `token_dir` is used.

    `lease_namespace` is None where there is no Lease, `pod_name` where there is no pod to label.
    """

    auth_token: str | None = field(repr=False)
    token_dir: Path | None
    tls_dir: Path | None
    sources: tuple[str, ...]
    clusters_dir: Path | None
    host: str
    port: int
    lease_namespace: str | None
    pod_name: str | None
    database: Database
    table: Table
    admin_token_dir: Path | None
    record_dir: Path | None
    argocd_namespace: str
    config_maps: tuple[str, ...]


def load_settings(values: Mapping[str, str]) -> Settings:
    """Read the settings out of environment variables; SettingsError names the first one that is wrong."""
    env = Environment(values)
    token_dir = env.directory("TENANTRY_TOKEN_DIR")
    auth_token = _auth_token(env, token_dir)
    sources = env.listing("TENANTRY_SOURCES", f"{CLUSTER},{POSTGRES}", choices=(CLUSTER, POSTGRES))
    if CLUSTER in sources:
        _check_kubeconfig(env)
    host, port = env.bind("TENANTRY_BIND", "0.0.0.0:4355")
    return Settings(
        auth_token=auth_token,
        token_dir=token_dir,
        tls_dir=env.directory("TENANTRY_TLS_DIR"),
        sources=sources,
        clusters_dir=env.directory("TENANTRY_CLUSTERS_DIR"),
        host=host,
        port=port,
        lease_namespace=_lease_namespace(env, sources),
        pod_name=env.text("TENANTRY_POD_NAME") or None,
        database=_database(env),
        table=_table(env),
        admin_token_dir=env.directory("TENANTRY_ADMIN_TOKEN_DIR"),
        record_dir=env.directory("TENANTRY_RECORD_DIR"),
        argocd_namespace=env.namespace("TENANTRY_ARGOCD_NAMESPACE") or ARGOCD_NAMESPACE,
        config_maps=env.listing("TENANTRY_CONFIGMAPS", "tenantry"),
    )


def usable_token(token: str) -> bool:
    """Whether a client can send `token`, and nobody takes it for a reference that Argo CD failed to resolve."""
    return bool(token) and token.isascii() and token.isprintable() and " " not in token and not token.startswith("$")


def _auth_token(env: Environment, token_dir: Path | None) -> str | None:
    held = env.text("AUTH_TOKEN")
    if not held:
        if token_dir is None:
            raise SettingsError("AUTH_TOKEN", None, "the bearer token that Argo CD sends; or set TENANTRY_TOKEN_DIR")
        return None
    token = held.strip()
    if not usable_token(token):
        accepts = "printable ASCII without spaces that does not start with '$', which is an unresolved reference"
        raise SettingsError("AUTH_TOKEN", _HIDDEN, accepts)
    return token


def _check_kubeconfig(env: Environment) -> None:
    """Look only whether there is a file: the client reads it, but answers a missing one with a riddle."""
    held = env.text("KUBECONFIG")
    if held and not any(Path(file).is_file() for file in held.split(os.pathsep)):
        raise SettingsError("KUBECONFIG", held, "the path of a kubeconfig file that exists; in a pod, leave it unset")


def _lease_namespace(env: Environment, sources: Collection[str]) -> str | None:
    if namespace := env.namespace("TENANTRY_LEASE_NAMESPACE"):
        return namespace
    return pod_namespace() if CLUSTER in sources and not env.text("KUBECONFIG") else None


def _table(env: Environment) -> Table:
    held = env.text("TENANTRY_TABLE", "organization")
    parts = held.split(".")
    if len(parts) > 2 or not all(_IDENTIFIER.fullmatch(part) for part in parts):
        raise SettingsError("TENANTRY_TABLE", held, f"TABLE or SCHEMA.TABLE, each of {_NAME}")
    tenant_column = env.text("TENANTRY_TENANT_COLUMN", "tenant")
    if not _IDENTIFIER.fullmatch(tenant_column):
        raise SettingsError("TENANTRY_TENANT_COLUMN", tenant_column, f"one column's name: {_NAME}")
    schema = parts[0] if len(parts) == 2 else None
    return Table(schema=schema, name=parts[-1], tenant_column=tenant_column, columns=_columns(env))


def _columns(env: Environment) -> tuple[str, ...]:
    name = "TENANTRY_COLUMNS"
    held = env.text(name, STATUS)
    columns = env.listing(name, STATUS)
    if "*" in columns:
        reason = "'*' would publish every column, password hashes too, into Argo CD's logs"
        raise SettingsError(name, held, f"the names of the columns to publish, separated by commas; {reason}")
    if not columns or not all(_IDENTIFIER.fullmatch(column) for column in columns):
        raise SettingsError(name, held, f"names of columns, separated by commas: {_NAME}")
    if taken := sorted(RESERVED.difference({STATUS}).intersection(columns)):
        reason = f"{', '.join(taken)} is taken; rename it in a view and name that in TENANTRY_TABLE"
        raise SettingsError(name, held, f"names of columns that are no key of an answer or a request; {reason}")
    return columns


def _database(env: Environment) -> Database:
    if url := env.text(_DATABASE_URL):
        return _database_of_url(url)
    host, port = env.text("DB_HOST", "localhost"), env.integer("DB_PORT", _PORT, low=1, high=65535)
    user, name = env.text("DB_USER", "postgres"), env.text("DB_NAME", "organization")
    password = env.text("DB_PASSWORD") or None
    return Database(
        arguments={"host": host, "port": port, "user": user, "password": password, "database": name},
        address=f"{host}:{port}",
        user=user,
        name=name,
        user_setting="DB_USER and DB_PASSWORD",
        name_setting="DB_NAME",
        address_setting="DB_HOST and DB_PORT",
    )


def _database_of_url(url: str) -> Database:
    accepts = "postgresql://USER:PASSWORD@HOST:PORT/NAME, with special characters in USER and PASSWORD %-encoded"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise SettingsError(_DATABASE_URL, _HIDDEN, accepts) from None
    hosts = parts.netloc.rpartition("@")[2]
    name = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in ("postgresql", "postgres") or not name or not _valid_hosts(hosts) or parts.fragment:
        raise SettingsError(_DATABASE_URL, _HIDDEN, accepts)
    _check_query(parts)
    return Database(
        arguments={"dsn": url},
        address=hosts,
        user=unquote(parts.username or ""),
        name=name,
        user_setting=_DATABASE_URL,
        name_setting=_DATABASE_URL,
        address_setting=_DATABASE_URL,
        hosts=tuple(map(_host, hosts.split(","))) if "," in hosts else (),
    )


def _host(text: str) -> tuple[str, int]:
    """Return the name and the port of HOST[:PORT]; an address of IPv6 is in brackets."""
    bracketed = re.fullmatch(r"\[(.+)\](?::(\d+))?", text)
    name, port = bracketed.groups() if bracketed else text.partition(":")[::2]
    return name, int(port or _PORT)


def _valid_hosts(hosts: str) -> bool:
    """Whether `hosts` is HOST[:PORT], or several of them for a cluster with fail-over, separated by commas."""
    return all(re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+)(:\d{1,5})?", host) for host in hosts.split(","))


def _check_query(parts: SplitResult) -> None:
    query = parse_qs(parts.query, keep_blank_values=True)
    if any(mode not in _SSL_MODES for mode in query.get("sslmode", [])):
        accepts = f"sslmode={'|'.join(_SSL_MODES)}, of which only verify-full is safe"
        raise SettingsError(_DATABASE_URL, _HIDDEN, accepts)
    for option in ("sslrootcert", "sslcert", "sslkey"):
        for file in query.get(option, []):
            if not Path(file).is_file():
                raise SettingsError(_DATABASE_URL, _HIDDEN, f"{option}=FILE with a file that exists, unlike {file!r}")
