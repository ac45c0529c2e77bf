"""The alerts, as Prometheus judges them: promtool evaluates the rules over series, made up and scraped."""

import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.alerts import MONITORING, alerts, firing, rules
from tests.support.control_plane import ControlPlane
from tests.support.promtool import Promtool

CASES = yaml.safe_load((Path(__file__).parents[1] / "data/alerts.yaml").read_text())
BASE = MONITORING.parents[1] / "base"


def cases(kind: str) -> list[Any]:
    return [
        pytest.param(name, case, id=f"{name}-{number}")
        for name, known in CASES.items()
        for number, case in enumerate(known[kind])
    ]


def test_prometheus_takes_the_rules(promtool: Promtool, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))
    assert promtool.run("check", "rules", "--lint=all", "--lint-fatal", tmp_path / "rules.yaml")[0] == 0


def test_a_rule_that_is_none_is_refused(promtool: Promtool, tmp_path: Path) -> None:
    broken = yaml.safe_dump(rules()).replace("sum by (namespace) (tenantry_answering)", "sum by namespace", 1)
    (tmp_path / "rules.yaml").write_text(broken)
    code, said = promtool.run("check", "rules", tmp_path / "rules.yaml")
    assert (code, "TenantryNobodyAnswers" in said) == (1, True)


@pytest.mark.parametrize(("name", "case"), cases("fires"))
def test_it_fires_and_has_the_labels_that_its_text_names(
    promtool: Promtool, tmp_path: Path, name: str, case: dict[str, Any]
) -> None:
    found = firing(promtool, case["series"], at=case["at"], directory=tmp_path)
    assert name in found
    texts = " ".join(alerts()[name]["annotations"].values())
    for labels in found[name]:
        assert set(re.findall(r"\$labels\.(\w+)", texts)) <= labels.keys()


@pytest.mark.parametrize(("name", "case"), cases("quiet"))
def test_it_does_not_fire(promtool: Promtool, tmp_path: Path, name: str, case: dict[str, Any]) -> None:
    assert name not in firing(promtool, case["series"], at=case["at"], directory=tmp_path)


@pytest.fixture
async def monitoring_kinds(control_plane: ControlPlane) -> AsyncIterator[None]:
    """The Prometheus Operator's kinds, cut down to the fields that are used here: any other is refused."""
    file = ("--filename", str(Path(__file__).parents[1] / "data/monitoring-crds.yaml"))
    await control_plane.kubectl("apply", *file)
    await control_plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", *file)
    yield
    await control_plane.kubectl("delete", *file)


async def rendered(control_plane: ControlPlane, directory: Path, **more: Any) -> list[dict[str, Any]]:
    """Return what an overlay of the base with the component comes to."""
    whole = {
        "resources": [os.path.relpath(BASE, directory.resolve())],
        "components": [os.path.relpath(MONITORING, directory.resolve())],
        **more,
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(whole))
    return [body for body in yaml.safe_load_all(await control_plane.kubectl("kustomize", str(directory))) if body]


def of_kind(bodies: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [body for body in bodies if body["kind"] == kind]


@pytest.mark.usefixtures("monitoring_kinds")
async def test_the_api_server_takes_what_the_component_adds(control_plane: ControlPlane, tmp_path: Path) -> None:
    base = [body for body in yaml.safe_load_all(await control_plane.kubectl("kustomize", str(BASE))) if body]
    bodies = await rendered(control_plane, tmp_path)
    added = [body for body in bodies if body not in base]
    assert len(added) == len(bodies) - len(base) == 5
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": added[0]["metadata"]["namespace"]}}
    await control_plane.kubectl("apply", "--filename=-", stdin=yaml.safe_dump(namespace))
    told = await control_plane.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "--filename=-", stdin=yaml.safe_dump_all(added)
    )
    assert len(told.splitlines()) == len(added)


async def test_prometheus_finds_the_pods_and_is_let_in_to_them(control_plane: ControlPlane, tmp_path: Path) -> None:
    bodies = await rendered(control_plane, tmp_path)
    (policy,) = (body for body in of_kind(bodies, "NetworkPolicy") if body["metadata"]["name"] == "tenantry-metrics")
    (rule,) = policy["spec"]["ingress"]
    (expression,) = policy["spec"]["podSelector"]["matchExpressions"]
    deployments = {body["metadata"]["name"]: body["spec"]["template"] for body in of_kind(bodies, "Deployment")}
    monitors = of_kind(bodies, "PodMonitor")
    assert sorted(monitor["metadata"]["name"] for monitor in monitors) == sorted(deployments)
    for monitor in monitors:
        pod = deployments[monitor["metadata"]["name"]]
        selected = monitor["spec"]["selector"]["matchLabels"]
        # Not by the label of the one that answers: the others are to be seen as well.
        assert selected == pod["metadata"]["labels"]
        assert selected[expression["key"]] in expression["values"]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        (container,) = pod["spec"]["containers"]
        assert endpoint["port"] in [port["name"] for port in container["ports"]]
        assert endpoint["port"] in [port["port"] for port in rule["ports"]]


async def test_the_dashboard_is_where_grafana_looks(control_plane: ControlPlane, tmp_path: Path) -> None:
    (dashboard,) = of_kind(await rendered(control_plane, tmp_path), "ConfigMap")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["tenantry.json"])["uid"] == "tenantry"


async def test_the_links_to_the_runbook_can_be_given_an_address(control_plane: ControlPlane, tmp_path: Path) -> None:
    comment = (
        (MONITORING / "kustomization.yaml").read_text().partition("#   replacements:")[2].partition("apiVersion")[0]
    )
    shown = "replacements:" + comment.replace("\n#   ", "\n")
    (rule,) = of_kind(await rendered(control_plane, tmp_path, **yaml.safe_load(shown)), "PrometheusRule")
    urls = [each["annotations"]["runbook_url"] for group in rule["spec"]["groups"] for each in group["rules"]]
    address = "https://git.example.org/platform/tenantry/docs/runbook.md"
    assert urls == [f"{address}#{name.lower()}" for name in alerts()]
