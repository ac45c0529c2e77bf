"""What counts as written by Tenantry: what its field manager wrote on the object itself."""

from typing import Any

from tenantry.names import FIELD_MANAGER, TENANT_LABEL
from tenantry_operator.children.managed import is_ours, managed_keys


def metadata(**entry: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"f:metadata": {"f:labels": {".": {}, f"f:{TENANT_LABEL}": {}}}}
    return {"managedFields": [{"manager": FIELD_MANAGER, "fieldsV1": fields, **entry}]}


def test_a_label_is_ours_where_our_field_manager_wrote_it() -> None:
    assert managed_keys(metadata()) == (frozenset({TENANT_LABEL}), frozenset())
    assert is_ours(metadata())


def test_a_similar_manager_is_somebody_else() -> None:
    forged = metadata(manager=f"{FIELD_MANAGER}2")
    assert managed_keys(forged) == (frozenset(), frozenset())
    assert not is_ours(forged)


def test_a_label_that_came_through_a_subresource_is_nobodys_word() -> None:
    assert managed_keys(metadata(subresource="status")) == (frozenset(), frozenset())


def test_an_object_that_says_nothing_of_managers_is_not_ours() -> None:
    assert not is_ours({})
