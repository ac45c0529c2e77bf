"""Actions on the word of a plan that is out of date, a race that a real API server shows only by luck; and refusals."""

from typing import Any, cast

import pytest

from tenantry.errors import Conflict, Invalid, KubeError, NotFound
from tenantry.kube import Applied, Kube
from tenantry.names import FIELD_MANAGER
from tenantry.resources import ROLE_BINDINGS
from tenantry_operator.actions import ApplyChild, DeleteChild, DeleteNamespace
from tenantry_operator.children.child import ChildKey, complete
from tenantry_operator.entry import Entry, entry_of
from tenantry_operator.execute import execute

ACME = entry_of({"metadata": {"name": "acme", "uid": "t", "resourceVersion": "1"}, "spec": {}})


class Live:
    """An API server that has one namespace; it notes what is deleted."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.deleted: list[tuple[str, str]] = []

    async def get(self, *_: object) -> dict[str, Any]:
        return self.body

    async def delete(self, _: object, name: str, *__: str, uid: str, resource_version: str) -> None:
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
    action = DeleteNamespace("acme-dev", "u")
    await execute(cast(Kube, server), ACME, action, cast(Any, Forgetful()))


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


@pytest.mark.parametrize(
    ("body", "deleted"),
    [({"labels": {}}, True), ({"uid": "another"}, False), ({"labels": {}, "uid": "another"}, False)],
)
async def test_a_child_whose_labels_were_taken_off_is_deleted_and_another_of_its_name_is_not(
    body: dict[str, Any], deleted: bool
) -> None:
    known = live()
    server = Live({"metadata": {**known["metadata"], **body}})
    action = DeleteChild(ROLE_BINDINGS, ("RoleBinding", "a", "tenantry-owner"), "u", "8")
    await execute(cast(Kube, server), ACME, action, cast(Any, Forgetful()))
    assert server.deleted == ([("u", "9")] if deleted else [])


class Applying(Live):
    """An API server that notes whether an apply overrides others."""

    async def apply(self, _: object, body: dict[str, Any], *, force: bool, **__: object) -> Applied:
        self.forced = force
        return Applied(body, created=False)


async def test_a_child_whose_labels_somebody_changed_is_ours_to_put_right() -> None:
    server = Applying(live())
    server.body["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "theirs"}
    child = complete("acme", ROLE_BINDINGS, {"metadata": {"name": "tenantry-owner", "namespace": "a"}})
    await execute(cast(Kube, server), ACME, ApplyChild(child, first=True), cast(Any, Forgetful()))
    assert server.forced


class Refusing(Live):
    """An API server that answers an apply with an error."""

    def __init__(self, error: KubeError) -> None:
        super().__init__({})
        self._error = error

    async def apply(self, *_: object, **__: object) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("missing", "seen"), [('clusterroles.rbac.authorization.k8s.io "ci"', Invalid), ('namespaces "a"', NotFound)]
)
async def test_a_role_that_is_not_there_is_a_refusal_and_a_namespace_that_is_gone_is_none(
    missing: str, seen: type[KubeError]
) -> None:
    server = Refusing(NotFound(f"PATCH /x: {missing} not found"))
    body = {"metadata": {"name": "tenantry-ci:ci", "namespace": "a"}}
    action = ApplyChild(complete("acme", ROLE_BINDINGS, body), first=True, alone=True)
    with pytest.raises(KubeError) as refusal:
        await execute(cast(Kube, server), ACME, action, cast(Any, Forgetful()))
    assert type(refusal.value) is seen
