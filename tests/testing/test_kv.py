"""What the database in memory does because others have a disk; its contracts are in test_kv.py and test_rocks.py."""

from __future__ import annotations

import asyncio

import pytest

from hippy.errors import NoSpaceError
from hippy.points import watching
from hippy.testing.clock import START_SECONDS, VirtualClock
from hippy.testing.crash import MachineDown
from hippy.testing.kv import MemoryDatabase
from hippy.testing.kv_contract import fill, keys_of


async def crashed_at(point: str) -> MemoryDatabase:
    """Write a row, then another with a crash at a point; returns what the next start finds."""
    database, after = MemoryDatabase(), list[MemoryDatabase]()
    await fill(database, [b"first"])

    def watch(reached: str) -> None:
        if reached == point:
            after.append(database.crash())

    with watching(watch), pytest.raises(MachineDown):
        await fill(database, [b"second", b"third"])
    return after[0]


async def test_crash_before_a_batch_is_written_loses_all_of_it() -> None:
    assert await keys_of(await crashed_at("kv.before_batch")) == [b"first"]


async def test_crash_after_a_batch_was_written_keeps_all_of_it_though_nobody_was_told() -> None:
    assert await keys_of(await crashed_at("kv.batch")) == [b"first", b"second", b"third"]


async def test_crashed_database_answers_nobody() -> None:
    database = MemoryDatabase()
    waiting = asyncio.create_task(fill(database, [b"late"]))
    await asyncio.sleep(0)
    after = database.crash()
    with pytest.raises(MachineDown):
        await waiting
    with pytest.raises(MachineDown):
        await keys_of(database)
    assert await keys_of(after) == []


async def test_so_many_writes_are_refused_as_were_asked_for() -> None:
    database = MemoryDatabase()
    database.fill(2)
    for _ in range(2):
        with pytest.raises(NoSpaceError):
            await fill(database, [b"a"])
        assert await database.transact(lambda state: state.get(b"a")) is None
    await fill(database, [b"a"])
    assert await keys_of(database) == [b"a"]


async def test_slow_database_pauses_before_its_work_and_before_its_answer() -> None:
    clock = VirtualClock()
    database = MemoryDatabase(pause=lambda: clock.sleep(1))
    writing = asyncio.create_task(fill(database, [b"a"]))
    await clock.advance(1.5)
    assert not writing.done()
    reading = asyncio.create_task(keys_of(database))
    await clock.advance(1)
    assert writing.done()
    assert await reading == [b"a"]
    assert clock.now() == START_SECONDS + 2.5
    await writing
