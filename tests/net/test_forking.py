"""What node processes are forked from."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from hippy.net.forking import IMPORTED

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@pytest.mark.parametrize("name", IMPORTED)
def test_what_nodes_need_exists(name: str) -> None:
    assert find_spec(name) is not None  # the fork server would leave it out without a word


def test_a_command_can_begin_with_it_before_it_imports_anything_heavy() -> None:
    script = "import sys; before = set(sys.modules); import hippy.net.forking; print(*set(sys.modules) - before)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout
    assert {"asyncio", "aiohttp", "pydantic", "click"} & set(told.split()) == set()


@linux
def test_forking_starts_no_thread_that_a_child_would_lack() -> None:
    script = "import os\nfrom hippy.net.forking import IMPORTED\nfor name in IMPORTED: __import__(name)\n"
    script += "print(len(os.listdir('/proc/self/task')))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout
    assert told.strip() == "1"


@linux
def test_ctrl_c_is_for_the_supervisor_alone() -> None:
    script = """
from multiprocessing import forkserver
from pathlib import Path
from hippy.net import forking
forking.IMPORTED = ()  # takes its time, in which the fork server does not see that we ended
forking.prepare()
forking.prepare()
for who in ("self", forkserver._forkserver._forkserver_pid):
    (blocked,) = [line for line in Path(f"/proc/{who}/status").read_text().splitlines() if line.startswith("SigBlk")]
    print(int(blocked.split()[1], 16) >> (2 - 1) & 1)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout
    assert told.split() == ["0", "1"]


@linux
def test_nodes_are_forked_also_where_the_directory_for_temporary_files_has_a_long_path(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 120)
    directory.mkdir()
    script = """
from hippy.net import forking
forking.IMPORTED = ("hippy.errors",)
forking.prepare()
process = forking.context().Process(target=print, args=("forked",))
process.start()
process.join()
print(process.exitcode, forking.context().get_start_method())
"""
    told = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "TMPDIR": str(directory)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert told.split() == ["forked", "0", "forkserver"]
    assert list(directory.iterdir()) == []
