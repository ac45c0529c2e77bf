"""The table of values that the fault cases try, held against the CRDs without a cluster."""

import pytest

from tests.faults.inputs import values
from tests.faults.inputs.leaves import Leaf, tenant_leaves
from tests.faults.inputs.subject import merge_patch
from tests.faults.operator.handiwork import altered, owned_paths, removed, spelled


def test_every_leaf_of_the_crds_has_three_values_or_more() -> None:
    for row in [*values.tenant_rows().values(), *values.class_rows().values()]:
        assert len(row.values) + len(row.invalid) >= 3, row.leaf
        assert len({repr(spec) for spec in row.values.values()}) == len(row.values), row.leaf


def test_a_new_leaf_without_values_is_an_error() -> None:
    leaves = {**tenant_leaves(), "fresh": Leaf("fresh", {"type": "string"}, required=False)}
    with pytest.raises(AssertionError, match=r"values\.yaml has no values for fresh"):
        values._rows("values.yaml", leaves)


def test_a_value_is_put_into_the_first_entry_of_each_list_and_nowhere_when_it_is_absent() -> None:
    assert values._put({}, "a.b[].c", 1) == {"a": {"b": [{"c": 1}]}}
    assert values._put({"a": {"b": [{"c": 1, "d": 2}]}}, "a.b[].c") == {"a": {"b": [{"d": 2}]}}
    assert values._put({}, "a.b.c") == {}


def test_a_merge_patch_takes_out_what_is_not_there_any_more() -> None:
    assert merge_patch({"a": 1, "b": {"c": 1, "d": 2}, "e": [1]}, {"b": {"d": 3}, "e": []}) == {
        "a": None,
        "b": {"c": None, "d": 3},
        "e": [],
    }


def test_a_hand_finds_each_field_that_is_ours_and_changes_that_one() -> None:
    fields = {"f:spec": {"f:ports": {'k:{"port":80}': {".": {}, "f:name": {}}}, "f:hosts": {'v:"a"': {}}}}
    managed = [{"manager": "tenantry-operator", "fieldsV1": fields}]
    body = {"metadata": {"managedFields": managed}, "spec": {"ports": [{"port": 80, "name": "web"}], "hosts": ["a"]}}
    hosts, name = owned_paths(body)
    assert [spelled(path) for path in (hosts, name)] == ['spec.hosts."a"', 'spec.ports.{"port":80}.name']
    assert removed(body, hosts)["spec"]["hosts"] == []
    assert next(altered(body, name))["spec"]["ports"] == [{"port": 80, "name": "web-theirs"}]
