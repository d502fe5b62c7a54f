"""``hippy miner run`` and ``hippy validator run``: options as Bittensor's users spell them, over the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hippy.cli import node
from hippy.cli.commands import hippy
from hippy.endpoint import Endpoint
from hippy.errors import ConfigError
from hippy.settings import NodeSettings

BASE = 'network = "local:net"\nhotkey_file = "hotkey"\ndata_dir = "data"\n'
LINES = {"miner": BASE + "capacity_bytes = 1000000\n", "validator": BASE}


@pytest.fixture(params=["miner", "validator"])
def role(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A role whose server only notes its settings."""
    for name in NodeSettings.model_fields:
        monkeypatch.delenv(f"HIPPY_{name.upper()}", raising=False)
    monkeypatch.setattr(node, "_log_to_stderr", lambda _: None)  # it would replace pytest's handlers
    STARTED.clear()

    async def start(settings: NodeSettings, *, clock: object, ready: Callable[[Endpoint], None]) -> None:
        STARTED.append(settings)
        ready(Endpoint("127.0.0.1", 4000))

    monkeypatch.setattr(f"hippy.{request.param}.server.run_{request.param}", start)
    return str(request.param)


STARTED: list[NodeSettings] = []


def run(role: str, tmp_path: Path, *options: str) -> Result:
    config = tmp_path / "node.toml"
    config.write_text(LINES[role])
    return CliRunner().invoke(hippy, [role, "run", "--config", str(config), *options])


def started(role: str, tmp_path: Path, *options: str) -> dict[str, Any]:
    result = run(role, tmp_path, *options)
    assert result.exit_code == 0, result.output
    assert "listening on 127.0.0.1:4000" in result.stderr
    (settings,) = STARTED
    return settings.model_dump()


def test_without_options_the_file_is_all(role: str, tmp_path: Path) -> None:
    settings = started(role, tmp_path)
    assert (settings["network"], settings["netuid"], settings["hotkey_file"]) == ("local:net", 1, Path("hotkey"))


def test_options_win_over_environment_and_file(role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPY_NETWORK", "finney")
    monkeypatch.setenv("HIPPY_NETUID", "3")
    wallet = ["--wallet.name", "hippy", "--wallet.hotkey", "m1", "--wallet.path", str(tmp_path)]
    settings = started(role, tmp_path, "--network", "test", "--netuid", "9", *wallet)
    assert (settings["network"], settings["netuid"], settings["hotkey_file"]) == ("test", 9, None)
    assert (settings["wallet_name"], settings["wallet_hotkey"], settings["wallet_path"]) == ("hippy", "m1", tmp_path)


def test_subnet_zero_is_an_option_like_others(role: str, tmp_path: Path) -> None:
    assert started(role, tmp_path, "--netuid", "0")["netuid"] == 0


def test_hotkey_of_no_wallet_is_a_mistake(role: str, tmp_path: Path) -> None:
    result = run(role, tmp_path, "--wallet.hotkey", "m1")
    assert isinstance(result.exception, ConfigError)
    assert STARTED == []


def test_subnet_out_of_range_is_a_usage_error(role: str, tmp_path: Path) -> None:
    assert run(role, tmp_path, "--netuid", "65536").exit_code == 2


def show(role: str, tmp_path: Path, *options: str, text: str = "") -> Result:
    config = tmp_path / "node.toml"
    config.write_text(LINES[role] + text)
    return CliRunner().invoke(hippy, [role, "settings", "--config", str(config), *options])


def test_settings_in_force_are_shown_with_their_sources(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIPPY_PORT", "4100")
    told = json.loads(show(role, tmp_path, "--netuid", "9", "--json").stdout)
    assert (told["settings"]["port"], told["settings"]["netuid"]) == (4100, 9)
    sources = told["sources"]
    assert [sources[name] for name in ("port", "netuid", "network", "host")] == [
        "HIPPY_PORT",
        "--netuid",
        "file",
        "default",
    ]
    assert STARTED == []


def test_settings_that_are_shown_are_a_settings_file(role: str, tmp_path: Path) -> None:
    accounts = '[[accounts]]\naccount = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"\nquota_bytes = 1\n'
    first = show(role, tmp_path, text=accounts if role == "validator" else "").stdout
    (tmp_path / "again.toml").write_text(first)
    again = CliRunner().invoke(hippy, [role, "settings", "--config", str(tmp_path / "again.toml"), "--json"])
    assert again.exit_code == 0, again.output
    if role == "validator":
        assert json.loads(again.stdout)["settings"]["accounts"][0]["quota_bytes"] == 1


def test_a_providers_key_is_not_shown(role: str, tmp_path: Path) -> None:
    result = show(role, tmp_path, text='fallback_endpoints = ["wss://chain.example/hunter2"]\n')
    assert result.exit_code == 0
    assert "wss://chain.example/***" in result.stdout
    assert "hunter2" not in result.output


def test_wrong_settings_are_exit_code_11_and_start_nothing(role: str, tmp_path: Path) -> None:
    for command in ("run", "settings"):
        config = tmp_path / "node.toml"
        config.write_text(LINES[role] + "prot = 1\n")
        error = CliRunner().invoke(hippy, [role, command, "--config", str(config)]).exception
        assert isinstance(error, ConfigError)
        assert error.exit_code == 11
    assert STARTED == []


def test_a_hotkey_that_others_can_read_starts_nothing(role: str, tmp_path: Path) -> None:
    (tmp_path / "hotkey").write_text("{}")
    (tmp_path / "hotkey").chmod(0o644)
    config = tmp_path / "node.toml"
    config.write_text(LINES[role].replace('"hotkey"', f'"{tmp_path / "hotkey"}"'))
    error = CliRunner().invoke(hippy, [role, "run", "--config", str(config)]).exception
    assert isinstance(error, ConfigError)
    assert f"chmod 600 {tmp_path / 'hotkey'}" == error.hint
    assert STARTED == []
