"""``hippy bench``: options, the JSON document and the table, on a clock that ticks whenever it is looked at."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hippy.bench.machine import Machine
from hippy.bench.measure import Measurement, Spread
from hippy.bench.report import Group, Ratio
from hippy.cli import bench, bench_table
from hippy.cli.commands import hippy
from hippy.erasure import engines
from hippy.errors import UsageError
from tests.bench.engines import ZFEC, watched

COMMANDS = {
    "codec": ["codec", "--ec", "2/4", "--ec", "3/5", "--shard", "100"],
    "segment": ["segment", "--ec", "2/4", "--piece", "1KiB"],
    "proofs": ["proofs"],
    "rejects": ["rejects"],
}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a sample take a second of a clock of ours, and the engine be one of ours."""
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=itertools.count().__next__))
    monkeypatch.setattr(engines, "chosen_engine", watched)


def run(*args: str) -> Result:
    return CliRunner().invoke(hippy, ["bench", *args], standalone_mode=False)


def report(*args: str) -> dict[str, Any]:
    done = run(*args, "--json")
    assert done.exception is None
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize("name", COMMANDS)
def test_a_report_says_what_was_measured_where_and_how(name: str) -> None:
    document = report(*COMMANDS[name], "--rounds", "2")
    assert document["bench"] == name
    assert document["machine"]["engine"] == "watched"
    assert {"processor", "cores", "flags", "python", "library", "load"} <= set(document["machine"])
    for group in document["groups"]:
        assert group["rounds"] == 2
        assert group["ratios"]
        assert {ratio["case"] for ratio in group["ratios"]} <= {case["name"] for case in group["cases"]}
        for case in group["cases"]:
            assert set(case["seconds"]) == set(case["bytes_per_second"]) == {"median", "low", "high"}
            assert case["seconds"]["median"] > 0


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_has_every_case_and_goes_to_standard_output_alone(name: str) -> None:
    cases = [case["name"] for group in report(*COMMANDS[name])["groups"] for case in group["cases"]]
    done = run(*COMMANDS[name])
    assert done.exception is None
    assert [case for case in cases if case not in done.stdout] == []
    assert "engine   watched, libwatched.so\n" in done.stdout
    assert "\x1b" not in done.output


def test_every_code_is_measured_with_every_length() -> None:
    groups = report("codec", "--ec", "2/4", "--ec", "3/5", "--shard", "100", "--shard", "1KiB")["groups"]
    found = [(group["k"], group["n"], group["piece_bytes"]) for group in groups]
    assert found == [(2, 4, 100), (2, 4, 1024), (3, 5, 100), (3, 5, 1024)]


def test_progress_is_a_line_a_group_on_standard_error() -> None:
    done = run(*COMMANDS["codec"], "--rounds", "3")
    assert done.stderr == "1 of 2: 2/4 of 100 bytes, 3 rounds\n2 of 2: 3/5 of 100 bytes, 3 rounds\n"
    told = [json.loads(line) for line in run(*COMMANDS["codec"], "--rounds", "3", "--json").stderr.splitlines()]
    assert told[1] == {"group": "3/5 of 100 bytes", "number": 2, "of": 2, "rounds": 3}


def test_rounds_that_were_asked_for_are_run_however_slow_the_cases_are() -> None:
    (group,) = report("segment", "--ec", "2/4", "--piece", "1KiB", "--rounds", "9")["groups"]
    assert group["rounds"] == 9
    (group,) = report("segment", "--ec", "2/4", "--piece", "1KiB")["groups"]
    assert group["rounds"] == 3  # ten cases of a second each


@pytest.mark.parametrize("name", COMMANDS)
def test_a_quick_run_has_fewer_rounds(name: str) -> None:
    assert {group["rounds"] for group in report(*COMMANDS[name], "--quick")["groups"]} == {3}


def test_why_the_slow_engine_serves_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "chosen_engine", lambda: ZFEC)
    done = run(*COMMANDS["segment"])
    assert "engine   zfec\n         no ISA-L library was found; hippy doctor\n" in done.stdout
    assert "x zfec" not in done.stdout


@pytest.mark.parametrize("args", [["codec", "--ec", "4/4"], ["codec", "--ec", "4:8"], ["segment", "--piece", "5MiB"]])
def test_what_cannot_be_measured_is_a_usage_error(args: list[str]) -> None:
    assert isinstance(run(*args).exception, UsageError)


@pytest.mark.parametrize("size", ["0", "64kib", "-1", "1.5MiB", "4 MiB", "GiB"])
def test_sizes_have_one_spelling(size: str) -> None:
    done = run("codec", "--shard", size)
    assert done.exception is not None
    assert "is no size" in str(done.exception)


def test_bench_alone_lists_the_benches() -> None:
    done = CliRunner().invoke(hippy, ["bench"])
    assert all(f"\n  {name} " in done.output for name in COMMANDS)


def test_figures_have_three_digits_and_their_spread() -> None:
    measurement = Measurement("encode", 1_000_000, 1, (0.002, 0.002, 0.001))
    ratios = (Ratio("encode", "zfec", Spread(49.04, 9.876, 1234.5)), Ratio("encode", "one", Spread(0.98, 0.9, 1.0)))
    group = Group("10/24", {}, (measurement,), ratios)
    assert bench_table.row(group, measurement) == (
        "encode",
        "2.00 ms",
        "500 (500 … 750)",
        "49.0x zfec (9.88 … 1,234)\n0.98x one (0.90 … 1.00)",
    )


def test_a_machine_that_tells_little_is_described_in_full_sentences() -> None:
    machine = Machine("unknown", "m", 1, (), "X", "CPython 3", "zfec", None, None, ())
    assert bench_table.machine_lines(machine) == [
        "machine  unknown, 1 core, m",
        "python   CPython 3 on X",
        "engine   zfec",
        "load     unknown",
    ]
