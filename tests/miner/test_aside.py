"""What is left of lost pieces: set aside when the loss is certain, never under an upload, and bounded."""

from __future__ import annotations

import pytest

from hippy.errors import TemporaryError
from hippy.miner import losses
from hippy.miner.options import Extras
from hippy.miner.store import PieceStore, open_store
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.tree import root_of
from tests.miner.telling import DATA, MORE, OTHER_ROOT, ROOT
from tests.miner.world import MIB, SMALL, World, add, piece, ticket


def damage(world: World, data: bytes) -> None:
    world.files().path(root_of(data)).write_bytes(bytes([data[0] ^ 1]) + data[1:])


def aside(world: World) -> list[str]:
    return sorted(path.name for path in (world.data_dir / "quarantine").iterdir())


async def lose(store: PieceStore, *pieces: bytes) -> None:
    for data in pieces:
        store.losses.note(root_of(data))
    await store.losses.settle()


async def test_good_leaves_are_served_until_the_loss_is_certain_and_lost_then(stored: World) -> None:
    damage(stored, DATA)
    async with stored.store() as store:
        assert bytes((await store.read_range(ROOT, SMALL, SMALL - 1, 1)).data)[-1:] == DATA[-1:]
        assert (await store.leaves([PieceLeaf(ROOT, 1)]))[PieceLeaf(ROOT, 1)] is not None
        await lose(store, DATA)
        now = int(stored.clock.now())
        assert aside(stored) == [f"{ROOT.hex()}.{now}", f"{ROOT.hex()}.{now}.tree"]
        assert await store.leaves([PieceLeaf(ROOT, 1)]) == {PieceLeaf(ROOT, 1): None}
        assert store.figures.quarantine_pieces == 1
        assert store.figures.quarantine_bytes >= SMALL
        assert store.space()[1] == 2 * SMALL
    async with stored.store() as store:  # a restart neither reports it again nor removes it
        assert len(aside(stored)) == 2
        assert not await store._index.unchecked(None, 9)


async def test_piece_without_a_file_leaves_nothing_to_set_aside(stored: World) -> None:
    stored.files().path(ROOT).unlink()
    async with stored.store() as store:
        await lose(store, DATA)
        assert await store.losses.knows(ROOT)
    assert aside(stored) == []


async def test_piece_that_is_being_stored_anew_is_not_set_aside(stored: World) -> None:
    damage(stored, DATA)
    async with stored.store() as store:
        with await store.reserve(SMALL, ROOT):
            await lose(store, DATA)
            assert aside(stored) == []
            await add(store, DATA, ticket(DATA, stored.clock, serial=2))
        await store.aside.take(ROOT)  # its loss has ended
        assert aside(stored) == []
        assert await store.read(ROOT, SMALL) == DATA


async def test_disk_that_does_not_let_us_stops_no_report(
    stored: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    damage(stored, DATA)
    damage(stored, MORE)
    async with stored.store() as store:

        def fail(*_: object) -> bool:
            raise TemporaryError("read-only")

        monkeypatch.setattr(store._files, "set_aside", fail)
        await lose(store, DATA, MORE)
        assert await store.losses.knows(ROOT)
        assert await store.losses.knows(OTHER_ROOT)
        assert "stays where it is: read-only" in caplog.text
        monkeypatch.undo()
        with await store.reserve(SMALL, ROOT):  # and nobody is kept out
            pass


async def test_quarantine_keeps_what_fits_for_as_long_as_the_settings_say(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "LOOKED_AT_ONCE", 2)
    pieces = [piece(f"piece {number}", 4096) for number in range(4)]
    extras = Extras(quarantine_bytes_max=3 * 8192, quarantine_seconds=100)
    opened = open_store(world.data_dir, capacity_bytes=MIB, disk_reserve_bytes=0, extras=extras, clock=world.clock)
    async with opened as store:
        for data in pieces:
            await add(store, data, ticket(data, world.clock))
            damage(world, data)
        for data in pieces[:3]:
            await lose(store, data)
            await world.clock.advance(10)
        assert store.figures.quarantine_pieces == 3
        assert store.figures.quarantine_bytes <= 3 * 8192
        await world.clock.advance(71)
        await store.aside.trim()
        assert [name.split(".")[0] for name in aside(world)] == sorted(root_of(data).hex() for data in pieces[1:3])
        await world.clock.advance(100)
        await store.aside.trim()
        assert aside(world) == []
        assert (store.figures.quarantine_pieces, store.figures.quarantine_bytes) == (0, 0)


async def test_full_quarantine_gives_up_the_oldest(world: World) -> None:
    pieces = [piece(f"piece {number}", 4096) for number in range(3)]
    extras = Extras(quarantine_bytes_max=2 * 4096)
    opened = open_store(world.data_dir, capacity_bytes=MIB, disk_reserve_bytes=0, extras=extras, clock=world.clock)
    async with opened as store:
        for data in pieces:
            await add(store, data, ticket(data, world.clock))
            damage(world, data)
            await lose(store, data)
            await world.clock.advance(1)
        assert store.figures.quarantine_bytes <= 2 * 4096
        assert root_of(pieces[0]).hex() not in {name.split(".")[0] for name in aside(world)}
        assert root_of(pieces[2]).hex() in {name.split(".")[0] for name in aside(world)}
