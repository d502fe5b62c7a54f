"""The file that is given up: there while there is room, gone when others have filled the filesystem, and back again."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from hippy.errors import NoSpaceError
from hippy.miner.ballast import Ballast
from hippy.miner.disk import SYSTEM_DISK
from hippy.testing.disk import Loss, MemoryDisk

KIB = 1024
LENGTH = 64 * KIB
RESERVE = 256 * KIB
FOLDER = Path("/data")
PATH = FOLDER / "ballast"


def disk_of(capacity_bytes: int) -> MemoryDisk:
    disk = MemoryDisk(Random(1), capacity_bytes=capacity_bytes)
    for folder in (FOLDER, FOLDER / "incoming"):
        disk.make_directory(folder)
    disk.sync_directory(FOLDER)
    return disk


def ballast_on(disk: MemoryDisk, length_bytes: int = LENGTH) -> Ballast:
    return Ballast(PATH, disk, length_bytes=length_bytes, reserve_bytes=RESERVE)


def test_ballast_is_made_where_there_is_room_and_tells_what_is_free() -> None:
    disk = disk_of(2**20)
    ballast = ballast_on(disk)
    assert ballast.keep() == 2**20 - LENGTH
    assert ballast.is_there
    assert {path: len(data) for path, data in disk.files().items()} == {PATH: LENGTH}
    assert ballast.keep() == 2**20 - LENGTH


def test_ballast_is_given_up_when_the_filesystem_is_full_and_made_again_when_there_is_plenty(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = disk_of(2**20)
    ballast = ballast_on(disk)
    ballast.keep()
    disk.foreign_bytes = 2**20 - LENGTH - LENGTH // 4  # as much is free as may be
    assert ballast.keep() == LENGTH // 4
    assert PATH in disk.files()
    disk.foreign_bytes += 1
    assert ballast.keep() == LENGTH + LENGTH // 4 - 1
    assert disk.files() == {}
    assert "free space there" in caplog.text
    disk.foreign_bytes = 2**20 - RESERVE - 2 * LENGTH + 1
    ballast.keep()
    assert PATH not in disk.files()
    disk.foreign_bytes -= 1
    ballast.keep()
    assert PATH in disk.files()


def test_ballast_is_given_up_at_once_when_the_index_met_the_full_disk() -> None:
    disk = disk_of(2**20)
    ballast = ballast_on(disk)
    ballast.keep()
    ballast.give_up()
    ballast.give_up()
    assert disk.files() == {}


def test_start_on_a_full_filesystem_gives_the_ballast_up_before_anything_else_is_written() -> None:
    disk = disk_of(2**20)
    ballast_on(disk).keep()
    ballast_on(disk).relieve()
    assert PATH in disk.files()
    disk.foreign_bytes = 2**20 - LENGTH - LENGTH // 4 + 1
    ballast_on(disk, 0).relieve()  # not wanted: nothing urgent
    assert PATH in disk.files()
    ballast_on(disk).relieve()
    assert disk.files() == {}


def test_no_ballast_is_made_where_it_would_not_fit_or_is_not_wanted() -> None:
    for disk, length in ((disk_of(RESERVE + 2 * LENGTH - 1), LENGTH), (disk_of(2**20), 0)):
        ballast = ballast_on(disk, length)
        ballast.keep()
        assert not ballast.is_there
        assert disk.files() == {}


def test_ballast_that_is_no_longer_wanted_is_removed_without_alarm(caplog: pytest.LogCaptureFixture) -> None:
    disk = disk_of(2**20)
    ballast_on(disk).keep()
    ballast_on(disk, 0).keep()
    assert disk.files() == {}
    assert caplog.text == ""


def test_disk_that_fills_up_while_ballast_is_made_has_no_part_of_it() -> None:
    disk = disk_of(2**20)
    disk.before = lambda operation: (
        setattr(disk, "foreign_bytes", 2**20 - LENGTH // 2) if operation.kind == "write" else None
    )
    with pytest.raises(NoSpaceError):
        ballast_on(disk).keep()
    assert disk.files() == {}


def test_ballast_that_was_not_finished_is_begun_anew() -> None:
    disk = disk_of(2**20)
    with disk.create(FOLDER / "incoming" / "ballast") as file:
        file.write(b"half")
    disk = disk.crash(Loss.KILL)
    ballast_on(disk).keep()
    assert {path: len(data) for path, data in disk.files().items()} == {PATH: LENGTH}


def test_ballast_takes_its_bytes_on_this_machines_filesystem(tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    ballast = Ballast(tmp_path / "ballast", SYSTEM_DISK, length_bytes=3 * 2**20 + 5, reserve_bytes=0)
    ballast.keep()
    status = (tmp_path / "ballast").stat()
    assert status.st_size == 3 * 2**20 + 5
    assert status.st_blocks * 512 >= status.st_size
