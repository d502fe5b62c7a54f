"""The command's entry: help, errors and exit codes."""

from __future__ import annotations

import importlib
import json

import click
import pytest

from hippy.cli import main as entry
from hippy.errors import HippyError, NotFoundError, _subclasses


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr("sys.argv", ["hippy", *args])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("name", entry.COMMANDS)
def test_every_listed_command_exists_and_explains_itself(name: str) -> None:
    command = getattr(importlib.import_module(entry.COMMANDS[name][0]), name)
    assert isinstance(command, click.Command)
    assert command.help


def test_help_lists_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in entry.COMMANDS)


def test_an_unknown_command_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "frobnicate") == 2


@pytest.mark.parametrize("kind", _subclasses(HippyError), ids=lambda kind: kind.__name__)
def test_every_error_becomes_its_exit_code_and_two_lines(
    kind: type[HippyError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise kind("it broke", hint="mend it")

    monkeypatch.delenv("HIPPY_DEBUG", raising=False)
    monkeypatch.setattr(entry, "hippy", fail)
    assert run(monkeypatch) == kind.exit_code
    assert capsys.readouterr().err == "error: it broke\nhint: mend it\n"


def test_errors_are_json_when_results_are(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(**_: object) -> None:
        raise NotFoundError("no such thing")

    monkeypatch.setattr(entry, "hippy", fail)
    assert run(monkeypatch, "ls", "--json") == 3
    described = json.loads(capsys.readouterr().err)
    assert described == {"error": {"code": "not_found", "message": "no such thing", "hint": None}}


def test_interruption_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "hippy", interrupt)
    assert run(monkeypatch) == 130
