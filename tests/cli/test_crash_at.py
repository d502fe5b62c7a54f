"""A command with HIPPY_CRASH_AT is armed, and one that names no point says so."""

from __future__ import annotations

import os
import subprocess
import sys


def run(point: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hippy.cli", *args]
    environment = {**os.environ, "HIPPY_CRASH_AT": point}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)


def test_a_point_that_is_none_is_a_usage_error() -> None:
    done = run("miner.nowhere", "completion", "zsh")
    assert done.returncode == 2
    assert "miner.nowhere names no point" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_does_not_come_to_the_point_is_as_ever() -> None:
    assert run("miner.renamed:3", "completion", "zsh").returncode == 0
