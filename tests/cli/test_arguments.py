"""What commands refuse before they open a connection."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from hippy.cli.commands import hippy
from hippy.cli.net import MINERS_MAX
from hippy.errors import AuthError, HippyError, NotFoundError, UnreachableError, UsageError
from hippy.net.plan import NODES_MAX, PLAN_FILE


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home; whoever opens a client fails."""
    monkeypatch.delenv("HIPPY_NET", raising=False)
    monkeypatch.setenv("HIPPY_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same").write_bytes(b"")
    return tmp_path / "home"


def failure(*args: str, stdin: bytes = b"") -> BaseException | None:
    """Run a command line and return what it raised."""
    return CliRunner().invoke(hippy, args, input=stdin, standalone_mode=False).exception


@pytest.mark.parametrize(
    ("args", "kind", "words"),
    [
        (["put", "one/same", "two/same", "hippy://b/d/"], UsageError, "would both be stored as hippy://b/d/same"),
        (["put", "-r", "one", "one/", "hippy://b/"], UsageError, "would both be stored"),
        (["put", "-", "-", "hippy://b/x"], UsageError, "slash"),
        (["put", "-", "-", "hippy://b/x/"], UsageError, "a name of its own"),
        (["put", "one/same", "missing", "hippy://b/d/"], NotFoundError, "missing"),
        (["put", "one", "hippy://b/d/"], UsageError, "is a directory"),
        (["get", "hippy://b/x", "-", "--json"], UsageError, "standard output takes one object"),
        (["get", "-r", "hippy://b/x", "-"], UsageError, "standard output takes one object"),
        (["get", "hippy://b/d/", "out"], UsageError, "names a directory"),
        (["cat", "hippy://b/d/"], UsageError, "names a directory"),
        (["stat", "hippy://b/d/"], UsageError, "names a directory"),
        (["rm", "hippy://b/x", "hippy://b/d/"], UsageError, "names a directory"),
        (["login", "--validator", "foo"], UsageError, "--validator: "),
        (["login", "--validator", "localhost:80"], UsageError, "--validator: "),
        (["login", "--validator", "127.0.0.1:80", "--validator-hotkey", "5F"], UsageError, "--validator-hotkey: "),
        (["login", "--validator", "127.0.0.1:80", "--recover"], UsageError, "no recovery phrase"),
        (["demo", "empty"], UsageError, "no files"),
    ],
)
def test_mistakes_are_found_before_anything_is_sent(args: list[str], kind: type[HippyError], words: str) -> None:
    Path("empty").mkdir()
    error = failure(*args)
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["get", "hippy://b/d/", "out"], "hippy get -r hippy://b/d/ out"),
        (["rm", "hippy://b/d/"], "hippy rm -r hippy://b/d/"),
        (["stat", "hippy://b/d/"], "hippy ls hippy://b/d/"),
        (["cat", "hippy://b/d/"], "hippy get -r hippy://b/d/ DIR"),
    ],
)
def test_directories_come_with_the_command_for_them(args: list[str], hint: str) -> None:
    error = failure(*args)
    assert isinstance(error, UsageError)
    assert error.hint == hint


def test_a_phrase_is_read_from_a_pipe_without_a_word() -> None:
    done = CliRunner().invoke(
        hippy, ["login", "--validator", "127.0.0.1:80", "--recover"], input="no such phrase\n", standalone_mode=False
    )
    assert isinstance(done.exception, AuthError)
    assert done.output == ""


def test_a_validator_nobody_knows_yet_is_named_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(*_: object, **__: object) -> None:
        raise UnreachableError("no answer from 5C4hrfjw… at 127.0.0.1:80")

    monkeypatch.setattr("hippy.transport.hello.meet", nobody)
    error = failure("login", "--validator", "127.0.0.1:80")
    assert isinstance(error, UnreachableError)
    assert str(error) == "no validator answers at 127.0.0.1:80"


def test_the_largest_network_fits_its_limit() -> None:
    assert MINERS_MAX == NODES_MAX - 1


@pytest.mark.parametrize("detach", [[], ["-d"]])
def test_a_directory_with_other_things_is_not_written_to(tmp_path: Path, detach: list[str]) -> None:
    error = failure("net", "up", *detach, "--dir", str(tmp_path / "one"))
    assert isinstance(error, HippyError)
    assert error.code == "config"
    assert os.listdir(tmp_path / "one") == ["same"]


def test_numbers_that_do_not_fit_make_no_directory(tmp_path: Path) -> None:
    error = failure("net", "up", "-d", "--miners", "199", "--validators", "16", "--dir", str(tmp_path / "net"))
    assert isinstance(error, UsageError)
    assert not (tmp_path / "net").exists()


def test_no_node_is_killed_when_one_name_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = '{"name":"miner1","role":"miner","host":"127.0.0.1","port":1}'
    (tmp_path / PLAN_FILE).write_text(f'{{"version":1,"nodes":[{node}]}}')
    sent: list[object] = []

    async def command(*args: object) -> None:
        sent.append(args[1:])

    monkeypatch.setattr("hippy.net.control.command", command)
    error = failure("net", "kill", "miner1", "nosuch", "--dir", str(tmp_path))
    assert isinstance(error, UsageError)
    assert (sent, error.hint) == ([], "there are miner1")
    assert failure("net", "kill", "miner1", "miner1", "--dir", str(tmp_path)) is None
    assert sent == [("kill", "miner1")]
