"""Piece files on a disk that crashes: what was told to be durable is, what was not is whole or not there."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from hippy.errors import IntegrityError, NoSpaceError, TemporaryError
from hippy.ids import Root
from hippy.miner.files import FOLDERS, PieceFiles, make_data_directory
from hippy.miner.quarantine import SetAside
from hippy.points import watching
from hippy.proofs.tree import LEAF_BYTES, leaf_hashes, root_of
from hippy.testing.crash import Loss, MachineDown
from hippy.testing.disk import BLOCK_BYTES, MemoryDisk, Operation
from tests.miner.world import SMALL, piece

HOME = Path("/var/miner")
DATA = piece("a")
ROOT = root_of(DATA)
SEEDS = range(25)
POINTS = ("miner.data_written", "miner.data_synced", "miner.tree", "miner.renamed", "miner.folder_synced")


def opened(disk: MemoryDisk) -> PieceFiles:
    make_data_directory(HOME, disk)
    return PieceFiles.open(HOME, disk)


def write(files: PieceFiles, data: bytes = DATA) -> Root:
    root = root_of(data)
    files.write(root, data, leaf_hashes(data))
    return root


def found(files: PieceFiles, root: Root = ROOT, length: int = SMALL) -> bytes | None:
    """A piece as it is read, None when the disk has not got it as it was."""
    try:
        return files.read(root, length)
    except IntegrityError:
        return None


def crash_at(disk: MemoryDisk, point: str, loss: Loss) -> MemoryDisk:
    """Write the piece, crash at a point, and return the disk as the next start finds it."""
    files, after = opened(disk), list[MemoryDisk]()

    def watch(reached: str) -> None:
        if reached == point:
            after.append(disk.crash(loss))
            raise MachineDown

    with watching(watch), pytest.raises(MachineDown):
        write(files)
    return after[0]


def test_points_are_passed_in_the_order_of_the_steps_they_name() -> None:
    seen: list[str] = []
    disk = MemoryDisk(random.Random(1))
    files = opened(disk)
    disk.before = lambda operation: seen.append(operation.kind)
    with watching(seen.append):
        write(files)
    expected = ["create", "write", "miner.data_written", "sync", "miner.data_synced"]
    expected += ["create", "write", "rename", "miner.tree"]
    expected += ["rename", "miner.renamed", "sync_directory", "miner.folder_synced"]
    assert seen == expected


@pytest.mark.parametrize("loss", Loss)
@pytest.mark.parametrize("point", POINTS)
def test_crash_at_any_point_leaves_a_piece_whole_or_missing(point: str, loss: Loss) -> None:
    outcomes = set()
    for seed in SEEDS:
        after = crash_at(MemoryDisk(random.Random(seed)), point, loss)
        files = opened(after)
        outcomes.add(found(files))
        assert after.names(HOME / "incoming") == []
        assert write(files) == ROOT
        assert found(files) == DATA
    assert outcomes <= {None, DATA}
    if point == "miner.folder_synced":
        assert outcomes == {DATA}
    if point in POINTS[:3]:
        assert outcomes == {None}


@pytest.mark.parametrize("skipped", ["sync", "sync_directory"])
def test_skipped_sync_is_caught_by_some_crash(skipped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the check: a disk that is not told to make the bytes or the name durable loses a piece."""
    outcomes = set()
    for seed in SEEDS:
        disk = MemoryDisk(random.Random(seed))
        files = opened(disk)
        with monkeypatch.context() as patch:
            patch.setattr(disk, "_sync" if skipped == "sync" else skipped, lambda *_: None)
            write(files)
        outcomes.add(found(opened(disk.crash(Loss.POWER))))
    assert outcomes == {None, DATA}


def test_older_copy_survives_until_the_new_one_is_there() -> None:
    for seed in SEEDS:
        disk = MemoryDisk(random.Random(seed))
        write(opened(disk))
        assert found(opened(crash_at(disk, "miner.renamed", Loss.POWER))) == DATA


def test_torn_tree_is_found_out_and_computed_again() -> None:
    torn = set()
    for seed in SEEDS:
        disk = crash_at(MemoryDisk(random.Random(seed)), "miner.folder_synced", Loss.POWER)
        files = opened(disk)
        torn.add(disk.files().get(files.tree_path(ROOT)))
        assert files.read_range(ROOT, SMALL, 0, SMALL).data == DATA
        assert disk.files()[files.tree_path(ROOT)] == b"".join(leaf_hashes(DATA))
    assert len(torn) > 2


def test_layout_is_durable_once_it_is_open() -> None:
    for seed in SEEDS:
        disk = MemoryDisk(random.Random(seed))
        opened(disk)
        disk = disk.crash(Loss.POWER)
        files = PieceFiles(HOME, disk)
        assert files.is_laid_out()
        assert files.is_empty()
        assert len(disk.names(HOME / "pieces")) == FOLDERS


def test_unfinished_layout_is_not_empty_of_folders_but_of_pieces() -> None:
    disk = MemoryDisk(random.Random(1))
    assert PieceFiles(HOME, disk).is_empty()
    assert not PieceFiles(HOME, disk).is_laid_out()
    write(opened(disk))
    assert not PieceFiles(HOME, disk).is_empty()


def test_full_disk_is_no_space_and_leaves_nothing_behind() -> None:
    disk = MemoryDisk(random.Random(1), capacity_bytes=SMALL // 2)
    files = opened(disk)
    with pytest.raises(NoSpaceError):
        write(files)
    assert disk.files() == {}


def test_tree_that_finds_no_space_takes_the_draft_with_it() -> None:
    disk = MemoryDisk(random.Random(1), capacity_bytes=-(-SMALL // BLOCK_BYTES) * BLOCK_BYTES)
    files = opened(disk)
    with pytest.raises(NoSpaceError):
        write(files)
    assert disk.files() == {}


def test_failed_rename_leaves_no_draft() -> None:
    disk = MemoryDisk(random.Random(1))
    files = opened(disk)

    def failing(operation: Operation) -> None:
        if operation.kind == "rename" and operation.path == draft:
            raise OSError(5, "Input/output error")

    draft = files.draft(DATA)
    disk.before = failing
    with pytest.raises(TemporaryError):
        files.publish(draft, ROOT)
    assert disk.files() == {}


def test_removed_piece_takes_its_tree_along_and_may_be_removed_twice() -> None:
    disk = MemoryDisk(random.Random(1))
    files = opened(disk)
    write(files)
    other = write(files, piece("b"))
    for _ in range(2):
        files.remove(ROOT)
        assert set(disk.files()) == {files.path(other), files.tree_path(other)}


def test_damaged_piece_is_set_aside_with_its_tree_and_stays_there_after_a_crash() -> None:
    for seed in SEEDS:
        disk = MemoryDisk(random.Random(seed))
        files = opened(disk)
        write(files)
        disk.damage(files.path(ROOT), 5)
        assert files.set_aside(ROOT, 1_800_000_000)
        disk = disk.crash(Loss.POWER)
        files = opened(disk)
        there = HOME / "quarantine" / f"{ROOT.hex()}.1800000000"
        assert there in disk.files()
        assert set(disk.files()) <= {there, there.with_name(there.name + ".tree")}
        assert disk.files()[there] != DATA
        assert [(one.root, one.since_seconds) for one in files.quarantine.pieces()] == [(ROOT, 1_800_000_000)]
        assert found(files) is None


@pytest.mark.parametrize("kept", ["sync_directory", "rename"])
def test_crash_while_a_piece_is_set_aside_leaves_it_in_one_place(kept: str) -> None:
    places = set()
    for seed in SEEDS:
        disk, after = MemoryDisk(random.Random(seed)), list[MemoryDisk]()
        files = opened(disk)
        write(files)
        disk.before = crash_before(disk, kept, after)
        with pytest.raises(MachineDown):
            files.set_aside(ROOT, 7)
        [path] = [path for path, data in after[0].files().items() if data == DATA]
        places.add(path)
    assert places <= {files.path(ROOT), HOME / "quarantine" / f"{ROOT.hex()}.7"}
    assert len(places) == (2 if kept == "sync_directory" else 1)


def crash_before(disk: MemoryDisk, kind: str, after: list[MemoryDisk]) -> Callable[[Operation], None]:
    def watch(operation: Operation) -> None:
        if operation.kind == kind and not after:
            disk.before = None
            after.append(disk.crash(Loss.POWER))

    return watch


def test_piece_without_a_file_is_not_set_aside() -> None:
    disk = MemoryDisk(random.Random(1))
    files = opened(disk)
    assert not files.set_aside(ROOT, 7)
    write(files)
    disk.remove(files.tree_path(ROOT))
    assert files.set_aside(ROOT, 7)
    assert files.quarantine.pieces() == [SetAside(ROOT, 7, -(-SMALL // BLOCK_BYTES) * BLOCK_BYTES)]


def filled_quarantine() -> tuple[MemoryDisk, PieceFiles, list[Root]]:
    disk = MemoryDisk(random.Random(1))
    files = opened(disk)
    roots = []
    for number in range(4):
        data = piece(f"piece {number}", LEAF_BYTES * 2)
        roots.append(write(files, data))
        files.set_aside(roots[-1], 1_000 + number)
    return disk, files, roots


PIECE_BYTES = LEAF_BYTES * 2 + BLOCK_BYTES
"""Of a piece of two leaves: its data, and its tree in one block."""


@pytest.mark.parametrize(
    ("bytes_max", "since_seconds", "left"),
    [
        (PIECE_BYTES * 4, 0, [0, 1, 2, 3]),
        (PIECE_BYTES * 4 - 1, 0, [1, 2, 3]),
        (PIECE_BYTES * 2, 0, [2, 3]),
        (PIECE_BYTES * 4, 1_002, [2, 3]),
        (PIECE_BYTES, 1_001, [3]),
        (0, 0, []),
    ],
)
def test_quarantine_keeps_the_newest_within_its_limits(bytes_max: int, since_seconds: int, left: list[int]) -> None:
    disk, files, roots = filled_quarantine()
    removed = files.quarantine.trim(bytes_max=bytes_max, since_seconds=since_seconds)
    assert [one.root for one in removed] == [roots[at] for at in range(4) if at not in left]
    assert files.quarantine.pieces() == [SetAside(roots[at], 1_000 + at, PIECE_BYTES) for at in left]
    assert len(disk.files()) == 2 * len(left)


def test_sweep_and_start_leave_the_quarantine_alone() -> None:
    disk, files, _ = filled_quarantine()
    before = disk.files()
    assert files.sweep(lambda _: set()).orphans == 0
    opened(disk)
    assert disk.files() == before


def test_strange_names_in_the_quarantine_are_left_alone() -> None:
    disk, files, _ = filled_quarantine()
    strange = ("notes.txt", f"{ROOT.hex()}.007", f"{ROOT.hex().upper()}.7", f"{ROOT.hex()}.7.old")
    for name in strange:
        with disk.create(HOME / "quarantine" / name) as file:
            file.write(b"x")
    assert len(files.quarantine.trim(bytes_max=0)) == 4
    assert {path.name for path in disk.files()} == set(strange)


def test_tree_that_a_crash_left_alone_in_the_quarantine_is_removed_in_its_turn() -> None:
    disk, files, _ = filled_quarantine()
    disk.remove(HOME / "quarantine" / f"{files.quarantine.pieces()[0].root.hex()}.1000")
    assert files.quarantine.pieces()[0].allocated_bytes == BLOCK_BYTES
    files.quarantine.trim(bytes_max=0)
    assert disk.files() == {}


def test_allocated_bytes_are_what_the_filesystem_counts(tmp_path: Path) -> None:
    make_data_directory(tmp_path / "data")
    files = PieceFiles.open(tmp_path / "data")
    for number in range(5):
        write(files, piece(f"piece {number}"))
    files.set_aside(write(files), 7)
    files.draft(DATA)
    (tmp_path / "data" / "index").mkdir()
    (tmp_path / "data" / "index" / "000001.sst").write_bytes(DATA)
    counted = sum(path.stat().st_blocks * 512 for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert sum(files.allocated_bytes(folder) for folder in files.folders()) == counted
    assert counted >= 8 * SMALL
    os.rename(tmp_path / "data" / "index", tmp_path / "elsewhere")
    assert files.allocated_bytes(tmp_path / "data" / "index") == 0
