"""Real processes: miners die for good, and the network makes what they held again, with no client and no key."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import running
from tests.e2e.local import Shell
from tests.e2e.processes import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

MINERS: Final = 12
KILLED: Final = ("miner3", "miner5", "miner8")
EPOCH_SECONDS: Final = 5.0
"""A piece that nobody answers for is lost after a scaled day: 100 s (PROTOCOL §5.5)."""

FILES: Final = 6
FILE_BYTES: Final = 3_000_000


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Twelve miners with files at 4/8."""
    source = tmp_path_factory.mktemp("source")
    for number in range(FILES):
        (source / str(number)).write_bytes(bytes([number]) * FILE_BYTES)
    with running(tmp_path_factory.mktemp("home"), MINERS, epoch_seconds=EPOCH_SECONDS) as shell:
        shell.run("put", "-r", "--ec", "4/8", source, "hippy://b/d/")
        yield shell


def test_what_three_of_twelve_miners_held_is_made_again(shell: Shell, tmp_path: Path) -> None:
    before = {name: _pieces(shell, name) for name in _miners()}
    for name in KILLED:
        os.kill(_pid(shell, name), signal.SIGKILL)
    survivors = [name for name in _miners() if name not in KILLED]
    gone = set().union(*(before[name] for name in KILLED))
    wait_until(lambda: _verdicts(shell)["at_risk"] > 0, seconds=60, what="segments at their repair threshold")
    # Nobody runs a client meanwhile but to look: whose pieces they were, and the keys, are of no use to repair.
    wait_until(
        lambda: _verdicts(shell)["at_risk"] == 0 and gone & _all_pieces(shell, survivors) != set(),
        seconds=600,
        what="all segments above their threshold again, with pieces of the dead under the same roots at others",
        pause=5.0,
    )
    assert _verdicts(shell)["lost"] == 0
    shell.run("get", "-r", "hippy://b/d/", tmp_path / "back")
    for number in range(FILES):
        assert (tmp_path / "back" / str(number)).read_bytes() == bytes([number]) * FILE_BYTES


def _miners() -> list[str]:
    return [f"miner{number}" for number in range(1, MINERS + 1)]


def _pieces(shell: Shell, name: str) -> set[str]:
    folder = shell.node_dir(name) / "data" / "pieces"
    return {path.name for path in folder.glob("??/*") if not path.suffix}


def _pid(shell: Shell, name: str) -> int:
    nodes: list[dict[str, Any]] = shell.json("net", "status")["nodes"]
    return next(int(node["pid"]) for node in nodes if node["name"] == name)


def _all_pieces(shell: Shell, names: list[str]) -> set[str]:
    return set().union(*(_pieces(shell, name) for name in names))


def _verdicts(shell: Shell) -> dict[str, int]:
    """Return how many objects are in which state; each piece of each is asked for a leaf."""
    command = [sys.executable, "-m", "hippy.cli", "check", "-r", "--json", "hippy://b/d/"]
    done = subprocess.run(command, env=shell.environment(), capture_output=True, timeout=120, check=False)
    told: dict[str, int] = json.loads(done.stdout)
    assert told["checked"] == FILES
    return told
