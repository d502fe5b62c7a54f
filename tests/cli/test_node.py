"""``hippy miner run`` and ``hippy validator run``: options as Bittensor's users spell them, over the rest."""

from __future__ import annotations

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
