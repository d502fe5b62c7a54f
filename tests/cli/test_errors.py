"""The matrix of errors, against a real network: each has its exit code, and each says what to do next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hippy.client.home import Credentials
from tests.cli.conftest import Command
from tests.client.network import Network, seed

COMMANDS = {
    "get": ("get", "{uri}", "out"),
    "cat": ("cat", "{uri}"),
    "stat": ("stat", "{uri}"),
    "ls": ("ls", "{uri}"),
    "rm": ("rm", "{uri}"),
    "rm -r": ("rm", "-r", "{uri}"),
    "du": ("du", "{uri}"),
    "cp": ("cp", "{uri}", "hippy://b/y"),
    "mv": ("mv", "{uri}", "hippy://b/y"),
    "find": ("find", "{uri}"),
    "tree": ("tree", "{uri}"),
    "check": ("check", "{uri}"),
}


def command_line(name: str, uri: str) -> list[str]:
    return [part.format(uri=uri) for part in COMMANDS[name]]


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_object_is_3(hippy: Command, name: str) -> None:
    done = hippy(*command_line(name, "hippy://errors/no/such"))
    assert done.code == 3
    assert done.hint


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("uri", ["errors/x", "hippy://", "hippy://errors/../x", "hippy://errors/a//b"])
def test_a_malformed_uri_is_2(hippy: Command, name: str, uri: str) -> None:
    done = hippy(*command_line(name, uri))
    assert done.code == 2
    assert done.hint


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_key_is_4(hippy: Command, network: Network, log_in: Callable[[Credentials], None], name: str) -> None:
    credentials = Credentials.of_seed(
        seed("nobody knows me"),
        validator_endpoint=network.credentials.validator_endpoint,
        validator_hotkey=network.credentials.validator_hotkey,
        network=network.credentials.network,
        netuid=network.credentials.netuid,
        local=True,
    )
    log_in(credentials)
    done = hippy(*command_line(name, "hippy://errors/x"))
    assert done.code == 4
    assert done.hint


def test_a_wrong_key_of_the_validator_is_no_success(
    hippy: Command, network: Network, log_in: Callable[[Credentials], None]
) -> None:
    other = replace(network.poor_credentials, validator_hotkey=network.credentials.account)
    log_in(other)
    done = hippy("ls")
    assert done.code in (1, 4)
    assert done.hint


def test_a_put_where_something_is_there_is_10_when_that_was_to_be_kept(hippy: Command, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("new")
    assert hippy("put", tmp_path / "x", "hippy://errors/there").code == 0
    for command in ("put", "cp", "mv"):
        source = tmp_path / "x" if command == "put" else "hippy://errors/other"
        if command != "put":
            hippy("put", tmp_path / "x", "hippy://errors/other")
        done = hippy(command, source, "hippy://errors/there", "--if-absent")
        assert (done.code, done.hint) == (10, "choose another name, or allow overwriting")


def test_an_account_without_room_is_7(
    hippy: Command, network: Network, log_in: Callable[[Credentials], None], tmp_path: Path
) -> None:
    log_in(network.poor_credentials)
    (tmp_path / "big").write_bytes(bytes(200_000))
    done = hippy("put", tmp_path / "big", "hippy://errors/big")
    assert done.code == 7
    assert done.hint


def test_data_that_cannot_be_had_now_is_5(hippy: Command, network: Network, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(50_000))
    hippy("put", tmp_path / "x", "hippy://errors/away")
    for miner in network.miners:
        miner.corrupts = True
    done = hippy("get", "hippy://errors/away", tmp_path / "out")
    assert (done.code, (tmp_path / "out").exists()) == (5, False)
    assert done.hint


def test_a_file_that_is_not_there_is_3_and_the_hint_is_about_files(hippy: Command, tmp_path: Path) -> None:
    done = hippy("put", tmp_path / "missing", "hippy://errors/x")
    assert (done.code, done.hint) == (3, "check the path")
