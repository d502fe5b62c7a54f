"""The settings files that operators copy, and the commands that they are told to type."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from hippy.chain.network import BittensorNetwork, parse_network
from hippy.cli.commands import hippy
from hippy.endpoint import Endpoint
from hippy.miner.settings import MinerSettings
from hippy.settings import NodeSettings, load_settings
from hippy.validator.settings import ValidatorSettings

DEPLOY = Path(__file__).parents[2] / "deploy"
EXAMPLES: dict[str, type[NodeSettings]] = {"miner": MinerSettings, "validator": ValidatorSettings}
HOTKEY_FIELDS = {"hotkey_file", "wallet_name", "wallet_hotkey", "wallet_path"}
COMMANDS = re.findall(r"^ {4,}(hippy .*)$", (DEPLOY / "README.md").read_text(), re.MULTILINE)


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in EXAMPLES.values():
        for name in kind.model_fields:
            monkeypatch.delenv(f"HIPPY_{name.upper()}", raising=False)


def example(role: str) -> NodeSettings:
    return load_settings(EXAMPLES[role], DEPLOY / f"{role}.example.toml")


def offered(role: str) -> dict[str, object]:
    """The settings in an example's comments."""
    text = (DEPLOY / f"{role}.example.toml").read_text()
    return tomllib.loads("\n".join(re.findall(r"^# ([a-z_]+ = .*)$", text, re.MULTILINE)))


@pytest.mark.parametrize("role", EXAMPLES)
def test_example_shows_every_setting(role: str) -> None:
    shown = example(role).model_fields_set
    assert shown.isdisjoint(offered(role))
    assert shown | set(offered(role)) == set(EXAMPLES[role].model_fields)


@pytest.mark.parametrize("role", EXAMPLES)
def test_what_an_example_offers_in_comments_can_be_set(role: str, tmp_path: Path) -> None:
    text = (DEPLOY / f"{role}.example.toml").read_text()
    kept = [line for line in text.splitlines() if line.split(" ")[0] not in HOTKEY_FIELDS]
    (tmp_path / "node.toml").write_text("\n".join(re.sub(r"^# ([a-z_]+ = )", r"\1", line) for line in kept))
    settings = load_settings(EXAMPLES[role], tmp_path / "node.toml")
    assert set(offered(role)) <= settings.model_fields_set


def test_examples_name_a_hotkey_in_both_ways() -> None:
    assert example("miner").wallet_name is not None
    assert example("validator").hotkey_file is not None


@pytest.mark.parametrize("role", EXAMPLES)
def test_example_is_for_a_public_chain_and_does_not_start_until_its_address_is_set(role: str) -> None:
    settings = example(role)
    network = parse_network(settings.network)
    assert isinstance(network, BittensorNetwork)
    assert not network.loopback
    assert not Endpoint(settings.host, 1).is_public


@pytest.mark.parametrize("line", COMMANDS)
def test_command_in_the_readme_is_one(line: str) -> None:
    command: click.Command = hippy
    words = shlex.split(line)[1:]
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    command.make_context("hippy", words).close()  # parses; what it would do is not done
