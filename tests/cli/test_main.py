"""The command's entry: help, errors and exit codes."""

from __future__ import annotations

import errno
import importlib
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hippy.cli import commands, outcome
from hippy.cli.main import main
from hippy.cli.printing import Invocation
from hippy.errors import HippyError, NotFoundError, _subclasses

KINDS = [kind for kind in _subclasses(HippyError) if kind.__module__ == "hippy.errors"]


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr("sys.argv", ["hippy", *args])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException, *, as_json: bool = False) -> int:
    """Run a command that raises ``error``."""

    def fail(obj: Invocation, **_: object) -> None:
        obj.as_json = as_json
        raise error

    monkeypatch.delenv("HIPPY_DEBUG", raising=False)
    monkeypatch.setattr(outcome, "hippy", fail)
    return run(monkeypatch)


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_listed_command_exists_and_explains_itself(name: str) -> None:
    command = getattr(importlib.import_module(commands.COMMANDS[name][0]), name)
    assert isinstance(command, click.Command)
    assert command.help


def test_help_lists_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in commands.COMMANDS)


def test_an_unknown_command_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "frobnicate") == 2


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_becomes_its_exit_code_and_two_lines(
    kind: type[HippyError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail_with(monkeypatch, kind("it broke", hint="mend it")) == kind.exit_code
    assert capsys.readouterr().err == "error: it broke\nhint: mend it\n"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_names_its_next_step(
    kind: type[HippyError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, kind("it broke"))
    assert capsys.readouterr().err.splitlines()[1].startswith("hint: ")


def test_errors_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert fail_with(monkeypatch, NotFoundError("no such file: \x1b[31m\udcff")) == 3
    assert capsys.readouterr().err.splitlines()[0] == "error: no such file: \\x1b[31m\\xff"


def test_errors_are_json_when_results_are(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert fail_with(monkeypatch, NotFoundError("no such thing"), as_json=True) == 3
    described = json.loads(capsys.readouterr().err)
    hint = "hippy ls shows what there is"
    assert described == {"error": {"code": "not_found", "message": "no such thing", "hint": hint}}


@pytest.mark.parametrize(
    "args",
    [
        ["ls", "--json", "not-a-uri"],
        ["put", "--json"],
        ["net", "up", "--miners", "200", "--json"],
        ["ls", "--bogus", "--json"],
        ["frobnicate", "--json"],
    ],
)
def test_mistakes_are_json_when_results_are(
    args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *args) == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "usage"


def test_a_file_called_like_the_option_does_not_ask_for_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "ls", "--", "--json") == 2
    assert capsys.readouterr().err.startswith("error: '--json' is not a hippy:// address")


def test_what_nobody_expected_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert fail_with(monkeypatch, ExceptionGroup("tasks", [ValueError("two\nlines")])) == 1
    told = capsys.readouterr().err
    assert told == "error: unexpected ValueError: two; run again with HIPPY_DEBUG=1 for the traceback\n"


def test_a_group_of_errors_is_told_as_the_one_that_says_most(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = ExceptionGroup("inner", [OSError(5, "disk"), NotFoundError("no such thing")])
    assert fail_with(monkeypatch, ExceptionGroup("outer", [ValueError("noise"), inner])) == 3
    assert capsys.readouterr().err == "error: no such thing\nhint: hippy ls shows what there is\n"


def test_a_reader_that_went_away_is_no_news(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail_with(monkeypatch, ExceptionGroup("tasks", [BrokenPipeError(errno.EPIPE, "Broken pipe")])) == 1
    assert capsys.readouterr().err == ""


def test_errors_of_the_system_are_sentences(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail_with(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "out")) == 1
    assert capsys.readouterr().err == (
        "error: No space left on device: out\nhint: check the path, who may use it, and the space on its disk\n"
    )


def test_the_traceback_is_shown_on_request(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(**_: object) -> None:
        raise NotFoundError("no such thing")

    monkeypatch.setenv("HIPPY_DEBUG", "1")
    monkeypatch.setattr(outcome, "hippy", fail)
    assert run(monkeypatch) == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interruption_exits_with_130(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail_with(monkeypatch, error) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("library", ["click", "hippy.errors", "hippy.cli.outcome"])
def test_interruption_of_the_imports_exits_with_130(library: str, tmp_path: Path) -> None:
    script = f"""
import sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == {library!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from hippy.cli.main import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_under_standard_output_is_told() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hippy.cli", "--help"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert (done.returncode, done.stderr) == (
        1,
        b"error: No space left on device\nhint: check the path, who may use it, and the space on its disk\n",
    )
