"""Whether an AppProject can go: whether no Application refers to it any more."""

from tenantry.errors import InUse
from tenantry.kube import Kube
from tenantry.resources import APPLICATIONS

__all__ = ["check_unused"]

_NAMED = 5


async def check_unused(kube: Kube, project: str, namespace: str) -> None:
    """Return if no Application of the cluster, in whichever namespace, names the AppProject; raise InUse if one does.

    Read live and page by page: a cache of all Applications would be kept for a moment in a tenant's life.
    """
    found: list[str] = []
    async for page in kube.pages(APPLICATIONS):
        for body in page["items"]:
            if body.get("spec", {}).get("project") == project:
                found.append("{namespace}/{name}".format(**body["metadata"]))
        if len(found) > _NAMED:
            break
    if found:
        more = " and others" if len(found) > _NAMED else ""
        raise InUse(
            f"AppProject {namespace}/{project} is still used by the Applications {', '.join(found[:_NAMED])}{more}; "
            "it is deleted once they are gone or moved to another project, or kept by deletionPolicy Retain"
        )
