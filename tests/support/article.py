"""The article that Tenantry starts from: its ApplicationSet, its table, and the ten tenants of its listing.

Whoever followed the article must be able to put Tenantry in the place of its plugin, so tests and the demo use what it
shows, letter by letter.
"""

from pathlib import Path
from typing import Any

import yaml

__all__ = ["APPLICATIONS", "CONFIG_MAP", "TABLE", "TENANTS", "application", "application_set", "rows"]

_FILE = Path(__file__).with_name("article.yaml")

CONFIG_MAP = "tenant-generator-plugin"
"""The ConfigMap that the ApplicationSet names."""

TABLE = "CREATE TABLE organization (tenant text PRIMARY KEY, status text NOT NULL)"

TENANTS = {
    "global_tech": "active",
    "beta_solutions": "active",
    "jupiter_networks": "trial",
    "echo_innovations": "active",
    "innova_systems": "trial",
    "acme_corp": "active",
    "horizon_enterprises": "active",
    "foxtrot_consulting": "trial",
    "gamma_industries": "trial",
    "delta_technologies": "active",
}
"""Raw tenant to status: no DNS names, which is why the article's template says `lower | replace "_" "-"`."""


def application(tenant: str) -> str:
    """Return the name that the ApplicationSet's template gives a tenant's Application."""
    return f"foobar-app-{tenant.lower().replace('_', '-')[:53]}"


APPLICATIONS = frozenset(map(application, TENANTS))


def application_set(config_map: str = CONFIG_MAP) -> dict[str, Any]:
    """Return the article's ApplicationSet, unchanged but for the name of the ConfigMap."""
    body: dict[str, Any] = yaml.safe_load(_FILE.read_text())
    body["spec"]["generators"][0]["plugin"]["configMapRef"]["name"] = config_map
    return body


def rows(*tenants: tuple[str, str]) -> str:
    """Return SQL that inserts (tenant, status) rows; for names and statuses without quotes."""
    return "INSERT INTO organization VALUES " + ", ".join(f"('{tenant}', '{status}')" for tenant, status in tenants)
