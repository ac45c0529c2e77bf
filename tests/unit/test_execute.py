"""Deleting a namespace on the word of a plan that is out of date, a race that a real API server shows only by luck."""

from typing import Any, cast

import pytest

from tenantry.errors import Conflict
from tenantry.kube import Kube
from tenantry.names import FIELD_MANAGER
from tenantry_operator.actions import DeleteNamespace
from tenantry_operator.children.child import ChildKey
from tenantry_operator.entry import Entry, entry_of
from tenantry_operator.execute import execute


class Live:
    """An API server that has one namespace; it notes what is deleted."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.deleted: list[tuple[str, str]] = []

    async def get(self, *_: object) -> dict[str, Any]:
        return self.body

    async def delete(self, _: object, name: str, *, uid: str, resource_version: str) -> None:
        self.deleted.append((uid, resource_version))


class Forgetful:
    """Takes nothing in."""

    def absorb(self, entry: Entry, body: dict[str, Any]) -> None: ...

    def discard(self, entry: Entry, action: ChildKey) -> None: ...


def live(owner: str = "acme", entry: str | None = "dev", *, uid: str = "u") -> dict[str, Any]:
    labels = {"tenantry.dev/tenant": owner}
    annotations = {} if entry is None else {"tenantry.dev/entry": f"acme/{entry}"}
    ours: dict[str, Any] = {
        "f:labels": {f"f:{key}": {} for key in labels},
        "f:annotations": {f"f:{key}": {} for key in annotations},
    }
    managed = [{"manager": FIELD_MANAGER, "fieldsV1": {"f:metadata": ours}}]
    metadata = {"name": "acme-dev", "uid": uid, "resourceVersion": "9", "labels": labels, "annotations": annotations}
    return {"metadata": {**metadata, "managedFields": managed}}


async def carry_out(server: Live) -> None:
    tenant = entry_of({"metadata": {"name": "acme", "uid": "t", "resourceVersion": "1"}, "spec": {}})
    action = DeleteNamespace("acme-dev", "u")
    await execute(cast(Kube, server), tenant, action, cast(Any, Forgetful()))


async def test_a_namespace_is_deleted_as_it_was_just_read() -> None:
    server = Live(live())
    await carry_out(server)
    assert server.deleted == [("u", "9")]


@pytest.mark.parametrize("body", [live("other"), live(entry=None), live(uid="another")])
async def test_a_namespace_that_is_not_the_tenants_to_delete_any_more_is_left_alone(body: dict[str, Any]) -> None:
    server = Live(body)
    with pytest.raises(Conflict, match="is no longer that of tenant acme; it is not deleted"):
        await carry_out(server)
    assert server.deleted == []
