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

from tenantry.errors import NotFound
from tenantry.kube import Kube
from tenantry.resources import NAMESPACES, ROLE_BINDINGS, TENANTS
from tests.support.control_plane import ControlPlane, KubectlFailed
from tests.support.eventually import eventually
from tests.support.takeovers import Attempt, belongings, may, read_attempt, resource_of, subjects

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
