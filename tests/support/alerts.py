"""The alerts that the manifests ship, and whether they fire: promtool decides, from series that a test gives."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.promtool import Promtool

__all__ = ["MONITORING", "alerts", "firing", "metric_names", "rules", "series_of"]

MONITORING = Path(__file__).parents[2] / "manifests/components/monitoring"
_INTERVAL = "30s"

# What can stand where a metric's name does, in the subset of PromQL that is used here.
_WORDS = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_NO_METRICS = frozenset(
    (
        *("absent", "and", "bool", "by", "count", "histogram_quantile", "increase", "label_replace", "le", "max"),
        *("max_over_time", "on", "or", "rate", "sum", "time"),
    )
)


def rules() -> dict[str, Any]:
    """Return the rules as Prometheus gets them, which is the `spec` of the PrometheusRule."""
    return dict(yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"])


def alerts() -> dict[str, dict[str, Any]]:
    """Return every alert by its name."""
    return {rule["alert"]: rule for group in rules()["groups"] for rule in group["rules"]}


def metric_names(expression: str) -> set[str]:
    """Return the metrics that an expression asks for."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|ignoring|without)\s*\([^)]*\)", "", bare)
    return set(_WORDS.findall(bare)) - _NO_METRICS


def firing(
    promtool: Promtool, series: Mapping[str, str], *, at: str, directory: Path
) -> dict[str, list[Mapping[str, str]]]:
    """Return the alerts that fire at a time, `10m`, with these series in promtool's notation: name → their labels.

    promtool tells what it found when it is told to find nothing.
    """
    (directory / "rules.yaml").write_text(yaml.safe_dump(rules()))
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": _INTERVAL,
        "tests": [
            {
                "interval": _INTERVAL,
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [{"expr": 'ALERTS{alertstate="firing"}', "eval_time": at, "exp_samples": []}],
            }
        ],
    }
    (directory / "test.yaml").write_text(yaml.safe_dump(test))
    code, said = promtool.run("test", "rules", directory / "test.yaml")
    if code and "got: {" not in said:
        raise AssertionError(said)
    found: dict[str, list[Mapping[str, str]]] = {}
    for labels in re.findall(r'\{__name__="ALERTS", ([^}]*)\}', said):
        alert = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
        found.setdefault(alert.pop("alertname"), []).append(alert)
    return found


def series_of(scrapes: Sequence[str], *, hold: int, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the series of texts from /metrics, each of them `hold` samples long, with a target's `labels`."""
    values: dict[str, list[str]] = {}
    for number, scrape in enumerate(scrapes):
        for name, value in _samples(scrape, labels):
            row = values.setdefault(name, ["_"] * len(scrapes))
            row[number] = value
    return {name: " ".join(f"{value}x{hold - 1}" for value in row) for name, row in values.items()}


def _samples(scrape: str, labels: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for family in text_string_to_metric_families(scrape):
        for sample in family.samples:
            if sample.name.endswith(("_bucket", "_created")):
                continue
            given = ", ".join(f"{key}={json.dumps(value)}" for key, value in {**sample.labels, **labels}.items())
            yield f"{sample.name}{{{given}}}", format(sample.value, "f")
