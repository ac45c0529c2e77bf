"""What is measured, documented, alerted on and drawn is the same set of names."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import ProcessCollector

from tenantry.measuring import Asked
from tenantry_generator.answer_metrics import AnswerMetrics
from tenantry_generator.metrics import Metrics as GeneratorMetrics
from tenantry_operator.metrics import Metrics as OperatorMetrics
from tests.support.alerts import MONITORING, alerts, metric_names

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs/runbook.md"
ARGO_CD = {"argocd_appset_owned_applications"}
CRITICAL = {"TenantrySeveralAnswer", "TenantryApplicationsMissing"}
CASES = yaml.safe_load((ROOT / "tests/data/alerts.yaml").read_text())
DASHBOARD = json.loads((MONITORING / "tenantry.json").read_text())


def generator() -> GeneratorMetrics:
    metrics = GeneratorMetrics()
    metrics.watch_postgres(listening=lambda: True, connections=lambda: 1, failures=lambda: 0)
    return metrics


def operator() -> OperatorMetrics:
    metrics = OperatorMetrics()
    metrics.watch_queue(depth=lambda: 0, unfinished=lambda: 0, longest=lambda: 0)
    metrics.watch_tenants(phases=dict, ready=dict)
    return metrics


def measured(metrics: GeneratorMetrics | OperatorMetrics) -> dict[str, set[str]]:
    """The names of the metrics as Prometheus knows them, with their labels."""
    found = {}
    for collector in metrics._registry._collector_to_names:
        if isinstance(collector, ProcessCollector):
            found["process_*"] = set[str]()
            continue
        for family in collector.describe():  # type: ignore[attr-defined]
            name = family.name + ("_total" if family.type == "counter" else "")
            holder: Any = family if isinstance(collector, Asked | AnswerMetrics) else collector
            found[name] = set(holder._labelnames)
    return found


def series(metrics: GeneratorMetrics | OperatorMetrics) -> set[str]:
    """The names that a query can ask for."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", metrics.render().decode(), re.MULTILINE))
    parts = ("_bucket", "_sum", "_count")
    return {name + part for name, kind in types.items() for part in (parts if kind == "histogram" else ("",))}


def documented(path: Path, heading: str) -> dict[str, set[str]]:
    """The names and labels in the first column of the table under a heading."""
    section = path.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z_*]+)(?:\{([a-z,]+)\})?` \|", section, re.MULTILINE)
    return {name: set(labels.split(",")) if labels else set() for name, labels in rows}


def test_every_metric_of_the_generator_is_documented_with_its_labels_and_no_other_is() -> None:
    assert documented(ROOT / "docs/generator.md", "Metrics") == measured(generator())


def test_every_metric_of_the_operator_is_documented_with_its_labels_and_no_other_is() -> None:
    assert documented(RUNBOOK, "Metrics of the operator") == measured(operator())


def test_no_metric_has_a_label_that_names_a_tenant() -> None:
    labels = set[str]().union(*measured(generator()).values(), *measured(operator()).values())
    assert labels.isdisjoint({"tenant", "namespace", "pod", "instance"})


@pytest.mark.parametrize("name", alerts())
def test_an_alert_asks_for_metrics_that_there_are(name: str) -> None:
    asked = metric_names(alerts()[name]["expr"])
    assert asked
    assert asked <= series(generator()) | series(operator()) | ARGO_CD


@pytest.mark.parametrize("name", alerts())
def test_an_alert_is_named_labelled_and_explained_as_every_other(name: str) -> None:
    alert = alerts()[name]
    assert re.fullmatch(r"Tenantry([A-Z][a-z]+)+", name)
    assert set(alert["labels"]) == {"severity", "kubernetes_operator_part_of"}
    assert alert["labels"]["severity"] in ({"critical"} if name in CRITICAL else {"warning", "info"})
    assert alert["labels"]["kubernetes_operator_part_of"] == "tenantry"
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"


def test_every_alert_has_its_entry_in_the_runbook_and_there_is_no_other() -> None:
    entries = dict(re.findall(r"^### (\S+)\n(.*?)(?=^#|\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL))
    assert list(entries) == list(alerts()), "the runbook has another order"
    for name, text in entries.items():
        parts = re.findall(r"^\*\*([^*]+)\*\*: ", text, re.MULTILINE)
        assert parts == ["Means", "Argo CD meanwhile", "Look", "Do", "Wake somebody"], name
        wakes = "**Wake somebody**: yes" in text
        assert wakes == (name in CRITICAL), name


def test_every_alert_has_series_upon_which_it_fires_and_some_upon_which_it_does_not() -> None:
    assert list(CASES) == list(alerts())
    assert all(case["fires"] and case["quiet"] for case in CASES.values())


def panels() -> list[dict[str, Any]]:
    return list(DASHBOARD["panels"])


def expressions() -> Iterator[str]:
    yield from (target["expr"] for panel in panels() for target in panel.get("targets", ()))


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_a_panel_asks_for_metrics_that_there_are(expression: str) -> None:
    asked = metric_names(expression)
    assert asked
    assert asked <= series(generator()) | series(operator()) | ARGO_CD


def test_the_panels_of_the_dashboard_do_not_overlap_and_each_has_its_queries() -> None:
    cells = set[tuple[int, int]]()
    for panel in panels():
        place = panel["gridPos"]
        taken = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in taken) < 24, panel["title"]
        assert cells.isdisjoint(taken), panel["title"]
        cells |= taken
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == "${datasource}"
        references = [target["refId"] for target in panel["targets"]]
        assert references == sorted(set(references)), panel["title"]
