"""``hippy chain create | serve | admit | dismiss | hotkey`` say what is wrong and never show a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hippy.cli.commands import hippy


def chain(*arguments: object) -> Result:
    return CliRunner().invoke(hippy, ["chain", *map(str, arguments)])


def test_members_are_admitted_and_dismissed_by_the_address_that_hotkey_prints(tmp_path: Path) -> None:
    assert chain("create", tmp_path / "net").exit_code == 0
    address = chain("hotkey", tmp_path / "hotkey").output.strip()
    assert (tmp_path / "hotkey").stat().st_mode & 0o777 == 0o600
    assert json.loads(chain("admit", tmp_path / "net", address, "--validator", "--json").output)["uid"] == 0
    assert "registered" in chain("dismiss", tmp_path / "net", address).output


def test_the_keepers_files_are_its_users_alone(tmp_path: Path) -> None:
    chain("create", tmp_path / "net")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "net").iterdir()}
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}
    assert (tmp_path / "net").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--host", "0.0.0.0"), "--publish-host"),
        (("--host", "::"), "--publish-host"),
        (("--host", "keeper.example"), "numeric address"),
        (("--host", "127.0.0.1", "--publish-host", "keeper.example"), "numeric address"),
    ],
)
def test_an_address_that_nobody_could_connect_to_is_not_served(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    chain("create", tmp_path / "net")
    done = chain("serve", tmp_path / "net", *options)
    assert (done.exit_code, words in done.output) == (2, True), done.output
