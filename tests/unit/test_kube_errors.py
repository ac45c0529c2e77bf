"""What the API server's answers are read as."""

from tenantry.errors import Invalid, Unavailable
from tenantry.kube_errors import error_from_status


def test_a_value_of_the_wrong_type_is_invalid_although_the_server_calls_it_its_own_failure() -> None:
    said = "failed to create typed patch object (a/web; networking.k8s.io/v1, Kind=NetworkPolicy): .spec: expected map"
    assert type(error_from_status("PATCH /x", {"code": 500, "message": said})) is Invalid
    assert type(error_from_status("PATCH /x", {"code": 500, "message": "etcd: no leader"})) is Unavailable
