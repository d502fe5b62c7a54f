"""``hippy demo``: what it shows, and that it leaves nothing behind however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.local import Shell, write_tree
from tests.e2e.processes import are_running, nodes_logging_below, running_with, wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small directory in place of the standard library."""
    write_tree(tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture
def started(tmp_path: Path, source: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A demo whose network is up, with all its files below tmp_path/scratch."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**Shell(tmp_path / "home").environment(), "TMPDIR": str(scratch)}
    command = [sys.executable, "-u", "-m", "hippy.cli", "demo", "--miners", "8", str(source)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if b"processes, up in" in line:
                break
        yield demo
        demo.kill()


def test_every_file_survives(tmp_path: Path, source: Path) -> None:
    shell = Shell(tmp_path / "home")
    told = json.loads(shell.run("demo", "--miners", "8", "--json", source).stdout)
    assert told["files"] == told["identical"] == len([path for path in source.rglob("*") if path.is_file()])
    assert told["killed"] == ["miner1", "miner2", "miner3", "miner4"]
    assert told["failures"] == 0
    audit = told["audit"]
    assert audit["leaves_shown"] >= 64
    assert audit["leaves_not_shown"] == 0
    assert set(audit["weights"]) <= {f"miner{number}" for number in range(1, 9)}
    assert sum(audit["weights"].values()) == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(started: subprocess.Popen[bytes], tmp_path: Path, number: int) -> None:
    nodes = nodes_logging_below(tmp_path / "scratch")
    assert len(nodes) == 9
    assert {started.pid, *nodes} < set(running_with(str(tmp_path / "scratch")))
    started.send_signal(number)
    assert started.wait(timeout=15) == 130
    assert not are_running(nodes)
    wait_until(lambda: running_with(str(tmp_path / "scratch")) == [], seconds=20, what="the end of what forked them")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_children_end_within_five_seconds_of_sigkill(started: subprocess.Popen[bytes], tmp_path: Path) -> None:
    children = [pid for pid in running_with(str(tmp_path / "scratch")) if pid != started.pid]
    assert set(nodes_logging_below(tmp_path / "scratch")) < set(children)
    os.kill(started.pid, signal.SIGKILL)
    wait_until(lambda: not are_running(children), seconds=5, what="the end of the children")
