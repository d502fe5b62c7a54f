"""A report keeps what was measured."""

from __future__ import annotations

import json
from pathlib import Path

from hippy.bench.machine import describe_machine
from hippy.bench.measure import Measurement, Spread
from hippy.bench.report import Group, Ratio, Report
from tests.bench.engines import watched

SLOW = Measurement("slow", 1_000_000, 1, (0.5, 0.25, 1 / 3))
FAST = Measurement("fast", 1_000_000, 20, (0.125, 0.125, 0.125))
GROUP = Group("10/24", {"k": 10, "n": 24}, (FAST, SLOW), (Ratio("fast", "slow", Spread(4.0, 3.0, 5.0)),))


def test_a_report_is_one_json_document() -> None:
    report = Report("codec", describe_machine(watched(), Path("missing")), (GROUP,)).to_dict()
    assert json.loads(json.dumps(report)) == report
    assert set(report) == {"bench", "machine", "groups"}
    (group,) = report["groups"]
    assert (group["title"], group["k"], group["n"], group["rounds"]) == ("10/24", 10, 24, 3)
    assert group["cases"][1] == {
        "name": "slow",
        "user_bytes": 1_000_000,
        "repeats": 1,
        "seconds": {"median": 0.333333, "low": 0.291667, "high": 0.416667},
        "bytes_per_second": {"median": 3_000_000.0, "low": 2_500_000.0, "high": 3_500_000.0},
    }
    assert group["ratios"] == [{"case": "fast", "to": "slow", "median": 4.0, "low": 3.0, "high": 5.0}]


def test_a_ratio_is_found_beside_its_case() -> None:
    assert GROUP.ratios_of("fast") == GROUP.ratios
    assert GROUP.ratios_of("slow") == ()
