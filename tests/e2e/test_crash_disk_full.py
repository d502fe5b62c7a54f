"""A miner whose disk, or whose capacity, is full: nothing acknowledged is lost, and with room it goes on by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import running
from tests.e2e.crashing import Crashes

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

MINERS = 5
"""One more than the code 2/4 takes, so that there is another miner for every piece."""

DISK_BYTES = 32 * 1024 * 1024
LEFT_BYTES = 600 * 1024
"""Room for a few pieces of 150 kB, and not for the index's next log."""

PUTS = 12
PUTS_MAX = 40


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 32 MiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "hippy-test", mount], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"no small file system here: {done.stderr.decode().strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


@pytest.fixture
def crashes(tmp_path: Path) -> Iterator[Crashes]:
    """A network of which a disk is to fill up."""
    with running(tmp_path / "home", MINERS) as shell:
        crashes = Crashes(shell)
        try:
            yield crashes
        finally:
            crashes.close()


@pytest.mark.slow
def test_a_miner_with_a_full_disk_loses_nothing_and_goes_on_once_there_is_room(
    crashes: Crashes, small_disk: Path
) -> None:
    data_dir = small_disk / "data"
    with crashes.own_process("miner1", {"HIPPY_DATA_DIR": str(data_dir), "HIPPY_DISK_RESERVE_BYTES": "0"}) as process:
        _put_until(crashes, lambda: _pieces(data_dir) > 0)
        filler = small_disk / "filler"
        _fill(filler, leave_bytes=LEFT_BYTES)
        for _ in range(PUTS):
            crashes.must_put(300_000)
        full = _pieces(data_dir)
        crashes.check_everything()

        filler.unlink()
        _put_until(crashes, lambda: _pieces(data_dir) > full)
        crashes.check_everything()
        assert process.poll() is None


@pytest.mark.slow
def test_a_miner_at_its_capacity_refuses_and_others_take_its_pieces(crashes: Crashes, tmp_path: Path) -> None:
    data_dir, capacity_bytes = tmp_path / "data", 400_000
    with crashes.own_process(
        "miner1", {"HIPPY_DATA_DIR": str(data_dir), "HIPPY_CAPACITY_BYTES": str(capacity_bytes)}
    ) as process:
        _put_until(crashes, lambda: _pieces(data_dir) == 2)
        for _ in range(PUTS):
            crashes.must_put(300_000)
        assert sum(path.stat().st_size for path in _files(data_dir)) <= capacity_bytes
        crashes.check_everything()
        assert process.poll() is None


def _put_until(crashes: Crashes, reached: Callable[[], bool]) -> None:
    for _ in range(PUTS_MAX):
        if reached():
            return
        crashes.must_put(300_000)
    raise AssertionError("the miner was given no pieces")


def _pieces(data_dir: Path) -> int:
    return len(_files(data_dir))


def _files(data_dir: Path) -> list[Path]:
    return [path for path in (data_dir / "pieces").glob("*/*") if path.suffix != ".tree"]


def _fill(filler: Path, *, leave_bytes: int) -> None:
    status = os.statvfs(filler.parent)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - leave_bytes)
