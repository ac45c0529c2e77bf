"""Attempts to take what is somebody else's, on a real API server and with the operator under its own rights.

Each is refused with its reason, nothing of anybody's is changed by it, nobody gets access, and nothing is lost when the
Tenants of all attempts are deleted under deletionPolicy Delete.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tenantry.errors import Conflict, NotFound
from tenantry.kube import Kube
from tenantry.names import ARGOCD_NAMESPACE, FIELD_MANAGER
from tenantry.resources import APP_PROJECTS, NAMESPACES, NETWORK_POLICIES, ROLE_BINDINGS, TENANTS
from tests.support.control_plane import ControlPlane, KubectlFailed
from tests.support.eventually import eventually
from tests.support.takeovers import Attempt, belongings, may, read_attempt, resource_of, subjects
from tests.support.tenantry import Operator

pytestmark = pytest.mark.usefixtures("operator", "argocd_kinds")

CORPUS = Path(__file__).parents[1] / "data/takeovers"
REFUSED_BY_THE_API_SERVER = sorted((CORPUS / "api-server").glob("*.yaml"))
REFUSED_BY_THE_OPERATOR = sorted((CORPUS / "operator").glob("*.yaml"))
WITHOUT_EFFECT = sorted((CORPUS / "no-effect").glob("*.yaml"))
SYSTEM = ("kube-system", "argocd", "default", "tenantry-system")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt. `said`: the words of all conditions of its Tenants; `reached`: who got in where."""

    attempt: Attempt
    said: str
    before: dict[str, Any]
    during: dict[str, Any]
    reached: list[str]
    after: dict[str, Any]


@pytest.fixture
def name() -> str:
    """A tenant name of one test's own."""
    return f"v{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
async def refusals(control_plane: ControlPlane) -> dict[str, str]:
    """What the API server says to each file that it is to refuse, by stem; one kubectl reads them all."""
    with pytest.raises(KubectlFailed) as failure:
        await control_plane.kubectl("create", "--validate=strict", "--filename", str(CORPUS / "api-server"))
    said = re.split(r'error when creating "[^"]*/([^/"]+)\.yaml": ', str(failure.value))
    return dict(zip(said[1::2], said[2::2], strict=True))


@pytest.fixture(scope="module")
async def outcomes(kube: Kube, control_plane: ControlPlane) -> AsyncIterator[dict[str, Outcome]]:
    """What became of every other attempt, by stem: all are made at once, judged, and then deleted at once."""
    attempts = [
        read_attempt(path, f"k{number}{secrets.token_hex(3)}")
        for number, path in enumerate((*REFUSED_BY_THE_OPERATOR, *WITHOUT_EFFECT))
    ]
    await create(control_plane, [body for attempt in attempts for body in attempt.given])
    given = [body for attempt in attempts for body in attempt.given if body["kind"] == TENANTS.kind]
    await asyncio.gather(*(ready(kube, body["metadata"]["name"]) for body in given))
    for attempt in attempts:
        for manager, body in attempt.forged:
            await kube.apply(resource_of(body), body, field_manager=manager)
    before = await asyncio.gather(*(belongings(kube, attempt) for attempt in attempts))
    await create(control_plane, [body for attempt in attempts for body in attempt.attempt])
    said = await asyncio.gather(*(verdict(kube, attempt) for attempt in attempts))
    during = await asyncio.gather(*(belongings(kube, attempt) for attempt in attempts))
    reached = await asyncio.gather(*(trespasses(kube, *each) for each in zip(attempts, before, strict=True)))
    tenants = [body["metadata"]["name"] for attempt in attempts for body in attempt.tenants]
    await asyncio.gather(*(kube.delete(TENANTS, name) for name in tenants))
    await asyncio.gather(*(gone(kube, name) for name in tenants))
    after = await asyncio.gather(*(belongings(kube, attempt) for attempt in attempts))
    yield {
        attempt.stem: Outcome(attempt, *rest)
        for attempt, *rest in zip(attempts, said, before, during, reached, after, strict=True)
    }
    await asyncio.gather(*(kube.delete(TENANTS, body["metadata"]["name"]) for body in given))
    await asyncio.gather(*(remove(kube, body) for attempt in attempts for body in (*attempt.given, *attempt.attempt)))
    left = await kube.list(NAMESPACES, label_selector=f"tenantry.dev/orphaned-from in ({','.join(tenants)})")
    await asyncio.gather(*(remove(kube, {**item, "kind": NAMESPACES.kind}) for item in left["items"]))


async def create(control_plane: ControlPlane, bodies: list[dict[str, Any]]) -> None:
    await control_plane.kubectl("create", "--validate=strict", "--filename=-", stdin=yaml.safe_dump_all(bodies))


async def remove(kube: Kube, body: dict[str, Any]) -> None:
    if body["kind"] != TENANTS.kind:
        try:
            await kube.delete(resource_of(body), body["metadata"]["name"], body["metadata"].get("namespace"))
        except NotFound:
            return


async def conditions(kube: Kube, name: str) -> dict[str, Any]:
    """Return the conditions of a Tenant that its newest generation has, by type."""
    tenant = await kube.get(TENANTS, name)
    found = tenant.get("status", {}).get("conditions", ())
    return {each["type"]: each for each in found if each["observedGeneration"] == tenant["metadata"]["generation"]}


async def ready(kube: Kube, name: str) -> None:
    async def look() -> bool:
        seen[:] = [await conditions(kube, name)]
        return bool(seen[0].get("Ready", {}).get("status") == "True")

    seen: list[Any] = []
    try:
        await eventually(look, within=20, what=f"tenant {name} is ready")
    except AssertionError as error:
        raise AssertionError(f"{error}; {seen}") from None


async def verdict(kube: Kube, attempt: Attempt) -> str:
    """Wait until the operator has said what is expected of it; return what its last word was, expected or not."""

    async def look() -> bool:
        found = [await conditions(kube, body["metadata"]["name"]) for body in attempt.tenants]
        said[:] = [each["message"] for every in found for each in every.values()]
        refused = all(every.get("Ready", {}).get("status") == "False" for every in found)
        return refused and any(attempt.expect in message for message in said)

    said: list[str] = []
    if attempt.expect == "nothing":
        await asyncio.gather(*(ready(kube, body["metadata"]["name"]) for body in attempt.tenants))
        return ""
    with suppress(AssertionError):  # the test of the attempt shows it
        await eventually(look, within=10, what=attempt.expect)
    return "; ".join(said)


async def trespasses(kube: Kube, attempt: Attempt, before: dict[str, Any]) -> list[str]:
    """Return who of those that the attempt names has access to a namespace that is not the attempt's own."""
    theirs = [key.partition("/")[2] for key in before if key.startswith(f"{NAMESPACES.kind} ")]
    own = []
    for body in attempt.tenants:
        listed = await kube.list(NAMESPACES, label_selector=f"tenantry.dev/tenant={body['metadata']['name']}")
        own += [item["metadata"]["name"] for item in listed["items"]]
    found = []
    for subject in subjects(attempt):
        # A ServiceAccount that is not of the tenant's namespaces has no business in them either.
        places = {*theirs, *SYSTEM, *(own if subject["kind"] == "ServiceAccount" else ())} - {subject.get("namespace")}
        found += [f"{subject['name']} in {place}" for place in sorted(places) if await may(kube, subject, place)]
    return found


async def apply(kube: Kube, name: str, **spec: Any) -> None:
    body = {"metadata": {"name": name}, "spec": {"deletionPolicy": "Delete", **spec}}
    await kube.apply(TENANTS, body, field_manager="test")


async def refused(kube: Kube, name: str) -> str:
    """Wait until a Tenant is Stalled; return why."""

    async def look() -> str | None:
        found = (await conditions(kube, name)).get("Stalled", {})
        return str(found["message"]) if found.get("status") == "True" else None

    return await eventually(look, within=20, what=f"tenant {name} is stalled")


async def gone(kube: Kube, name: str) -> None:
    async def missing() -> bool:
        try:
            seen[:] = [await kube.get(TENANTS, name)]
        except NotFound:
            return True
        return False

    seen: list[Any] = []
    try:
        await eventually(missing, within=40, what=f"tenant {name} is gone")
    except AssertionError as error:
        raise AssertionError(f"{error}; {[tenant.get('status') for tenant in seen]}") from None


@pytest.mark.parametrize("path", REFUSED_BY_THE_API_SERVER, ids=lambda path: path.stem)
async def test_the_api_server_refuses_and_says_why(path: Path, refusals: dict[str, str]) -> None:
    expected = read_attempt(path, "").expect
    assert path.stem in refusals, "the API server accepted it"
    assert expected in refusals[path.stem]


@pytest.mark.parametrize("path", REFUSED_BY_THE_OPERATOR, ids=lambda path: path.stem)
async def test_the_operator_refuses_and_says_why(path: Path, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[path.stem]
    assert outcome.attempt.expect in outcome.said


@pytest.mark.parametrize("path", [*REFUSED_BY_THE_OPERATOR, *WITHOUT_EFFECT], ids=lambda path: path.stem)
async def test_nothing_is_taken_and_nobody_gets_in(path: Path, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[path.stem]
    assert outcome.during == outcome.before
    assert outcome.reached == []
    assert outcome.after == outcome.before, "when the Tenant of the attempt was deleted"


async def test_a_label_written_by_hand_opens_no_door_in_the_preset_of_a_tenant(kube: Kube, name: str) -> None:
    preset = {"isolation": "Tenant"}
    await apply(kube, name, namespaces={"items": [{"name": "a"}, {"name": "b"}]}, networkPolicies=preset)
    await ready(kube, name)
    copied = {"tenantry.dev/tenant": name, "app.kubernetes.io/managed-by": "tenantry"}
    await kube.create(NAMESPACES, {"metadata": {"name": f"{name}-evil", "labels": copied}})
    policy = await kube.get(NETWORK_POLICIES, "tenantry-isolation", f"{name}-a")
    ((peer,),) = [rule["from"] for rule in policy["spec"]["ingress"]]
    ((key, values),) = [(each["key"], each["values"]) for each in peer["namespaceSelector"]["matchExpressions"]]
    admitted = await kube.list(NAMESPACES, label_selector=f"{key} in ({','.join(values)})")
    assert {item["metadata"]["name"] for item in admitted["items"]} == {f"{name}-a", f"{name}-b"}


async def test_a_label_written_through_the_status_in_our_name_gives_no_namespace_away(kube: Kube, name: str) -> None:
    # namespaces/status has a right of its own, and lets its holder write labels (GHSA-2ww6-hf35-mfjm of Capsule).
    foreign = await kube.create(NAMESPACES, {"metadata": {"name": name}})
    labels = {"tenantry.dev/tenant": name, "app.kubernetes.io/managed-by": "tenantry"}
    patch = {"metadata": {"labels": labels}}
    forged = await kube.merge_patch(NAMESPACES, name, patch, subresource="status", field_manager=FIELD_MANAGER)
    assert forged["metadata"]["labels"].items() >= labels.items()
    await apply(kube, name)
    assert "it exists and is not Tenantry's" in await refused(kube, name)
    await kube.delete(TENANTS, name)
    await gone(kube, name)
    after = await kube.get(NAMESPACES, name)
    assert after["metadata"]["uid"] == foreign["metadata"]["uid"]
    assert "deletionTimestamp" not in after["metadata"]


async def test_a_forged_status_gets_nobody_a_namespace_or_an_appproject(kube: Kube, name: str) -> None:
    victim, thief = f"{name}-v", f"{name}-t"
    await apply(kube, victim, argocd={"enabled": True})
    await ready(kube, victim)
    before = (await kube.get(NAMESPACES, victim), await kube.get(APP_PROJECTS, victim, ARGOCD_NAMESPACE))
    await apply(kube, thief)
    await ready(kube, thief)
    claim = {
        "namespaceCount": 2,
        "namespaces": [{"name": each, "phase": "Active", "ready": True} for each in (thief, victim)],
        "argocd": {"project": {"name": victim, "namespace": ARGOCD_NAMESPACE}},
    }
    await kube.merge_patch(TENANTS, thief, {"status": claim}, subresource="status")
    await kube.delete(TENANTS, thief)
    await gone(kube, thief)
    after = (await kube.get(NAMESPACES, victim), await kube.get(APP_PROJECTS, victim, ARGOCD_NAMESPACE))
    for had, has in zip(before, after, strict=True):
        for key in ("uid", "labels", "annotations"):
            assert has["metadata"].get(key) == had["metadata"].get(key)


async def test_a_tenant_of_the_same_name_does_not_inherit_what_was_left_behind(kube: Kube, name: str) -> None:
    await apply(kube, name, deletionPolicy="Orphan", owners=[{"kind": "User", "name": "ada", "role": "owner"}])
    await ready(kube, name)
    await kube.delete(TENANTS, name)
    await gone(kube, name)
    left = await kube.get(NAMESPACES, name)
    mallory = {"kind": "User", "name": f"{name}-mallory"}
    await apply(kube, name, owners=[{**mallory, "role": "owner"}])
    assert f"it was left behind by the deleted tenant {name}" in await refused(kube, name)
    assert (await kube.get(NAMESPACES, name))["metadata"]["resourceVersion"] == left["metadata"]["resourceVersion"]
    assert not await may(kube, mallory, name)


async def test_a_name_that_somebody_takes_while_the_tenant_is_away_is_not_taken_back(
    kube: Kube, operator: Operator, name: str
) -> None:
    await apply(kube, name)
    await ready(kube, name)
    await operator.stop()
    await kube.delete(NAMESPACES, name)

    async def taken() -> dict[str, Any] | None:
        try:
            return await kube.create(NAMESPACES, {"metadata": {"name": name}})
        except Conflict:
            return None

    squatter = await eventually(taken, within=30, what="the name is free and somebody takes it")
    await operator.start()
    assert "it exists and is not Tenantry's" in await refused(kube, name)
    assert (await kube.get(NAMESPACES, name))["metadata"]["uid"] == squatter["metadata"]["uid"]


async def test_no_binding_of_ours_gives_a_role_or_names_a_subject_that_is_the_clusters_own(
    kube: Kube, outcomes: dict[str, Outcome], refusals: dict[str, str]
) -> None:
    for item in (await kube.list(ROLE_BINDINGS, label_selector="app.kubernetes.io/managed-by=tenantry"))["items"]:
        assert item["roleRef"]["name"] in ("admin", "edit", "view"), item
        for subject in item.get("subjects", ()):
            assert not subject["name"].startswith("system:"), item
            assert subject.get("namespace") not in SYSTEM, item


def test_there_are_at_least_fifty_and_no_two_are_the_same() -> None:
    paths = [*REFUSED_BY_THE_API_SERVER, *REFUSED_BY_THE_OPERATOR, *WITHOUT_EFFECT]
    assert len(paths) >= 50
    attempts = [read_attempt(path, "same") for path in paths]
    told = [yaml.safe_dump([each.given, each.forged, each.attempt]) for each in attempts]
    assert len(set(told)) == len(told)
