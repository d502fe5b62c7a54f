"""The table of metrics that operators read is what nodes export."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hippy.miner.metrics import METRICS as MINER_METRICS
from hippy.transport.admin import METRICS as NODE_METRICS
from hippy.transport.figures import Metric
from hippy.validator.admin_routes import METRICS as REGISTRY_METRICS
from hippy.validator.audit_metrics import METRICS as AUDIT_METRICS
from hippy.validator.following.metrics import METRICS as FOLLOWING_METRICS
from hippy.validator.repair.figures import METRICS as REPAIR_METRICS

TEXT = (Path(__file__).parents[2] / "deploy" / "METRICS.md").read_text()
SECTIONS: dict[str, tuple[Metric, ...]] = {
    "Every node": NODE_METRICS,
    "Miners": MINER_METRICS,
    "Validators": (*REGISTRY_METRICS, *AUDIT_METRICS, *REPAIR_METRICS, *FOLLOWING_METRICS),
}


def row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_metric_has_its_row_and_every_row_its_metric(section: str) -> None:
    text = TEXT.split(f"## {section}\n")[1].split("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows == [row(metric) for metric in SECTIONS[section]]


def test_alerts_name_metrics_that_there_are() -> None:
    names = {metric.name for metrics in SECTIONS.values() for metric in metrics}
    named = set(re.findall(r"`(hippy_[a-z_]+)", TEXT))
    assert named <= names


def test_no_metric_is_declared_twice() -> None:
    for role in ("Miners", "Validators"):
        names = [metric.name for metric in (*NODE_METRICS, *SECTIONS[role])]
        assert len(names) == len(set(names))
