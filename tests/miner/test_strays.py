"""Files of uploads that failed before their row was written: nobody's, and gone soon."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from hippy.errors import NoSpaceError
from hippy.kv import Database, Transaction, open_database
from hippy.miner.store import PieceStore, open_store
from hippy.testing.kv import MemoryDatabase
from tests.miner.telling import DATA, ROOT
from tests.miner.world import MIB, SMALL, World, add, piece_files, ticket

T = TypeVar("T")


@asynccontextmanager
async def over(world: World, database: MemoryDatabase) -> AsyncIterator[PieceStore]:
    @asynccontextmanager
    async def opened(_: Path) -> AsyncIterator[Database]:
        yield database

    async with open_store(
        world.data_dir, capacity_bytes=MIB, disk_reserve_bytes=0, clock=world.clock, database=opened
    ) as store:
        yield store


async def test_the_file_of_an_upload_whose_row_was_refused_is_removed(world: World) -> None:
    database = MemoryDatabase()
    async with over(world, database) as store:
        database.fill()
        with pytest.raises(NoSpaceError):
            await add(store, DATA, ticket(DATA, world.clock))
        database.free()
        assert piece_files(world.data_dir) != []
        await store.trash.remove_strays()
        assert piece_files(world.data_dir) == []


async def test_a_piece_that_was_stored_before_is_no_stray(world: World) -> None:
    database = MemoryDatabase()
    async with over(world, database) as store:
        await add(store, DATA, ticket(DATA, world.clock))
        database.fill(1)
        with pytest.raises(NoSpaceError):
            await add(store, DATA, ticket(DATA, world.clock, serial=2))
        await store.trash.remove_strays()
        assert await store.read(ROOT, SMALL) == DATA


async def test_a_stray_that_is_being_uploaded_again_is_left_alone(world: World) -> None:
    database = MemoryDatabase()
    async with over(world, database) as store:
        database.fill(1)
        with pytest.raises(NoSpaceError):
            await add(store, DATA, ticket(DATA, world.clock))
        with await store.reserve(SMALL, ROOT):
            await store.trash.remove_strays()
            await add(store, DATA, ticket(DATA, world.clock))
        await store.trash.remove_strays()
        assert await store.read(ROOT, SMALL) == DATA


class Noting:
    """A database that tells when a transaction stands in line."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.in_line = asyncio.Event()
        self.read, self.lease = database.read, database.lease
        self.renew, self.unlease = database.renew, database.unlease

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        self.in_line.set()
        return await self._database.transact(work)


async def test_a_row_on_its_way_when_its_writer_was_cancelled_keeps_its_file(world: World) -> None:
    noting: list[Noting] = []

    @asynccontextmanager
    async def opened(path: Path) -> AsyncIterator[Database]:
        async with open_database(path) as database:
            noting.append(Noting(database))
            yield noting[0]

    async with open_store(
        world.data_dir, capacity_bytes=MIB, disk_reserve_bytes=0, clock=world.clock, database=opened
    ) as store:
        gate = threading.Event()
        blocking = asyncio.create_task(noting[0].transact(lambda _: gate.wait()))
        await asyncio.sleep(0)
        noting[0].in_line.clear()
        upload = asyncio.create_task(add(store, DATA, ticket(DATA, world.clock)))
        await noting[0].in_line.wait()  # the piece has its name, its row stands behind the blocked transaction
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        noting[0].in_line.clear()
        removing = asyncio.create_task(store.trash.remove_strays())
        async with asyncio.timeout(10):
            await noting[0].in_line.wait()  # behind that row
        gate.set()
        await asyncio.gather(blocking, removing)
        assert await store.read(ROOT, SMALL) == DATA
