"""Looking at other processes: which run, and waiting for them to end."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Collection


def running_with(text: str) -> list[int]:
    """Return the ids of the processes whose command line contains ``text`` (zombies have none)."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [int(line.split(None, 1)[0]) for line in listed.splitlines() if text in line]


def are_running(pids: Collection[int]) -> bool:
    """Return whether any of these processes still runs; a zombie does not."""
    listed = subprocess.run(["ps", "-eo", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    alive = {int(line.split()[0]) for line in listed.splitlines() if not line.split()[1].startswith("Z")}
    return not alive.isdisjoint(pids)


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Poll until ``condition`` holds: of processes that are not our children there is nothing to wait on."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
