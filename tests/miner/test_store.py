"""The durable store: what survives a crash at which instant, what space is counted, what a bad disk can do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippy.errors import ConfigError, IntegrityError, NoSpaceError, NotFoundError, ProtocolError, TemporaryError
from hippy.ids import Root
from hippy.kv import Reader, Transaction, open_database
from hippy.miner import disk
from hippy.miner.files import PieceFiles, make_data_directory
from hippy.miner.obligations import Obligation, ObligationIndex
from hippy.proofs.ranges import verify_range
from hippy.proofs.tree import LEAF_BYTES, leaf_hashes, root_of
from hippy.testing.kv import MemoryDatabase
from tests.miner.world import LARGE, MINER, NETWORK, OTHER, SMALL, World, add, obligation, piece, piece_files, ticket

T = TypeVar("T")
DATA = piece("a")
ROOT = root_of(DATA)


@pytest.fixture
def files(tmp_path: Path) -> PieceFiles:
    make_data_directory(tmp_path / "data")
    opened = PieceFiles.open(tmp_path / "data")
    opened.write(ROOT, DATA, leaf_hashes(DATA))
    return opened


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


async def test_crash_between_rename_and_index_leaves_an_orphan_that_is_removed(world: World) -> None:
    async with world.store() as store:
        await add(store, piece("kept"), ticket(piece("kept"), world.clock))
    kept = piece_files(world.data_dir)
    world.files().write(ROOT, DATA, leaf_hashes(DATA))
    assert piece_files(world.data_dir) != kept
    async with world.store() as store:
        assert piece_files(world.data_dir) == kept
        assert store.space()[1] == SMALL
        with pytest.raises(NotFoundError):
            await store.length(ROOT)


async def test_crash_before_rename_leaves_nothing(world: World) -> None:
    async with world.store():
        pass
    draft = world.files().draft(DATA)
    assert draft.read_bytes() == DATA
    async with world.store() as store:
        assert not draft.exists()
        assert piece_files(world.data_dir) == []
        assert store.space()[1] == 0


async def test_file_without_its_row_is_not_visible(world: World) -> None:
    async with world.store() as store:
        world.files().write(ROOT, DATA, leaf_hashes(DATA))
        with pytest.raises(NotFoundError):
            await store.length(ROOT)


class WatchingDatabase(MemoryDatabase):
    """Calls ``watch`` before each transaction."""

    def __init__(self, watch: Callable[[], None]) -> None:
        super().__init__()
        self._watch = watch

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        self._watch()
        return await super().transact(work)


async def test_row_is_written_when_the_file_is_in_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.store() as store:
        seen: list[list[str]] = []
        monkeypatch.setattr(
            store, "_index", ObligationIndex(WatchingDatabase(lambda: seen.append(piece_files(world.data_dir))))
        )
        await add(store, DATA, ticket(DATA, world.clock))
        assert seen == [[ROOT.hex(), ROOT.hex() + ".tree"]]


def test_bytes_are_synced_before_they_get_a_name_and_the_name_after(
    files: PieceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def record(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def recorded(*args: Any) -> Any:
            events.append(name)
            return real(*args)

        monkeypatch.setattr(owner, name, recorded)

    record(disk, "_sync_data")
    record(Path, "replace")
    record(disk, "sync_directory")
    files.publish(files.draft(DATA), ROOT)
    assert events == ["_sync_data", "replace", "sync_directory"]


async def test_failed_transaction_acknowledges_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.store() as store:

        async def fail(_: Obligation) -> None:
            raise TemporaryError("no")

        monkeypatch.setattr(store._index, "add", fail)
        with pytest.raises(TemporaryError):
            await add(store, DATA, ticket(DATA, world.clock))
        assert store.space()[1] == 0
    async with world.store():
        assert piece_files(world.data_dir) == []


async def test_index_keeps_an_obligation_per_ticket_and_one_length(world: World) -> None:
    mine, theirs = ticket(DATA, world.clock), ticket(DATA, world.clock, account=OTHER.public_key)
    async with world.store() as store:
        await add(store, DATA, mine)
        await add(store, DATA, theirs)
        await add(store, DATA, mine)

    def rows(state: Reader) -> dict[bytes, bytes]:
        return dict(state.scan(b""))

    async with open_database(world.data_dir / "index") as database:
        found = await database.read(rows)
    keys = {b"obl/" + ROOT + one.id(NETWORK): one for one in (mine, theirs)}
    assert found.keys() == {*keys, b"piece/" + ROOT, b"meta/format", b"meta/totals"}
    assert {key: Obligation.parse(found[key]).ticket for key in keys} == keys
    assert found[b"piece/" + ROOT] == SMALL.to_bytes(8, "little")
    assert found[b"meta/totals"] == b"".join(number.to_bytes(8, "little") for number in (SMALL, 0, 1, 2))


async def test_used_bytes_survive_a_restart(world: World) -> None:
    for number in range(3):
        async with world.store() as store:
            assert store.space()[1] == number * LARGE
            data = piece(f"piece {number}", LARGE)
            await add(store, data, ticket(data, world.clock))


async def test_pieces_without_their_index_are_not_swept_away(world: World) -> None:
    async with world.store() as store:
        await add(store, DATA, ticket(DATA, world.clock))
    (world.data_dir / "index").rename(world.data_dir / "elsewhere")
    with pytest.raises(ConfigError, match="no index"):
        async with world.store():
            pass
    assert ROOT.hex() in piece_files(world.data_dir)


async def test_index_of_another_format_is_refused(world: World) -> None:
    async with world.store():
        pass
    async with open_database(world.data_dir / "index") as database:
        await database.transact(lambda state: state.put(b"meta/format", b"3"))
    with pytest.raises(ConfigError, match="format"):
        async with world.store():
            pass


async def test_second_process_cannot_open_a_store_or_drop_its_uploads(world: World) -> None:
    async with world.store():
        draft = world.files().draft(DATA)
        with pytest.raises(ConfigError):
            async with world.store():
                pass
        assert draft.exists()


async def test_space_is_promised_once(world: World) -> None:
    async with world.store(capacity_bytes=100) as store:
        with await store.reserve(60), await store.reserve(40), pytest.raises(NoSpaceError):
            await store.reserve(1)
        with await store.reserve(100):
            pass


async def test_lost_file_is_told_at_start_and_on_reading(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.store() as store:
        await add(store, DATA, ticket(DATA, world.clock))
    world.files().path(ROOT).unlink()
    async with world.store() as store:
        assert "1 pieces we owe have no file" in caplog.text
        with pytest.raises(IntegrityError):
            await store.read(ROOT, await store.length(ROOT))


async def test_upload_of_a_lost_piece_heals_it(world: World) -> None:
    async with world.store() as store:
        await add(store, DATA, ticket(DATA, world.clock))
        flip(world.files().path(ROOT), 5)
        await add(store, DATA, ticket(DATA, world.clock, account=OTHER.public_key))
        assert await store.read(ROOT, SMALL) == DATA


def test_written_piece_reads_back(files: PieceFiles) -> None:
    assert files.read(ROOT, SMALL) == DATA
    assert files.tree_path(ROOT).read_bytes() == b"".join(leaf_hashes(DATA))


def test_piece_of_one_leaf_has_no_tree_and_is_served(files: PieceFiles) -> None:
    data = piece("b", LEAF_BYTES)
    root = root_of(data)
    files.write(root, data, leaf_hashes(data))
    assert not files.tree_path(root).exists()
    proof = files.read_range(root, len(data), 100, 5)
    verify_range(root, len(data), 0, proof.data, proof.siblings)
    assert not files.tree_path(root).exists()


@given(st.integers(0, SMALL - 1), st.integers(1, SMALL))
def test_every_range_carries_its_leaves_and_proof(tmp_path_factory: pytest.TempPathFactory, at: int, size: int) -> None:
    files = shared_files(tmp_path_factory)
    size = min(size, SMALL - at)
    proof = files.read_range(ROOT, SMALL, at, size)
    verify_range(ROOT, SMALL, proof.first_leaf, proof.data, proof.siblings)
    begin = at - proof.first_leaf * LEAF_BYTES
    assert bytes(proof.data)[begin : begin + size] == DATA[at : at + size]
    assert proof.count <= size // LEAF_BYTES + 2


_SHARED: list[PieceFiles] = []


def shared_files(factory: pytest.TempPathFactory) -> PieceFiles:
    if not _SHARED:
        opened = PieceFiles.open(factory.mktemp("shared"))
        opened.write(ROOT, DATA, leaf_hashes(DATA))
        _SHARED.append(opened)
    return _SHARED[0]


@pytest.mark.parametrize(("at", "size"), [(0, 0), (0, SMALL + 1), (SMALL, 1), (SMALL - 1, 2)])
def test_range_outside_the_piece_is_a_protocol_error(files: PieceFiles, at: int, size: int) -> None:
    with pytest.raises(ProtocolError):
        files.read_range(ROOT, SMALL, at, size)


@pytest.mark.parametrize("at", [0, LEAF_BYTES, SMALL - 1])
def test_damaged_file_fails_the_whole_read(files: PieceFiles, at: int) -> None:
    flip(files.path(ROOT), at)
    with pytest.raises(IntegrityError):
        files.read(ROOT, SMALL)


@pytest.mark.parametrize("length", [0, SMALL - 1, SMALL + 1])
def test_file_of_another_length_is_damaged(files: PieceFiles, length: int) -> None:
    os.truncate(files.path(ROOT), length)
    for read in (lambda: files.read(ROOT, SMALL), lambda: files.read_range(ROOT, SMALL, 0, 1)):
        with pytest.raises(IntegrityError):
            read()


def test_undamaged_leaf_of_a_damaged_file_is_served_and_the_damaged_one_is_not(files: PieceFiles) -> None:
    flip(files.path(ROOT), LEAF_BYTES + 7)
    proof = files.read_range(ROOT, SMALL, 0, 10)
    verify_range(ROOT, SMALL, 0, proof.data, proof.siblings)
    for at, size in ((LEAF_BYTES, 1), (LEAF_BYTES - 1, 2), (0, SMALL)):
        with pytest.raises(IntegrityError, match="leaves"):
            files.read_range(ROOT, SMALL, at, size)


def test_damaged_file_without_its_tree_is_not_served_at_all(files: PieceFiles) -> None:
    flip(files.path(ROOT), LEAF_BYTES + 7)
    files.tree_path(ROOT).unlink()
    with pytest.raises(IntegrityError):
        files.read_range(ROOT, SMALL, 0, 10)
    assert not files.tree_path(ROOT).exists()


def damage_tree(path: Path) -> None:
    flip(path, 40)


def cut_tree(path: Path) -> None:
    os.truncate(path, 33)


@pytest.mark.parametrize("damage", [damage_tree, cut_tree, Path.unlink])
def test_damaged_or_lost_tree_is_rebuilt(files: PieceFiles, damage: Callable[[Path], None]) -> None:
    path = files.tree_path(ROOT)
    damage(path)
    proof = files.read_range(ROOT, SMALL, LEAF_BYTES, 1)
    verify_range(ROOT, SMALL, 1, proof.data, proof.siblings)
    assert path.read_bytes() == b"".join(leaf_hashes(DATA))


def test_tree_that_cannot_be_stored_again_does_not_fail_the_read(files: PieceFiles, tmp_path: Path) -> None:
    files.tree_path(ROOT).unlink()
    (tmp_path / "data" / "incoming").rmdir()
    assert files.read_range(ROOT, SMALL, 0, 1).count == 1


def test_sweep_keeps_known_pieces_and_counts_lost_ones(files: PieceFiles) -> None:
    lost = Root(ROOT[:1] + b"x" * 31)
    stray = files.path(ROOT).with_name("stray")
    stray.write_bytes(b"")
    swept = files.sweep(lambda byte: {ROOT, lost} if byte == ROOT[0] else set())
    assert (swept.orphans, swept.missing) == (1, (lost,))
    assert files.read(ROOT, SMALL) == DATA
    assert not stray.exists()


def test_write_to_a_full_disk_is_no_space_and_leaves_no_file(
    files: PieceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    data = piece("b")
    with pytest.raises(NoSpaceError):
        files.write(root_of(data), data, leaf_hashes(data))
    assert list((tmp_path / "data" / "incoming").iterdir()) == []


async def test_many_adds_at_once_count_every_byte(world: World) -> None:
    pieces = [piece(f"piece {number}", 20_000) for number in range(12)]
    async with world.store() as store:
        await asyncio.gather(*(add(store, data, ticket(data, world.clock)) for data in pieces))
        assert store.space()[1] == 12 * 20_000
        for data in pieces:
            assert await store.read(root_of(data), 20_000) == data
    async with world.store() as store:
        assert store.space()[1] == 12 * 20_000


async def test_second_obligation_of_a_ticket_returns_the_first_receipt(world: World) -> None:
    one = ticket(DATA, world.clock)
    first, second = obligation(one, time=1), obligation(one, time=2)
    async with world.store() as store:
        given_first = await store.add(first, DATA, leaf_hashes(DATA))
        given_second = await store.add(second, DATA, leaf_hashes(DATA))
    assert given_first == given_second == first.receipt
    first.receipt.check_signature(MINER.public_key, NETWORK)
