"""The disk in memory keeps the contract of disks, and loses what a disk may lose and nothing else."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from hippy.errors import IntegrityError, NoSpaceError, TemporaryError
from hippy.miner.disk import Disk, make_directories
from hippy.testing.crash import Loss, MachineDown
from hippy.testing.disk import BLOCK_BYTES, MemoryDisk, Operation
from hippy.testing.disk_contract import DATA, DiskContract, read, write

ROOT = Path("/")
A, B, SUB = ROOT / "a", ROOT / "b", ROOT / "sub"
SEEDS = range(60)


class TestMemoryDisk(DiskContract):
    @pytest.fixture
    def disk(self) -> Disk:
        return MemoryDisk(random.Random(1))

    @pytest.fixture
    def folder(self, disk: Disk) -> Path:
        make_directories(disk, ROOT / "some" / "where")
        return ROOT / "some" / "where"


def outcomes(prepare: Callable[[MemoryDisk], None], loss: Loss = Loss.POWER) -> list[dict[Path, bytes]]:
    """What is on a disk after the same history and each of some crashes."""
    found = []
    for seed in SEEDS:
        disk = MemoryDisk(random.Random(seed))
        prepare(disk)
        found.append(disk.crash(loss).files())
    return found


def durable(disk: MemoryDisk, path: Path, data: bytes = DATA) -> None:
    write(disk, path, data)
    disk.sync_directory(path.parent)


def test_synced_bytes_under_a_synced_name_are_always_there() -> None:
    assert all(found == {A: DATA} for found in outcomes(lambda disk: durable(disk, A)))


def test_bytes_that_were_not_synced_are_lost_cut_short_zeroed_or_there() -> None:
    def prepare(disk: MemoryDisk) -> None:
        with disk.create(A) as file:
            file.write(DATA)
        disk.sync_directory(ROOT)

    found = [one[A] for one in outcomes(prepare)]
    assert {b"", DATA} < set(found)
    assert any(0 < len(one) < len(DATA) for one in found)
    assert any(len(one) == len(DATA) and one != DATA for one in found)
    assert all(one.rstrip(b"\0") == DATA[: len(one.rstrip(b"\0"))] for one in found)


def test_what_was_synced_first_survives_what_was_written_behind_it() -> None:
    def prepare(disk: MemoryDisk) -> None:
        with disk.create(A) as file:
            file.write(DATA[:100])
            file.sync()
            file.write(DATA[100:])
        disk.sync_directory(ROOT)

    found = [one[A] for one in outcomes(prepare)]
    assert all(one[:100] == DATA[:100] for one in found)
    assert DATA[:100] in found


def test_name_that_was_not_synced_is_there_or_not() -> None:
    found = outcomes(lambda disk: write(disk, A))
    assert {tuple(one) for one in found} == {(), (A,)}
    assert all(one.get(A, DATA) == DATA for one in found)


def test_rename_that_was_not_synced_happened_or_did_not() -> None:
    def prepare(disk: MemoryDisk) -> None:
        make_directories(disk, SUB)
        durable(disk, SUB / "a", b"old")
        durable(disk, A)
        disk.rename(A, SUB / "a")

    before, after = {A: DATA, SUB / "a": b"old"}, {SUB / "a": DATA}
    found = outcomes(prepare)
    assert all(one in (before, after) for one in found)
    assert before in found
    assert after in found


def test_rename_is_durable_when_either_directory_is_synced() -> None:
    def prepare(disk: MemoryDisk) -> None:
        make_directories(disk, SUB)
        write(disk, A)
        disk.rename(A, SUB / "b")
        disk.sync_directory(SUB)

    assert all(one == {SUB / "b": DATA} for one in outcomes(prepare))


def test_another_directorys_sync_makes_no_name_durable() -> None:
    def prepare(disk: MemoryDisk) -> None:
        make_directories(disk, SUB)
        make_directories(disk, ROOT / "other")
        write(disk, SUB / "a")
        disk.sync_directory(ROOT / "other")

    assert {} in outcomes(prepare)


def test_no_file_ever_has_two_names() -> None:
    def prepare(disk: MemoryDisk) -> None:
        make_directories(disk, SUB)
        write(disk, A)
        disk.rename(A, B)
        disk.rename(B, SUB / "c")

    found = {tuple(one) for one in outcomes(prepare)}
    assert found == {(), (A,), (B,), (SUB / "c",)}


def test_removed_file_may_be_back_until_its_directory_is_synced() -> None:
    def remove(disk: MemoryDisk) -> None:
        durable(disk, A)
        disk.remove(A)

    def remove_durably(disk: MemoryDisk) -> None:
        remove(disk)
        disk.sync_directory(ROOT)

    assert {tuple(one) for one in outcomes(remove)} == {(), (A,)}
    assert all(one == {} for one in outcomes(remove_durably))


def test_directory_that_was_not_synced_takes_all_it_has_with_it() -> None:
    def prepare(disk: MemoryDisk) -> None:
        disk.make_directory(SUB)
        durable(disk, SUB / "a")

    assert {tuple(one) for one in outcomes(prepare)} == {(), (SUB / "a",)}


def test_killed_process_loses_nothing_and_a_power_cut_after_it_may() -> None:
    def prepare(disk: MemoryDisk) -> None:
        with disk.create(A) as file:
            file.write(DATA)

    assert all(one == {A: DATA} for one in outcomes(prepare, Loss.KILL))
    disk = MemoryDisk(random.Random(5))
    prepare(disk)
    chances = [one.files() for one in _power_cuts_after_a_kill(prepare)]
    assert {} in chances
    assert {A: DATA} in chances


def _power_cuts_after_a_kill(prepare: Callable[[MemoryDisk], None]) -> list[MemoryDisk]:
    disks = [MemoryDisk(random.Random(seed)) for seed in SEEDS]
    for disk in disks:
        prepare(disk)
    return [disk.crash(Loss.KILL).crash(Loss.POWER) for disk in disks]


def test_one_seed_is_one_outcome() -> None:
    def prepare(disk: MemoryDisk) -> None:
        for name in "abcdef":
            with disk.create(ROOT / name) as file:
                file.write(DATA)

    assert outcomes(prepare) == outcomes(prepare)


def names_or_error(disk: Disk) -> list[str] | Exception:
    try:
        return disk.names(ROOT)
    except Exception as error:  # noqa: BLE001 - this is the handler in the way
        return error


def test_crashed_disk_goes_no_further_whatever_handler_is_in_the_way() -> None:
    disk = MemoryDisk(random.Random(1))
    with disk.create(A) as file:
        file.write(DATA)
        after = disk.crash(Loss.KILL)
        with pytest.raises(MachineDown):
            file.sync()
    assert after.files() == {A: DATA}
    with pytest.raises(MachineDown):
        names_or_error(disk)
    assert names_or_error(after) == ["a"]


def test_file_being_written_at_the_crash_is_not_cleaned_away() -> None:
    disk = MemoryDisk(random.Random(1))

    def write_and_crash() -> None:
        with disk.create(A) as file:
            file.write(DATA)
            after.append(disk.crash(Loss.KILL))
            file.sync()

    after: list[MemoryDisk] = []
    with pytest.raises(MachineDown):
        write_and_crash()
    assert after[0].files() == {A: DATA}


def test_full_disk_takes_what_fits_and_says_so() -> None:
    disk = MemoryDisk(random.Random(1), capacity_bytes=4 * BLOCK_BYTES)
    write(disk, A, bytes(BLOCK_BYTES + 1))
    assert disk.free_bytes(ROOT) == 2 * BLOCK_BYTES
    for _ in range(2):
        with pytest.raises(NoSpaceError):
            write(disk, B, bytes(2 * BLOCK_BYTES + 1))
        assert (disk.names(ROOT), disk.free_bytes(ROOT)) == (["a"], 2 * BLOCK_BYTES)
    write(disk, B, bytes(2 * BLOCK_BYTES))
    assert disk.free_bytes(ROOT) == 0
    disk.rename(B, A)
    assert disk.free_bytes(ROOT) == 2 * BLOCK_BYTES
    disk.foreign_bytes = 2 * BLOCK_BYTES
    with pytest.raises(NoSpaceError):
        write(disk, B, b"1")
    disk.foreign_bytes = 0
    assert disk.crash(Loss.KILL).free_bytes(ROOT) == 2 * BLOCK_BYTES


def test_bit_rot_is_read_and_survives_a_crash() -> None:
    disk = MemoryDisk(random.Random(1))
    durable(disk, A)
    disk.damage(A, 300)
    rotten = DATA[:300] + bytes([DATA[300] ^ 1]) + DATA[301:]
    assert read(disk, A) == rotten
    assert read(disk.crash(Loss.POWER), A) == rotten


def test_bad_sector_fails_the_reads_that_touch_it_and_no_other() -> None:
    disk = MemoryDisk(random.Random(1))
    durable(disk, A)
    disk.make_unreadable(A, 300)
    with disk.open(A, size=len(DATA)) as file:
        assert (file.read_at(0, 300), file.read_at(301, 9)) == (DATA[:300], DATA[301:310])
        with pytest.raises(IntegrityError, match="lost"):
            file.read_at(299, 2)


def test_hook_is_told_of_every_operation_and_what_it_raises_is_named() -> None:
    seen: list[Operation] = []
    disk = MemoryDisk(random.Random(1), before=seen.append)
    durable(disk, A)
    read(disk, A)
    told = [(one.kind, one.size_bytes) for one in seen]
    assert told == [
        ("create", 0),
        ("write", len(DATA)),
        ("sync", 0),
        ("sync_directory", 0),
        ("open", 0),
        ("read", len(DATA)),
    ]

    def broken(_: Operation) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk.before = broken
    with pytest.raises(IntegrityError):
        read(disk, A)
    with pytest.raises(TemporaryError):
        write(disk, B)
    disk.before = None
    assert read(disk, A) == DATA


def test_hook_may_crash_the_disk_it_watches() -> None:
    disk = MemoryDisk(random.Random(1))
    after: list[MemoryDisk] = []

    def crash_at_sync(operation: Operation) -> None:
        if operation.kind == "sync":
            after.append(disk.crash(Loss.KILL))

    disk.before = crash_at_sync
    with pytest.raises(MachineDown):
        write(disk, A)
    assert after[0].files() == {A: DATA}
