"""The generator's record in a cluster, which a test has to forget: another's generator would go on from it."""

from contextlib import suppress
from typing import Any

from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.resources import CONFIG_MAPS
from tenantry_generator.record.configmaps import RECORD_LABEL

__all__ = ["forget_record", "record_parts"]


async def record_parts(kube: Kube, namespace: str) -> list[dict[str, Any]]:
    """Return the ConfigMaps of the record."""
    return list((await kube.list(CONFIG_MAPS, namespace, RECORD_LABEL))["items"])


async def forget_record(kube: Kube, namespace: str) -> None:
    """Delete the record."""
    for part in await record_parts(kube, namespace):
        with suppress(NotFound):
            await kube.delete(CONFIG_MAPS, part["metadata"]["name"], namespace)
