"""What every Disk must do, as tests: subclass DiskContract and give it a ``disk`` and a ``folder``.

It asks only through the seam (hippy.miner.disk) and holds for every implementation and fake. What is there after a
crash is tested beside the implementation that can crash.

::

    class TestMyDisk(DiskContract):
        @pytest.fixture
        def disk(self) -> Disk:
            return MyDisk()

        @pytest.fixture
        def folder(self, tmp_path: Path) -> Path:
            return tmp_path
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from hippy.errors import IntegrityError, TemporaryError
from hippy.miner.disk import Disk, make_directories, read_exactly

DATA: Final = bytes(range(256)) * 40
"""Two blocks and a half, no two leaves of which begin alike."""


def write(disk: Disk, path: Path, data: bytes = DATA) -> None:
    """Write a new file and sync it."""
    with disk.create(path) as file:
        file.write(data)
        file.sync()


def read(disk: Disk, path: Path, size: int = len(DATA)) -> bytes:
    """Read a whole file."""
    return read_exactly(disk, path, 0, size, size=size)


class DiskContract:
    """The tests. A subclass overrides both fixtures."""

    @pytest.fixture
    def disk(self) -> Disk:
        """Return a disk."""
        raise NotImplementedError

    @pytest.fixture
    def folder(self) -> Path:
        """Return an empty directory on it."""
        raise NotImplementedError

    def test_written_file_reads_back_whole_and_in_parts(self, disk: Disk, folder: Path) -> None:
        with disk.create(folder / "a") as file:
            file.write(DATA[:5000])
            file.write(memoryview(DATA)[5000:])
            file.sync()
        with disk.open(folder / "a", size=len(DATA)) as opened:
            assert opened.read_at(4097, 5) == DATA[4097:4102]
            assert opened.read_at(0, len(DATA)) == DATA
            assert opened.read_at(len(DATA), 0) == b""

    def test_empty_file_is_a_file(self, disk: Disk, folder: Path) -> None:
        write(disk, folder / "a", b"")
        assert read(disk, folder / "a", 0) == b""
        assert disk.sizes(folder) == {"a": 0}

    def test_file_has_its_name_from_the_beginning_on(self, disk: Disk, folder: Path) -> None:
        with disk.create(folder / "a"):
            assert disk.names(folder) == ["a"]

    def test_file_whose_writing_failed_is_gone(self, disk: Disk, folder: Path) -> None:
        def fail() -> None:
            with disk.create(folder / "a") as file:
                file.write(DATA)
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert disk.names(folder) == []

    def test_name_that_is_taken_is_not_written_over(self, disk: Disk, folder: Path) -> None:
        write(disk, folder / "a")
        with pytest.raises(TemporaryError), disk.create(folder / "a"):
            pass
        assert read(disk, folder / "a") == DATA

    def test_file_in_a_missing_directory_cannot_be_made(self, disk: Disk, folder: Path) -> None:
        with pytest.raises(TemporaryError), disk.create(folder / "none" / "a"):
            pass

    @pytest.mark.parametrize("size", [0, len(DATA) - 1, len(DATA) + 1])
    def test_file_of_another_size_is_an_integrity_error(self, disk: Disk, folder: Path, size: int) -> None:
        write(disk, folder / "a")
        with pytest.raises(IntegrityError, match=f"{len(DATA)} bytes"):
            read(disk, folder / "a", size)

    def test_read_beyond_the_end_is_an_integrity_error(self, disk: Disk, folder: Path) -> None:
        write(disk, folder / "a")
        with disk.open(folder / "a", size=len(DATA)) as file, pytest.raises(IntegrityError, match="1 bytes of 2"):
            file.read_at(len(DATA) - 1, 2)

    def test_missing_file_is_lost_and_a_missing_directory_is_not_mounted(self, disk: Disk, folder: Path) -> None:
        with pytest.raises(IntegrityError, match="lost"):
            read(disk, folder / "a")
        with pytest.raises(TemporaryError, match="mounted"):
            read(disk, folder / "none" / "a")

    def test_open_file_is_read_on_when_its_name_is_gone(self, disk: Disk, folder: Path) -> None:
        write(disk, folder / "a")
        with disk.open(folder / "a", size=len(DATA)) as file:
            disk.remove(folder / "a")
            assert file.read_at(0, len(DATA)) == DATA

    def test_renamed_file_has_its_new_name_only(self, disk: Disk, folder: Path) -> None:
        disk.make_directory(folder / "to")
        write(disk, folder / "a")
        disk.rename(folder / "a", folder / "to" / "b")
        assert (disk.names(folder), disk.names(folder / "to")) == (["to"], ["b"])
        assert read(disk, folder / "to" / "b") == DATA

    def test_renamed_file_replaces_what_had_the_name(self, disk: Disk, folder: Path) -> None:
        write(disk, folder / "old", b"old")
        write(disk, folder / "new")
        disk.rename(folder / "new", folder / "old")
        assert disk.names(folder) == ["old"]
        assert read(disk, folder / "old") == DATA

    def test_file_renamed_to_itself_stays(self, disk: Disk, folder: Path) -> None:
        write(disk, folder / "a")
        disk.rename(folder / "a", folder / "a")
        assert read(disk, folder / "a") == DATA

    def test_what_is_not_there_cannot_be_renamed(self, disk: Disk, folder: Path) -> None:
        write(disk, folder / "a")
        for old, new in ((folder / "none", folder / "a"), (folder / "a", folder / "none" / "a")):
            with pytest.raises(TemporaryError):
                disk.rename(old, new)
        assert read(disk, folder / "a") == DATA

    def test_file_is_not_renamed_over_a_directory(self, disk: Disk, folder: Path) -> None:
        write(disk, folder / "a")
        disk.make_directory(folder / "b")
        with pytest.raises(TemporaryError):
            disk.rename(folder / "a", folder / "b")
        assert sorted(disk.names(folder)) == ["a", "b"]

    def test_removing_what_is_not_there_is_no_error(self, disk: Disk, folder: Path) -> None:
        write(disk, folder / "a")
        for path in (folder / "a", folder / "a", folder / "none" / "a"):
            disk.remove(path)
        assert disk.names(folder) == []

    def test_directory_is_no_file_to_remove(self, disk: Disk, folder: Path) -> None:
        disk.make_directory(folder / "b")
        with pytest.raises(TemporaryError):
            disk.remove(folder / "b")

    def test_directory_is_made_once_and_keeps_what_it_has(self, disk: Disk, folder: Path) -> None:
        assert not disk.is_directory(folder / "b")
        assert disk.make_directory(folder / "b")
        write(disk, folder / "b" / "a")
        assert not disk.make_directory(folder / "b")
        assert disk.is_directory(folder / "b")
        assert disk.names(folder / "b") == ["a"]

    def test_directory_needs_one_above_it_and_a_free_name(self, disk: Disk, folder: Path) -> None:
        write(disk, folder / "a")
        for path in (folder / "none" / "b", folder / "a", folder / "a" / "b"):
            with pytest.raises(TemporaryError):
                disk.make_directory(path)
            assert not disk.is_directory(path)

    def test_directories_are_made_down_to_the_last(self, disk: Disk, folder: Path) -> None:
        for _ in range(2):
            make_directories(disk, folder / "a" / "b" / "c")
            assert disk.is_directory(folder / "a" / "b" / "c")

    def test_missing_directory_is_temporary(self, disk: Disk, folder: Path) -> None:
        for use in (disk.names, disk.sizes, disk.sync_directory, disk.free_bytes):
            with pytest.raises(TemporaryError):
                use(folder / "none")

    def test_sizes_are_those_of_the_files_in_whole_blocks(self, disk: Disk, folder: Path) -> None:
        disk.make_directory(folder / "b")
        write(disk, folder / "a")
        [(name, size)] = disk.sizes(folder).items()
        assert name == "a"
        assert len(DATA) <= size <= len(DATA) + 2**16
        assert size % 512 == 0

    def test_there_is_space_and_synced_directories_say_nothing(self, disk: Disk, folder: Path) -> None:
        write(disk, folder / "a")
        disk.sync_directory(folder)
        assert disk.free_bytes(folder) > 0
