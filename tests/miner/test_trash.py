"""Pieces that nobody is owed: kept, taken up again, removed rows first; a crash anywhere loses nothing and leaves
nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hippy.errors import NoSpaceError, NotFoundError, TemporaryError
from hippy.ids import Root
from hippy.miner import trash
from hippy.miner.store import PieceStore
from hippy.points import watching
from hippy.proofs.tree import root_of
from hippy.wire.ticket import Ticket
from tests.miner.issuing import release_of
from tests.miner.telling import DATA, MORE, OTHER_ROOT, ROOT
from tests.miner.world import OTHER, SMALL, World, add, piece, piece_files, ticket


async def end(world: World, store: PieceStore, *tickets: Ticket) -> int:
    """End these obligations and return when."""
    now = int(world.clock.now())
    ended = await store.releases.end([release_of(one, now) for one in tickets], now, now + 10**6)
    store.recount(ended.totals)
    assert ended.obligations == len(tickets)
    return now


async def test_trash_is_removed_when_its_time_has_come_and_its_space_given_back(world: World) -> None:
    one = ticket(DATA, world.clock)
    async with world.store() as store:
        await add(store, DATA, one)
        await add(store, MORE, ticket(MORE, world.clock))
        ended = await end(world, store, one)
        assert await store.trash.remove(ended - 1) == 0
        assert await store.read(ROOT, SMALL) == DATA
        assert (store.space()[1], store.figures.totals.trash_bytes) == (2 * SMALL, SMALL)
        assert await store.trash.remove(ended) == 1
        assert (store.space()[1], store.figures.totals.trash_bytes) == (SMALL, 0)
        assert (store.figures.removed_pieces, store.figures.removed_bytes) == (1, SMALL)
        with pytest.raises(NotFoundError):
            await store.length(ROOT)
        assert await store.trash.remove(ended) == 0
    assert piece_files(world.data_dir) == [OTHER_ROOT.hex(), OTHER_ROOT.hex() + ".tree"]
    async with world.store() as store:
        assert store.space()[1] == SMALL


async def test_new_ticket_takes_trash_up_again(world: World) -> None:
    one = ticket(DATA, world.clock)
    async with world.store() as store:
        await add(store, DATA, one)
        ended = await end(world, store, one)
        await add(store, DATA, ticket(DATA, world.clock, account=OTHER.public_key))
        assert store.figures.totals.trash_bytes == 0
        assert await store.trash.remove(ended) == 0
        assert await store.read(ROOT, SMALL) == DATA
        assert store.space()[1] == SMALL


async def test_trash_that_is_thrown_away_again_is_removed_by_its_later_time(world: World) -> None:
    first, second = ticket(DATA, world.clock), ticket(DATA, world.clock, serial=2)
    async with world.store() as store:
        await add(store, DATA, first)
        await end(world, store, first)
        await add(store, DATA, second)
        await world.clock.advance(100)
        ended = await end(world, store, second)
        assert await store.trash.remove(ended - 1) == 0
        assert await store.trash.remove(ended) == 1


async def test_much_trash_is_removed_in_portions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trash, "REMOVED_AT_ONCE", 3)
    pieces = [piece(f"piece {number}", 50) for number in range(8)]
    async with world.store() as store:
        for data in pieces:
            await add(store, data, ticket(data, world.clock))
        ended = await end(world, store, *(ticket(data, world.clock) for data in pieces))
        assert await store.trash.remove(ended) == 8
        assert store.space()[1] == 0
    assert piece_files(world.data_dir) == []


class CrashError(Exception):
    """The process ends here."""


@pytest.mark.parametrize("point", ["miner.trash_unindexed", "miner.trash_removed"])
async def test_crash_while_trash_is_removed_leaves_neither_rows_nor_files(world: World, point: str) -> None:
    one = ticket(DATA, world.clock)

    def crash(reached: str) -> None:
        if reached == point:
            raise CrashError

    async with world.store() as store:
        await add(store, DATA, one)
        await add(store, MORE, ticket(MORE, world.clock))
        ended = await end(world, store, one)
        with watching(crash), pytest.raises(CrashError):
            await store.trash.remove(ended)
    assert (ROOT.hex() in piece_files(world.data_dir)) == (point == "miner.trash_unindexed")
    async with world.store() as store:
        assert store.space()[1] == SMALL
        assert await store.losses.validators() == []
        with pytest.raises(NotFoundError):
            await store.length(ROOT)
    assert piece_files(world.data_dir) == [OTHER_ROOT.hex(), OTHER_ROOT.hex() + ".tree"]


async def test_files_that_cannot_be_removed_now_go_at_the_next_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ticket(DATA, world.clock)
    async with world.store() as store:
        await add(store, DATA, one)
        ended = await end(world, store, one)

        def fail(_: object) -> None:
            raise TemporaryError("no")

        monkeypatch.setattr(store._files, "remove", fail)
        with pytest.raises(TemporaryError):
            await store.trash.remove(ended)
        await add(store, DATA, one)  # and nobody waits for them
        assert await store.read(ROOT, SMALL) == DATA
        await end(world, store, one)
        with pytest.raises(TemporaryError):
            await store.trash.remove(ended)
    async with world.store():
        assert piece_files(world.data_dir) == []


async def test_piece_that_is_being_uploaded_is_not_removed(world: World) -> None:
    one = ticket(DATA, world.clock)
    async with world.store() as store:
        await add(store, DATA, one)
        ended = await end(world, store, one)
        with await store.reserve(SMALL, ROOT):
            assert await store.trash.remove(ended) == 0
            await add(store, DATA, ticket(DATA, world.clock, serial=2))
        assert await store.trash.remove(ended) == 0
        assert await store.read(ROOT, SMALL) == DATA


async def test_upload_waits_for_a_removal_under_way_and_its_bytes_stay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ticket(DATA, world.clock)
    async with world.store() as store:
        await add(store, DATA, one)
        ended = await end(world, store, one)
        tasks: list[asyncio.Task[object]] = []

        def upload(point: str) -> None:
            if point == "miner.trash_unindexed":
                tasks.append(asyncio.create_task(add(store, DATA, one)))

        with watching(upload):
            removing = asyncio.create_task(store.trash.remove(ended))
            assert await removing == 1
        (task,) = tasks
        await task
        assert await store.read(ROOT, SMALL) == DATA
        assert store.space()[1] == SMALL


async def test_removal_that_is_given_up_keeps_uploads_waiting_until_its_thread_has_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ticket(DATA, world.clock)
    async with world.store() as store:
        await add(store, DATA, one)
        ended = await end(world, store, one)
        loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        real = store._files.remove

        def slow(root: Root) -> None:
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
            real(root)

        monkeypatch.setattr(store._files, "remove", slow)
        removing = asyncio.create_task(store.trash.remove(ended))
        await begun.wait()
        removing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await removing
        upload = asyncio.create_task(add(store, DATA, one))
        await asyncio.sleep(0)
        go_on.set()
        await upload
        assert await store.read(ROOT, SMALL) == DATA


async def full(_: PieceStore, __: World) -> None:
    """Nothing more: the piece is owed."""


async def trashed(store: PieceStore, world: World) -> None:
    await end(world, store, ticket(DATA, world.clock))


async def lost(store: PieceStore, world: World) -> None:
    world.files().path(ROOT).unlink()
    store.losses.note(ROOT)
    await store.losses.settle()


@pytest.mark.parametrize("make", [full, trashed, lost])
async def test_full_miner_takes_a_new_ticket_for_a_root_whose_bytes_it_counts(
    world: World, make: Callable[[PieceStore, World], Awaitable[None]]
) -> None:
    async with world.store(capacity_bytes=SMALL) as store:
        await add(store, DATA, ticket(DATA, world.clock))
        await make(store, world)
        with pytest.raises(NoSpaceError):
            await store.reserve(SMALL, OTHER_ROOT)
        with await store.reserve(SMALL, ROOT):
            await add(store, DATA, ticket(DATA, world.clock, serial=2))
        assert store.space() == (SMALL, SMALL)
        assert await store.read(ROOT, SMALL) == DATA


async def test_lost_trash_is_told_to_nobody_and_leaves_no_row(world: World) -> None:
    one = ticket(DATA, world.clock)
    async with world.store() as store:
        await add(store, DATA, one)
        ended = await end(world, store, one)
        await lost(store, world)
        assert await store.losses.validators() == []
        assert await store.trash.remove(ended) == 1
        assert not await store.losses.knows(ROOT)
        assert store.space()[1] == 0


async def test_piece_that_is_removed_while_it_is_noted_does_not_stop_the_look_at_others(world: World) -> None:
    one, others = ticket(DATA, world.clock), [piece(f"piece {number}", 50) for number in range(3)]
    async with world.store() as store:
        for data in (DATA, *others):
            await add(store, data, ticket(data, world.clock))
        ended = await end(world, store, one)
        await store.trash.remove(ended)
        store.losses.note(ROOT)  # by a read that began before
        for data in others:
            world.files().path(root_of(data)).unlink()
            store.losses.note(root_of(data))
        assert await store.losses.settle()
        assert not await store.losses.knows(ROOT)
        assert all([await store.losses.knows(root_of(data)) for data in others])
