"""Deliberate defects for the families of inputs, drift and strangers: each a mistake that would be easy to make."""

from dataclasses import replace
from typing import Any

from tenantry import argocd, classes
from tenantry_operator import plan_children, plan_namespaces, projects
from tenantry_operator.actions import DeleteNamespace
from tenantry_operator.children import namespace

__all__ = [
    "believe_in_projects",
    "forget_time_zones",
    "leave_labels",
    "make_namespaces_anew",
    "take_a_missing_class_for_none",
    "trust_the_digest",
]


def forget_time_zones() -> None:
    """Leave a field of the spec without effect."""
    window: Any = argocd.SyncWindow
    whole = window.as_json
    window.as_json = lambda self: {key: value for key, value in whole(self).items() if key != "timeZone"}


def take_a_missing_class_for_none() -> None:
    """Merge a Tenant that names a class which is not there with no class at all, and say nothing of it."""
    module: Any = classes
    choose = module._choose
    module._choose = lambda tenant, known: (choose(tenant, known)[0], None)


def leave_labels() -> None:
    """Take nothing off a namespace that the spec has dropped."""
    module: Any = namespace
    module.stale_patch = lambda *_: None


def trust_the_digest() -> None:
    """Look at nothing of a child but its digest."""
    module: Any = plan_children
    module.agrees = lambda child, present: child.digest == present.digest


def make_namespaces_anew() -> None:
    """Delete a namespace that is not as it should be; then it is made as it should be."""
    module: Any = plan_namespaces
    towards = module._towards

    def anew(body: dict[str, Any], present: Any) -> Any:
        if present is None or present.owner is None:
            return towards(body, present)
        return DeleteNamespace(body["metadata"]["name"], present.uid)

    module._towards = anew


def believe_in_projects() -> None:
    """Go on with what was last seen of AppProjects when the kind is not served."""
    cache: Any = projects.ProjectCache
    look = cache.look

    def believing(self: Any, tenant: str, wanted: str) -> Any:
        return replace(look(self, tenant, wanted), served=True, trouble="")

    cache.look = believing
