"""What Argo CD is told of a Tenant's health, by running the Lua that is shipped for it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaError

from tests.support.lua import health

FILE = Path(__file__).parents[2] / "manifests/components/argocd/argocd-cm.yaml"
SCRIPT: str = yaml.safe_load(FILE.read_text())["data"]["resource.customizations.health.tenantry.dev_Tenant"]


def tenant(
    *, ready: str = "True", reconciling: str = "False", stalled: str = "False", message: str = "", **status: Any
) -> dict[str, Any]:
    """Return a Tenant of generation 3 as the operator leaves one."""
    given = {"Ready": ready, "Reconciling": reconciling, "Stalled": stalled}
    conditions = [{"type": kind, "status": value, "message": message} for kind, value in given.items()]
    return {
        "metadata": {"name": "acme", "generation": 3},
        "spec": {"lifecycle": {"state": "Active"}},
        "status": {"observedGeneration": 3, "phase": "Active", "conditions": conditions, **status},
    }


def test_a_tenant_that_is_ready_is_healthy() -> None:
    assert health(SCRIPT, tenant()) == ("Healthy", "the Tenant is reconciled")


def test_a_tenant_that_the_operator_has_not_seen_is_progressing() -> None:
    new = {"metadata": {"name": "acme", "generation": 1}, "spec": {}}
    assert health(SCRIPT, new)[0] == "Progressing"
    assert health(SCRIPT, {**new, "status": {}})[0] == "Progressing"
    assert health(SCRIPT, {**new, "status": {"observedGeneration": 1}})[0] == "Progressing"


@pytest.mark.parametrize("stalled", ["True", "False"])
def test_what_is_said_of_an_older_generation_does_not_count(stalled: str) -> None:
    assert health(SCRIPT, tenant(observedGeneration=2, stalled=stalled))[0] == "Progressing"


def test_a_tenant_that_needs_a_person_is_degraded_and_says_why() -> None:
    body = tenant(ready="False", reconciling="True", stalled="True", message="namespace acme is refused")
    assert health(SCRIPT, body) == ("Degraded", "namespace acme is refused")


def test_a_tenant_that_is_worked_on_is_progressing_and_says_at_what() -> None:
    body = tenant(ready="False", reconciling="True", message="namespace acme is being deleted")
    assert health(SCRIPT, body) == ("Progressing", "namespace acme is being deleted")
    assert health(SCRIPT, tenant(ready="Unknown"))[0] == "Progressing"


def test_a_suspended_tenant_is_suspended_once_it_is_ready() -> None:
    body = tenant(phase="Suspended")
    assert health(SCRIPT, body) == ("Suspended", "the Tenant is suspended")
    body["spec"]["lifecycle"]["reason"] = "unpaid"
    assert health(SCRIPT, body) == ("Suspended", "unpaid")
    assert health(SCRIPT, tenant(phase="Suspended", stalled="True"))[0] == "Degraded"


def test_a_tenant_that_is_being_deleted_is_progressing_whatever_else_it_says() -> None:
    body = tenant(ready="False", stalled="True", message="waiting for namespace acme to be gone")
    body["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    assert health(SCRIPT, body) == ("Progressing", "waiting for namespace acme to be gone")


@pytest.mark.parametrize("call", ["io.open('/etc/passwd')", "os.getenv('HOME')", "string.len('a')", "require('x')"])
def test_the_check_is_run_with_no_more_than_argo_cd_gives_it(call: str) -> None:
    with pytest.raises(LuaError):
        health(f"{call} return {{status = '', message = ''}}", {})
