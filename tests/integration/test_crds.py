"""The CRDs by a real API server's verdict: what it accepts, what it refuses and with which words, what it fills in."""

import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tenantry.classes import resolve
from tenantry.errors import Invalid
from tenantry.kube import Kube
from tenantry.model import parse_tenant
from tenantry.render import render_tenant
from tenantry.resources import TENANT_CLASSES, TENANTS
from tests.support.control_plane import ControlPlane, KubectlFailed

CORPUS = Path(__file__).parents[1] / "data/tenants"
REFERENCE = Path(__file__).parents[2] / "docs/tenant.md"
INVALID = sorted((CORPUS / "invalid").glob("*.yaml"))
CREATE = ("create", "--dry-run=server", "--validate=strict")


@pytest.fixture
async def name(kube: Kube) -> AsyncIterator[str]:
    """The name of a Tenant of one test. An operator of another test may be at work on it, or none may be running."""
    chosen = f"crds-{uuid.uuid4().hex[:8]}"
    yield chosen
    await kube.delete(TENANTS, chosen)


@pytest.fixture(scope="session")
async def verdicts(control_plane: ControlPlane) -> dict[str, str]:
    """What the API server says to each invalid file, by the file's stem; one kubectl reads them all."""
    with pytest.raises(KubectlFailed) as failure:
        await control_plane.kubectl(*CREATE, "--filename", str(CORPUS / "invalid"))
    said = re.split(r'error when creating "[^"]*/([^/"]+)\.yaml": ', str(failure.value))
    return dict(zip(said[1::2], said[2::2], strict=True))


async def apply(kube: Kube, name: str, *, manager: str = "test", **spec: Any) -> dict[str, Any]:
    spec = {"deletionPolicy": "Delete", **spec}  # so that an operator leaves no namespace behind
    return (await kube.apply(TENANTS, {"metadata": {"name": name}, "spec": spec}, field_manager=manager)).object


async def test_every_valid_object_is_accepted(control_plane: ControlPlane) -> None:
    said = await control_plane.kubectl(*CREATE, "--filename", str(CORPUS / "valid"))
    assert len(said.splitlines()) == len(list((CORPUS / "valid").glob("*.yaml")))


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
async def test_an_invalid_object_is_refused_with_the_words_that_say_why(path: Path, verdicts: dict[str, str]) -> None:
    expected = path.read_text().splitlines()[0].removeprefix("# expect: ")
    assert path.stem in verdicts, "the API server accepted it"
    assert expected in verdicts[path.stem]


async def test_every_example_of_the_reference_is_accepted(control_plane: ControlPlane) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", REFERENCE.read_text(), re.DOTALL)
    assert len(examples) >= 6
    for example in examples:
        await control_plane.kubectl(*CREATE, "--filename", "-", stdin=example)


async def test_a_tenant_with_only_a_name_gets_its_defaults(control_plane: ControlPlane) -> None:
    path = CORPUS / "valid/minimal.yaml"
    stored = yaml.safe_load(await control_plane.kubectl(*CREATE, "--output=yaml", "--filename", str(path)))
    assert stored["spec"] == {"lifecycle": {"state": "Active"}}


async def test_parameters_are_stored_and_rendered_as_they_were_written(control_plane: ControlPlane) -> None:
    path = CORPUS / "valid/parameters-of-every-type.yaml"
    stored = yaml.safe_load(await control_plane.kubectl(*CREATE, "--output=json", "--filename", str(path)))
    assert stored["spec"]["parameters"] == yaml.safe_load(path.read_text())["spec"]["parameters"]
    rendered = render_tenant(resolve(parse_tenant(stored), {})).element["parameters"]
    assert (rendered["large"], rendered["fraction"], rendered["flag"]) == ("9007199254740993", "1.5", True)


async def test_the_project_can_be_set_once_and_then_neither_changed_nor_removed(kube: Kube, name: str) -> None:
    await apply(kube, name, displayName="Acme")
    await apply(kube, name, displayName="Acme", argocd={"project": {"name": "one"}})
    await apply(kube, name, displayName="Acme Corp", argocd={"project": {"name": "one"}})
    forbidden: list[Any] = [{"argocd": {"project": {"name": "two"}}}, {"argocd": {"project": None}}, None]
    for spec in forbidden:
        with pytest.raises(Invalid, match=r"argocd\.project\.name can't be changed or removed once it is set"):
            await kube.merge_patch(TENANTS, name, {"spec": spec})


PATTERN_IS_FIXED = r"namespaces\.pattern can't be added, changed or removed"


@pytest.mark.parametrize("pattern", ["{name}-{tenant}", None])
async def test_the_pattern_of_a_tenant_is_decided_when_it_is_made(kube: Kube, name: str, pattern: str | None) -> None:
    await apply(kube, name, namespaces={"items": [], **({"pattern": pattern} if pattern else {})})
    others: list[Any] = [{"pattern": "other-{name}"}, *([{"pattern": None}, None] if pattern else [])]
    for namespaces in others:
        with pytest.raises(Invalid, match=PATTERN_IS_FIXED):
            await kube.merge_patch(TENANTS, name, {"spec": {"namespaces": namespaces}})


@pytest.mark.parametrize("layer", ["defaults", "overrides"])
async def test_the_pattern_of_a_class_is_decided_when_it_is_made(kube: Kube, layer: str) -> None:
    name = f"crds-{uuid.uuid4().hex[:8]}"
    body = {"metadata": {"name": name}, "spec": {layer: {"namespaces": {"pattern": "{name}-{tenant}"}}}}
    await kube.apply(TENANT_CLASSES, body, field_manager="test")
    other = "overrides" if layer == "defaults" else "defaults"
    try:
        changes: list[Any] = [{layer: {"namespaces": {"pattern": "{name}"}}}, {layer: None}]
        for spec in [*changes, {other: {"namespaces": {"pattern": "{name}"}}}]:
            with pytest.raises(Invalid, match=PATTERN_IS_FIXED.replace("can't", "of a class can't")):
                await kube.merge_patch(TENANT_CLASSES, name, {"spec": spec})
    finally:
        await kube.delete(TENANT_CLASSES, name)


async def test_two_appliers_share_the_lists_by_key(kube: Kube, name: str) -> None:
    jane = {"kind": "User", "name": "jane", "role": "owner"}
    await apply(kube, name, manager="platform", namespaces={"items": [{"name": "dev"}]}, owners=[jane])
    team = [{"kind": "Group", "name": "jane", "role": "viewer"}]
    stored = await apply(kube, name, manager="team", namespaces={"items": [{"name": "prod"}]}, owners=team)
    assert {item["name"] for item in stored["spec"]["namespaces"]["items"]} == {"dev", "prod"}
    assert {owner["kind"] for owner in stored["spec"]["owners"]} == {"User", "Group"}


async def test_the_status_is_written_only_through_its_subresource(kube: Kube, name: str) -> None:
    status = {"phase": "Archived", "namespaceCount": 7, "class": {"name": "gold"}}
    body = {"metadata": {"name": name}, "status": status}
    through_object = await kube.apply(TENANTS, body, field_manager="test", dry_run=True)
    assert "status" not in through_object.object
    stored = await apply(kube, name)
    through_status = await kube.apply(TENANTS, body, field_manager="test-status", subresource="status", dry_run=True)
    assert {key: through_status.object["status"][key] for key in status} == status
    assert through_status.object["spec"] == stored["spec"]


async def test_a_condition_is_what_kstatus_expects(kube: Kube, name: str) -> None:
    await apply(kube, name)
    condition = {
        "type": "Ready",
        "status": "Perhaps",
        "reason": "no word",
        "message": "",
        "lastTransitionTime": "yesterday",
        "observedGeneration": -1,
    }
    body = {"metadata": {"name": name}, "status": {"phase": "Fine", "conditions": [condition]}}
    with pytest.raises(Invalid) as refusal:
        await kube.apply(TENANTS, body, field_manager="test-status", subresource="status")
    for field in ("status", "reason", "lastTransitionTime", "observedGeneration"):
        assert f"status.conditions[0].{field}" in str(refusal.value)
    assert 'status.phase: Unsupported value: "Fine"' in str(refusal.value)


async def test_kubectl_shows_what_people_look_for(kube: Kube, control_plane: ControlPlane, name: str) -> None:
    await apply(kube, name, displayName="Acme Payments")
    head, row = (await control_plane.kubectl("get", "tnt", name, "--output=wide")).splitlines()
    assert re.split(r"\s{2,}", head.strip()) == [
        "NAME",
        "PHASE",
        "CLASS",
        "NAMESPACES",
        "READY",
        "AGE",
        "DISPLAY NAME",
        "QUOTA",
        "MESSAGE",
    ]
    assert "Acme Payments" in row
    narrow = (await control_plane.kubectl("get", "tenants", name)).splitlines()[0].split()
    assert narrow == ["NAME", "PHASE", "CLASS", "NAMESPACES", "READY", "AGE"]


async def test_kubectl_shows_which_class_is_the_default(kube: Kube, control_plane: ControlPlane) -> None:
    # Created and looked at only: as a real default it would lend to the Tenants of other tests.
    metadata = {"name": f"crds-{uuid.uuid4().hex[:8]}", "annotations": {"tenantry.dev/is-default-class": "no, a test"}}
    await kube.apply(TENANT_CLASSES, {"metadata": metadata}, field_manager="test")
    try:
        head, row = (await control_plane.kubectl("get", "tenantclass", str(metadata["name"]))).splitlines()
    finally:
        await kube.delete(TENANT_CLASSES, str(metadata["name"]))
    assert head.split() == ["NAME", "DEFAULT", "AGE"]
    assert "no, a test" in row


async def test_kubectl_explains_every_field(control_plane: ControlPlane) -> None:
    said = await control_plane.kubectl("explain", "tenant.spec.deletionPolicy")
    assert "What becomes of the namespaces when the Tenant is deleted" in " ".join(said.split())
