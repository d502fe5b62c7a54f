"""``hippy sim durability``: options, tables, the JSON document and the exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from hippy.cli.commands import hippy
from hippy.errors import ConfigError, UsageError
from hippy.sim.durability import published

QUICK = ("--ec", "local", "--segments", "60", "--miners", "80", "--days", "10")


def run(*args: str) -> Result:
    return CliRunner().invoke(hippy, ["sim", "durability", *args], standalone_mode=False)


def text(*args: str) -> str:
    done = run(*args)
    assert done.exception is None
    assert done.return_value == 0
    return done.stdout


def test_assumptions_come_first_and_name_their_sources() -> None:
    lines = text("--analytic").splitlines()
    assert lines[0] == "Assumptions"
    assert "10 % a month, the assumption of the Storj whitepaper" in lines[1]
    assert any("PROTOCOL §5.5" in line for line in lines)


def test_published_figures_stand_beside_the_computed_ones() -> None:
    lines = text("--analytic").splitlines()
    assert any(line.split()[-2:] == ["7.354e-12", "7.354e-12"] for line in lines if "Backblaze 17+3" in line)
    assert any(line.count("99.858868985411326") == 2 for line in lines if "Storj 4/8" in line)
    assert not any("DIFFERS" in line for line in lines)


def test_a_published_figure_that_does_not_come_out_makes_the_command_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "BACKBLAZE_REBUILD_DAYS", 6.6)
    done = run("--analytic")
    assert done.return_value == 1
    assert "DIFFERS" in done.stdout


def test_all_profiles_and_the_code_that_was_asked_for_are_listed() -> None:
    lines = text("--analytic", "--ec", "8/12").splitlines()
    begins = [line.split()[:2] for line in lines if line.startswith("  ") and len(line.split()) > 8]
    for wanted in (["standard", "10/24"], ["careful", "10/30"], ["compact", "16/24"], ["local", "4/8"]):
        assert wanted in begins
    assert any(line.startswith("  8/12 ") for line in lines)


def test_the_simulation_is_told_after_the_calculations() -> None:
    found = text(*QUICK, "--vanish", "operator")
    assert "Simulated: 60 segments of 4/8 on 80 miners, 10 days, seed 1" in found
    assert "vanished" in found
    assert "rule of three" in found
    assert "Simulated" not in text("--analytic")


def test_json_has_everything_and_no_number_that_json_does_not_know() -> None:
    found = json.loads(text(*QUICK, "--json", "--seed", "3"), parse_constant=lambda name: pytest.fail(name))
    assert {row["what"] for row in found["assumptions"]} >= {"churn", "detection", "repair", "placement"}
    assert all(row["agrees"] for row in found["published"])
    assert [row["name"] for row in found["profiles"]] == ["standard", "careful", "compact", "local"]
    simulation = found["simulation"]
    assert simulation["seed"] == 3
    assert simulation["nines_high"] is None
    assert len(simulation["by_day"]["health"]) == 11
    assert sum(simulation["by_day"]["health"][0]) == 60


def test_without_a_simulation_json_has_none() -> None:
    assert "simulation" not in json.loads(text("--analytic", "--json"))


def test_the_same_seed_prints_the_same() -> None:
    one, two, other = (text(*QUICK, "--churn", "0.05", "--seed", seed) for seed in ("5", "5", "6"))
    assert one == two
    assert one != other


def test_churn_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "departures.csv"
    file.write_text("date,miners,departed\n2026-11-01,100,1\n2026-11-02,100,3\n")
    found = json.loads(text("--analytic", "--json", "--churn", str(file)))
    (churn,) = [row for row in found["assumptions"] if row["what"] == "churn"]
    assert churn["value"] == "2.000% a day"
    assert churn["source"].endswith("departures.csv: 4 departures in 2 days, 200 miner-days")


def test_churn_that_is_neither_a_rate_nor_such_a_file_is_a_usage_error(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    huge = tmp_path / "huge"
    huge.write_bytes(b"0" * 1_048_577)
    for churn in ("often", "0.6", "nan", str(tmp_path), str(binary), str(huge)):
        assert isinstance(run("--analytic", "--churn", churn).exception, UsageError), churn


def test_a_plot_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text("--analytic", "--plot", str(tmp_path / "d.png"))
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_without_matplotlib_is_refused_before_anything_is_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("--plot", str(tmp_path / "d.png"))
    assert isinstance(done.exception, ConfigError)
    assert done.stdout == ""


def test_options_in_front_of_durability_are_refused_and_not_ignored() -> None:
    done = CliRunner().invoke(hippy, ["sim", "--strategy", "flap", "durability"], standalone_mode=False)
    assert isinstance(done.exception, click.UsageError)
    assert "--strategy before it" in done.exception.message


def test_another_word_after_sim_is_a_usage_error() -> None:
    done = CliRunner().invoke(hippy, ["sim", "endurance"], standalone_mode=False)
    assert isinstance(done.exception, click.UsageError)


def test_help_has_examples_and_loads_no_simulation() -> None:
    script = (
        "import sys\n"
        "from hippy.cli.commands import hippy\n"
        "hippy(['sim', 'durability', '--help'], standalone_mode=False)\n"
        "print('loaded:', *[name for name in sys.modules if name.startswith('hippy.sim') or name == 'pydantic'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert "hippy sim durability --analytic" in done.stdout
    assert done.stdout.endswith("loaded:\n")
