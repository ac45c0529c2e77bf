"""What hits a table, how that is mended, and the ApplicationSets that are to survive it."""

from collections.abc import Sequence
from typing import Any

from tests.faults.generator.deletions import TENANT
from tests.faults.generator.parts import Table
from tests.faults.generator.schedule import Disaster, Kind
from tests.support import article
from tests.support.argocd import NAMESPACE

__all__ = ["ACTIVE", "LEFT", "application_set", "heal", "strike"]

ACTIVE, LEFT = "active", "suspended"
"""The status that an ApplicationSet may ask for, and another one."""


async def strike(table: Table, disaster: Disaster, hit: Sequence[str]) -> None:
    """Do to a table, or to the way to it, what the disaster is; `hit` are the tenants whom it strikes."""
    match disaster:
        case Disaster.EMPTIED:
            await table.sql("TRUNCATE organization")
        case Disaster.MANY:
            await table.delete(hit)
        case Disaster.STATUS:
            await table.set_status(hit, LEFT)
        case Disaster.RENAMED:
            await table.sql("ALTER TABLE organization RENAME TO elsewhere; NOTIFY tenantry")
        case Disaster.REPLACED:
            another = f"ALTER TABLE organization RENAME TO elsewhere; {article.TABLE}; NOTIFY tenantry"
            await table.sql(another)
        case Disaster.REFUSED:
            table.gate.shut()
        case Disaster.SILENT:
            table.gate.mute()


async def heal(table: Table, disaster: Disaster, hit: Sequence[str]) -> None:
    """Undo it. Of an emptied table everybody has been hit, and `other`, who has another status."""
    match disaster:
        case Disaster.EMPTIED:
            await table.insert({**dict.fromkeys(hit, ACTIVE), "other": LEFT})
        case Disaster.MANY:
            await table.insert(dict.fromkeys(hit, ACTIVE))
        case Disaster.STATUS:
            await table.set_status(hit, ACTIVE)
        case Disaster.RENAMED:
            await table.sql("ALTER TABLE elsewhere RENAME TO organization; NOTIFY tenantry")
        case Disaster.REPLACED:
            back = "DROP TABLE organization; ALTER TABLE elsewhere RENAME TO organization; NOTIFY tenantry"
            await table.sql(back)
    table.gate.heal()


def application_set(mark: str, kind: Kind) -> dict[str, Any]:
    """Return an ApplicationSet that asks in one way, with an Application for each tenant."""
    plugin: dict[str, Any] = {"configMapRef": {"name": mark}, "requeueAfterSeconds": 60}
    if kind is Kind.INPUT:
        plugin["input"] = {"parameters": {"status": ACTIVE}}
    generator: dict[str, Any] = {"plugin": plugin}
    if kind is Kind.SELECTOR:
        generator["selector"] = {"matchLabels": {"status": ACTIVE}}
    template = {
        "metadata": {"name": f"{mark}-{{{{ .name }}}}", "labels": {TENANT: "{{ .tenant }}"}},
        "spec": {
            "project": "default",
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"},
            "source": {"repoURL": "https://git.example.com/x.git", "targetRevision": "main", "path": "x"},
        },
    }
    options = {"goTemplate": True, "goTemplateOptions": ["missingkey=error"]}
    return {
        "metadata": {"name": mark, "namespace": NAMESPACE},
        "spec": {**options, "generators": [generator], "template": template},
    }
