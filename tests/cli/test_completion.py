"""The TAB key: commands, subcommands and options, without importing what is not needed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from hippy.cli.commands import COMMANDS, hippy
from hippy.cli.completion import COMPLETE_VARIABLE, SHELLS


def completed(*words: str) -> list[str]:
    """What is offered for the last word."""
    offered = ShellComplete(hippy, {}, "hippy", COMPLETE_VARIABLE).get_completions(list(words[:-1]), words[-1])
    return [item.value for item in offered]


def test_a_command_is_completed() -> None:
    assert completed("ne") == ["net"]
    assert completed("") == list(COMMANDS)
    assert completed("nothing") == []


def test_subcommands_and_options_are_completed() -> None:
    assert completed("net", "u") == ["up"]
    assert "account" in completed("validator", "a")
    assert "--miners" in completed("net", "up", "--mi")
    assert completed("validator", "account", "set", "--class", "") == ["paid", "unpaid", "canary"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_names_command_and_variable(shell: str) -> None:
    done = CliRunner().invoke(hippy, ["completion", shell])
    assert done.exit_code == 0
    assert COMPLETE_VARIABLE in done.stdout
    assert "hippy" in done.stdout


def test_an_unknown_shell_is_a_usage_error() -> None:
    assert CliRunner().invoke(hippy, ["completion", "csh"]).exit_code == 2


def test_the_entry_answers_a_shell_without_loading_anything_heavy() -> None:
    script = (
        "import sys\nsys.argv = ['hippy']\nfrom hippy.cli.main import main\n"
        "try:\n    main()\nfinally:\n    print('loaded:', *sys.modules)"
    )
    environment = {**os.environ, COMPLETE_VARIABLE: "zsh_complete", "COMP_WORDS": "hippy ne", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    offered, _, loaded = done.stdout.partition("loaded: ")
    assert offered.splitlines()[:2] == ["plain", "net"]
    assert {"aiohttp", "pydantic", "rich"}.isdisjoint(loaded.split())
