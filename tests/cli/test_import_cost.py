"""What ``hippy --help`` may cost: it loads nothing that is only needed once there is work to do."""

from __future__ import annotations

import subprocess
import sys

# Whole process on CPython 3.11, two cores (2026-11): click alone 58 ms, and pydantic 96, or aiohttp 186.
HEAVY = {"aiohttp", "asyncio", "bittensor", "pydantic", "rich", "rocksdict"}

SCRIPT = """
import sys
import hippy.cli.main
sys.argv = ["hippy", "--help"]
try:
    hippy.cli.main.main()
except SystemExit as exit:
    assert not exit.code, exit.code
print("\\nloaded:", *sys.modules)
"""


def test_help_loads_nothing_heavy() -> None:
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    talk, _, loaded = done.stdout.rpartition("\nloaded: ")
    assert "Usage: hippy" in talk
    assert HEAVY & set(loaded.split()) == set()
