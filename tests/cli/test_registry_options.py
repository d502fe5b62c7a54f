"""Where a validator's registry is, as its command is told; a password is neither taken from argv nor shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hippy.cli import node
from hippy.cli.commands import hippy
from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, HippyError, UsageError
from hippy.validator.settings import ValidatorSettings

BASE = 'network = "local:net"\nhotkey_file = "hotkey"\ndata_dir = "data"\n'
SECRET = "hunter2"
WITH_PASSWORD = f'registry = "postgresql://hippy:{SECRET}@db/hippy"\n'

STARTED: list[ValidatorSettings] = []


@pytest.fixture(autouse=True)
def _only_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have settings noted by a server that does not start."""
    for name in ValidatorSettings.model_fields:
        monkeypatch.delenv(f"HIPPY_{name.upper()}", raising=False)
    monkeypatch.setattr(node, "_log_to_stderr", lambda _: None)
    STARTED.clear()

    async def start(settings: ValidatorSettings, *, clock: object, ready: Callable[[Endpoint], None]) -> None:
        STARTED.append(settings)

    monkeypatch.setattr("hippy.validator.server.run_validator", start)


def run(tmp_path: Path, *options: str, command: str = "run", text: str = "", mode: int = 0o644) -> Result:
    config = tmp_path / "node.toml"
    config.write_text(BASE + text)
    config.chmod(mode)
    return CliRunner().invoke(hippy, ["validator", command, "--config", str(config), *options])


def refused(result: Result, kind: type[HippyError]) -> str:
    """Return what was said by the error that ended a command, hint and all, and check that it shows no password."""
    assert isinstance(result.exception, kind), result.output
    told = f"{result.exception} {result.exception.hint}"
    assert SECRET not in told + result.output
    assert STARTED == []
    return told


def test_second_process_is_told_its_ports_and_the_registry_on_the_command_line(tmp_path: Path) -> None:
    result = run(tmp_path, "--registry", "postgresql://hippy@db/hippy", "--port", "4202", "--admin-port", "4203")
    assert result.exit_code == 0, result.output
    [settings] = STARTED
    assert (settings.registry, settings.port, settings.admin_port) == ("postgresql://hippy@db/hippy", 4202, 4203)


def test_registry_is_in_the_data_dir_unless_it_is_told(tmp_path: Path) -> None:
    assert run(tmp_path).exit_code == 0
    assert STARTED[0].registry is None


@pytest.mark.parametrize("command", ["run", "settings"])
@pytest.mark.parametrize("url", [f"postgresql://hippy:{SECRET}@db/hippy", f"postgresql://db/hippy?password={SECRET}"])
def test_password_on_the_command_line_is_refused_without_being_repeated(tmp_path: Path, command: str, url: str) -> None:
    result = run(tmp_path, "--registry", url, command=command)
    assert "which every user of this machine can read" in refused(result, UsageError)


def test_password_in_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    assert "chmod 600" in refused(run(tmp_path, text=WITH_PASSWORD), ConfigError)
    assert run(tmp_path, text=WITH_PASSWORD, mode=0o600).exit_code == 0
    assert SECRET not in repr(STARTED)


def test_registry_is_shown_without_its_password(tmp_path: Path) -> None:
    for options in ((), ("--json",)):
        result = run(tmp_path, *options, command="settings", text=WITH_PASSWORD, mode=0o600)
        assert "postgresql://hippy:***@db/hippy" in result.stdout
        assert SECRET not in result.output
    without = json.loads(run(tmp_path, "--json", command="settings").stdout)
    assert without["settings"]["registry"] is None


def test_what_is_no_address_of_a_database_is_refused_without_being_repeated(tmp_path: Path) -> None:
    for options, text in ((("--registry", f"mysql://x:{SECRET}@db"), ""), ((), f'registry = "{SECRET}"\n')):
        result = run(tmp_path, *options, text=text)
        assert "not an address of a PostgreSQL database" in refused(result, ConfigError)
