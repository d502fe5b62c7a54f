"""The systemd units: systemd understands them, and what they run and protect fits the examples."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hippy.cli.commands import hippy
from hippy.cli.running import STOP_SECONDS
from hippy.errors import ConfigError, UsageError
from hippy.miner.settings import MinerSettings
from hippy.settings import NodeSettings, load_settings
from hippy.validator.settings import ValidatorSettings

DEPLOY = Path(__file__).parents[2] / "deploy"
ROLES: dict[str, type[NodeSettings]] = {"miner": MinerSettings, "validator": ValidatorSettings}
HARDENING = ("NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes", "CapabilityBoundingSet=", "UMask=0077")


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def lines(role: str) -> list[str]:
    text = (DEPLOY / f"hippy-{role}.service").read_text()
    return [line for line in text.splitlines() if line and not line.startswith(("#", "["))]


def value(role: str, name: str) -> str:
    (found,) = [line.partition("=")[2] for line in lines(role) if line.startswith(f"{name}=")]
    return found


def test_systemd_finds_nothing_wrong(role: str, tmp_path: Path) -> None:
    verifier = shutil.which("systemd-analyze")
    if verifier is None:
        pytest.skip("systemd-analyze is not installed here")
    text = (DEPLOY / f"hippy-{role}.service").read_text()
    unit = tmp_path / f"hippy-{role}.service"
    unit.write_text(text.replace("/opt/hippy/bin/hippy", sys.executable))  # it looks whether the program is there
    done = subprocess.run([verifier, "verify", str(unit)], capture_output=True, text=True, check=False, timeout=60)
    about_us = [line for line in done.stderr.splitlines() if unit.name in line]
    if done.returncode != 0 and not about_us:
        pytest.skip(f"systemd-analyze does not work here: {done.stderr.strip()[:200]}")
    assert about_us == []


def test_unit_starts_the_role_with_its_settings(role: str) -> None:
    program, *words = value(role, "ExecStart").split()
    assert Path(program).name == "hippy"
    command: click.Command = hippy
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    command.make_context("hippy", list(words)).close()
    assert words == ["--config", f"/etc/hippy/{role}.toml"]


def test_unit_lets_the_node_write_the_data_directory_of_the_example_and_nothing_else(
    role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HIPPY_DATA_DIR", raising=False)
    settings = load_settings(ROLES[role], DEPLOY / f"{role}.example.toml")
    assert value(role, "ReadWritePaths").split() == [str(settings.data_dir)]
    assert set(HARDENING) <= set(lines(role))


def test_unit_waits_longer_than_a_node_takes_to_end_and_tells_faults_of_the_operator(role: str) -> None:
    assert value(role, "Type") == "notify"
    assert int(value(role, "TimeoutStopSec")) > STOP_SECONDS
    assert value(role, "Restart") == "on-failure"
    assert {int(code) for code in value(role, "RestartPreventExitStatus").split()} == {
        UsageError.exit_code,
        ConfigError.exit_code,
    }
    assert int(value(role, "LimitNOFILE")) >= 4096
    assert re.fullmatch(r"[0-9]+", value(role, "WatchdogSec"))
