"""``hippy sim``: options, the table, the JSON document, progress and the exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hippy.cli.commands import hippy
from hippy.errors import ConfigError, UsageError
from hippy.sim import settings
from hippy.validator import scoring

QUICK = ("--days", "0.2", "--miners", "30")


@pytest.fixture(autouse=True)
def _few_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run be of few segments, which no option asks for: to place the usual ones takes longer than to test."""
    monkeypatch.setattr(settings, "Settings", partial(settings.Settings, lots=10, bundle=5))


def run(*args: str) -> Result:
    return CliRunner().invoke(hippy, ["sim", *QUICK, *args], standalone_mode=False)


def document(*args: str) -> dict[str, Any]:
    done = run("--json", *args)
    assert done.exception is None
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_table_has_a_line_for_honesty_and_one_for_every_strategy() -> None:
    done = run("--strategy", "drop-5%", "--strategy", "audits-only")
    assert done.exception is None
    assert done.return_value == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[:4]] == [
        "strategy",
        "honest",
        "drop-5%",
        "audits-only",
    ]
    assert done.stderr.splitlines() == [f"epoch {number} of 4" for number in range(1, 5)]


def test_json_has_what_the_table_has_and_more() -> None:
    found = document("--strategy", "wash-zeros", "--seed", "9")
    assert found["settings"]["seed"] == 9
    assert [row["strategy"] for row in found["strategies"]] == ["honest", "wash-zeros"]
    assert found["strategies"][0]["ratio"] == 1
    assert found["wash"][0]["earned"] < found["wash"][0]["fee"]
    assert {each["account"] for each in found["portions"]} >= {"customer-a", "account of wash-zeros"}


def test_the_same_seed_prints_the_same() -> None:
    one, two, other = (run("--strategy", "drop-1%", "--report", "--seed", seed).stdout for seed in ("5", "5", "6"))
    assert one == two
    assert one != other


def test_the_report_says_where_the_bytes_of_an_account_are() -> None:
    done = run("--strategy", "wash-grind", "--report")
    assert "account of wash-grind: " in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("account of wash-grind  ")]
    assert any("wash-grind " in line.removeprefix("account of wash-grind") for line in lines)


def test_a_strategy_that_beats_honesty_makes_the_command_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "counted_bytes", lambda paid, _unpaid, _rules: 10**12 if paid else 0)
    done = run("--strategy", "split-4")
    assert done.return_value == 1
    assert "beats honesty" in done.stdout


def test_honest_alone_is_a_run_without_cheats() -> None:
    assert [row["strategy"] for row in document("--strategy", "honest")["strategies"]] == ["honest"]


def test_a_plot_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert run("--strategy", "flap", "--plot", str(tmp_path / "w.png")).exception is None
    assert (tmp_path / "w.png").stat().st_size > 1_000


def test_a_plot_without_matplotlib_is_refused_before_anything_is_simulated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("--plot", str(tmp_path / "w.png"))
    assert isinstance(done.exception, ConfigError)
    assert done.stderr == ""


def test_an_unknown_strategy_and_too_few_miners_are_usage_errors() -> None:
    assert isinstance(run("--strategy", "nonsense").exception, UsageError)
    assert isinstance(run().exception, UsageError)  # all strategies need more than thirty miners


def test_help_has_examples_and_loads_no_simulation() -> None:
    script = (
        "import sys\n"
        "from hippy.cli.commands import hippy\n"
        "hippy(['sim', '--help'], standalone_mode=False)\n"
        "print('loaded:', *[name for name in sys.modules if name.startswith('hippy.sim') or name == 'pydantic'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert "hippy sim --days 7 --strategy drop-1%" in done.stdout
    assert done.stdout.endswith("loaded:\n")
