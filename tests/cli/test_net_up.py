"""Starting a supervisor in the background: its words and its code are ours, and so is its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hippy.cli.net_up import forget, remember, run_detached
from hippy.client.home import find_home
from hippy.errors import HippyError, NoSpaceError

PYTHON = sys.executable
INTERRUPTED = """
import sys
from pathlib import Path
from hippy.cli.net_up import run_detached
sys.executable, directory = sys.argv[1:]
try:
    run_detached(Path(directory), None, None)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program that is started in place of the supervisor."""
    program = tmp_path / "supervisor"
    program.touch(mode=0o700)
    monkeypatch.setattr("sys.executable", str(program))
    return program


def test_what_the_supervisor_prints_is_returned(supervisor: Path, tmp_path: Path) -> None:
    supervisor.write_text("""#!/bin/sh\necho '{"miners": 3}'\n""")
    assert run_detached(tmp_path / "net", 3, None) == {"miners": 3}


def test_an_error_of_the_supervisor_is_ours(supervisor: Path, tmp_path: Path) -> None:
    told = '{"error": {"code": "no_space", "message": "full", "hint": "delete"}}'
    supervisor.write_text(f"#!/bin/sh\necho noise >&2\necho '{told}' >&2\nexit 5\n")
    with pytest.raises(NoSpaceError, match=r"^full$") as caught:
        run_detached(tmp_path / "net", None, None)
    assert caught.value.hint == "delete"


def test_a_supervisor_that_dies_without_a_word_is_an_error(supervisor: Path, tmp_path: Path) -> None:
    supervisor.write_text("#!/bin/sh\nkill -KILL $$\n")
    with pytest.raises(HippyError, match="said nothing"):
        run_detached(tmp_path / "net", None, None)


def test_an_interruption_ends_the_supervisor(supervisor: Path, tmp_path: Path) -> None:
    """In a process of its own: an interruption may land in whatever this one happens to be finalizing."""
    pid = tmp_path / "pid"
    supervisor.write_text(f"#!/bin/sh\necho $$ > '{pid}'\nkill -INT $PPID\nexec sleep 60\n")
    started = subprocess.run(
        [PYTHON, "-c", INTERRUPTED, str(supervisor), str(tmp_path / "net")], capture_output=True, text=True, timeout=50
    )
    assert started.stdout == "interrupted\n", started.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_only_the_network_in_use_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPY_HOME", str(tmp_path))
    monkeypatch.setenv("HIPPY_NET", str(tmp_path / "another"))
    remember(tmp_path / "net")
    forget(tmp_path / "another")
    assert find_home().local_network.exists()
    forget(tmp_path / "net")
    assert not find_home().local_network.exists()
