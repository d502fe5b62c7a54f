"""This machine's disk keeps the contract, and its errors get their names."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hippy.errors import HippyError, IntegrityError, NoSpaceError, TemporaryError
from hippy.miner.disk import SYSTEM_DISK, Disk, SystemDisk
from hippy.testing.disk_contract import DATA, DiskContract, read, write


class TestSystemDisk(DiskContract):
    @pytest.fixture
    def disk(self) -> Disk:
        return SystemDisk()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path


def failing(number: int) -> object:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("number", "raised"),
    [(errno.ENOSPC, NoSpaceError), (errno.EDQUOT, NoSpaceError), (errno.EIO, TemporaryError)],
)
@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_failed_write_has_a_name_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, raised: type[HippyError], call: str
) -> None:
    monkeypatch.setattr("hippy.miner.disk._sync_data", lambda descriptor: os.fdatasync(descriptor))
    monkeypatch.setattr(os, call, failing(number))
    with pytest.raises(raised) as caught:
        write(SYSTEM_DISK, tmp_path / "a")
    assert type(caught.value) is raised
    assert os.listdir(tmp_path) == []


def test_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:1000]))
    write(SYSTEM_DISK, tmp_path / "a")
    monkeypatch.undo()
    assert read(SYSTEM_DISK, tmp_path / "a") == DATA


@pytest.mark.parametrize(("number", "raised"), [(errno.EIO, IntegrityError), (errno.EMFILE, TemporaryError)])
@pytest.mark.parametrize("call", ["open", "pread"])
def test_failed_read_is_the_disks_lie_or_will_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, raised: type[HippyError], call: str
) -> None:
    write(SYSTEM_DISK, tmp_path / "a")
    monkeypatch.setattr(os, call, failing(number))
    with pytest.raises(raised):
        read(SYSTEM_DISK, tmp_path / "a")


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not list a process's descriptors")
    before = count()
    for number in range(5):
        write(SYSTEM_DISK, tmp_path / str(number))
        read(SYSTEM_DISK, tmp_path / str(number))
        SYSTEM_DISK.sync_directory(tmp_path)
        SYSTEM_DISK.sizes(tmp_path)
        with pytest.raises(IntegrityError):
            read(SYSTEM_DISK, tmp_path / str(number), 1)
    assert count() == before


def test_file_is_for_its_owner_only(tmp_path: Path) -> None:
    write(SYSTEM_DISK, tmp_path / "a")
    SYSTEM_DISK.make_directory(tmp_path / "b")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o600, 0o700]
