"""The directory of a local network."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest

from hippy.chain.local import open_local_chain
from hippy.chain.open import CHAIN_FILE
from hippy.clock import SystemClock
from hippy.errors import ConfigError, UsageError
from hippy.identity import load_keyfile
from hippy.net.plan import PLAN_FILE, UP_LOG, create_plan, load_plan


async def test_every_node_is_registered_under_its_own_key(tmp_path: Path) -> None:
    plan = await create_plan(tmp_path / "net", miners=3, validators=2, clock=SystemClock())
    async with open_local_chain(plan.directory / CHAIN_FILE, hotkey=None, clock=SystemClock()) as chain:
        metagraph = await chain.metagraph()
    hotkeys = [load_keyfile(plan.hotkey_file(node)).public_key for node in plan.nodes]
    assert [neuron.hotkey for neuron in metagraph.neurons] == hotkeys
    assert [neuron.validator_permit for neuron in metagraph.neurons] == [True, True, False, False, False]
    assert len({neuron.coldkey for neuron in metagraph.neurons}) == 5


async def test_a_plan_is_loaded_as_it_was_made(tmp_path: Path) -> None:
    plan = await create_plan(tmp_path, miners=2, validators=1, clock=SystemClock())
    assert load_plan(tmp_path) == plan
    assert [node.name for node in plan.nodes] == ["validator1", "miner1", "miner2"]
    assert len({node.endpoint for node in plan.nodes}) == 3


async def test_settings_are_valid_toml_and_keys_are_private(tmp_path: Path) -> None:
    plan = await create_plan(tmp_path / 'a "quoted" dir', miners=1, validators=1, clock=SystemClock())
    for node in plan.nodes:
        settings = tomllib.loads(plan.settings_file(node).read_text())
        assert (settings["admin_host"], settings["admin_port"]) == (node.host, node.admin_port)
        assert node.admin_port != node.port
        assert settings["network"] == f"local:{plan.directory}"
        assert stat.S_IMODE(plan.hotkey_file(node).stat().st_mode) == 0o600


def test_an_empty_directory_holds_no_plan(tmp_path: Path) -> None:
    assert load_plan(tmp_path) is None


async def test_a_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(ConfigError, match="not empty"):
        await create_plan(tmp_path, miners=1, validators=1, clock=SystemClock())
    assert [item.name for item in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize(("miners", "validators"), [(0, 1), (1, 0), (200, 1)])
async def test_impossible_numbers_are_refused(tmp_path: Path, miners: int, validators: int) -> None:
    with pytest.raises(UsageError):
        await create_plan(tmp_path / "net", miners=miners, validators=validators, clock=SystemClock())
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"version":1}', '{"version":1,"nodes":[{}]}', '{"version":2}'])
def test_a_damaged_plan_is_a_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / PLAN_FILE).write_text(content)
    with pytest.raises(ConfigError):
        load_plan(tmp_path)


async def test_half_a_network_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hippy.net.plan._write_account", interrupt)
    (tmp_path / UP_LOG).touch()
    with pytest.raises(KeyboardInterrupt):
        await create_plan(tmp_path, miners=1, validators=1, clock=SystemClock())
    assert [item.name for item in tmp_path.iterdir()] == [UP_LOG]
