"""Every crash point is reached by the code that its name says, and nothing else is."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from hippy.errors import UsageError
from hippy.points import CRASH_VARIABLE, POINTS, arm, reached, watching

ROOT = Path(__file__).parent.parent
ROOMS = {
    "kv": ("hippy/kv.py", "hippy/postgres/", "hippy/testing/"),
    "miner": ("miner/",),
    "validator": ("validator/",),
    "client": ("client/",),
}
"""Where the points of each role may be."""


def _calls() -> dict[str, set[str]]:
    """Return point → files that reach it, over all code but tests; a point that is no literal is named ``?``."""
    found: dict[str, set[str]] = defaultdict(set)
    for folder in ("hippy", "client", "erasure", "miner", "proofs", "validator"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "reached":
                    literal = isinstance(node.args[0], ast.Constant) and node.args[0].value
                    found[str(literal or "?")].add(path.relative_to(ROOT).as_posix())
    return found


def test_every_point_is_reached_somewhere() -> None:
    assert set(POINTS) - set(_calls()) == set()


def test_no_code_reaches_a_point_that_is_not_listed() -> None:
    assert set(_calls()) - set(POINTS) == set()


def test_a_point_is_reached_by_the_role_that_it_names() -> None:
    astray = {
        point: files
        for point, files in _calls().items()
        if not all(file.startswith(ROOMS[point.partition(".")[0]]) for file in files)
    }
    assert astray == {}


def test_points_cost_nothing_while_nobody_watches() -> None:
    reached("miner.renamed")


def test_a_watcher_is_told_of_points_while_its_context_lasts() -> None:
    told: list[str] = []
    with watching(told.append):
        reached("miner.renamed")
    reached("miner.tree")
    assert told == ["miner.renamed"]


@pytest.mark.parametrize("value", ["miner.nowhere", "", "miner.renamed:0", "miner.renamed:x", "miner.renamed:-1"])
def test_a_point_or_visit_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(UsageError):
        arm({CRASH_VARIABLE: value})


def test_a_process_is_killed_at_the_visit_that_its_environment_names() -> None:
    code = """if True:
        import os
        from hippy.points import arm, reached
        arm(os.environ)
        for number in range(5):
            print(number, flush=True)
            reached("miner.renamed")
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, CRASH_VARIABLE: "miner.renamed:3"},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, [b"0", b"1", b"2"])
