"""Looking at other processes: which run, and waiting for them to end."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path


def running_with(text: str) -> list[int]:
    """Return the ids of the processes whose command line or environment contains ``text`` (zombies have neither)."""
    return [pid for pid in _ids() if any(text in _read(pid, name) for name in ("cmdline", "environ"))]


def nodes_logging_below(directory: Path) -> list[int]:
    """Return the ids of the nodes whose logs lie below a directory."""
    found = []
    for pid in _ids():
        with suppress(OSError):  # it ended, or is somebody else's
            if os.readlink(f"/proc/{pid}/fd/2").startswith(f"{directory}/"):
                found.append(pid)
    return found


def are_running(pids: Collection[int]) -> bool:
    """Return whether any of these processes still runs; a zombie does not."""
    listed = subprocess.run(["ps", "-eo", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    alive = {int(line.split()[0]) for line in listed.splitlines() if not line.split()[1].startswith("Z")}
    return not alive.isdisjoint(pids)


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str, pause: float = 0.05) -> None:
    """Look every ``pause`` seconds until ``condition`` holds: on processes that are not our children none can wait."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(pause)


def _ids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    except OSError:  # it ended, or is somebody else's
        return ""
