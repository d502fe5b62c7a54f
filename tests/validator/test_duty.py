"""Of the processes that share a registry one does a duty, another takes over, and who lost it writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from hippy.errors import TemporaryError
from hippy.kv import Database
from hippy.testing.clock import VirtualClock
from hippy.testing.kv import MemoryDatabase
from hippy.validator.duty import LEASE_SECONDS, RENEW_SECONDS, Duty, DutyLostError


class Process:
    """One process that has a duty now and then; it puts its name into the database while it has."""

    def __init__(self, database: MemoryDatabase, clock: VirtualClock, name: str) -> None:
        self.duty = Duty(database, "work", clock)
        self.name = name
        self.guarded: Database | None = None
        self.begun = 0
        self._clock = clock

    def is_at_work(self) -> bool:
        return self.duty.is_held

    async def work(self, guarded: Database) -> None:
        self.guarded = guarded
        self.begun += 1
        while True:
            await guarded.transact(lambda txn: txn.put(b"worker", self.name.encode()))
            await self._clock.sleep(1)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase()


@asynccontextmanager
async def running(*processes: Process) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(process.duty.run(process.work)) for process in processes]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def worker(database: Database) -> bytes | None:
    return await database.read(lambda reader: reader.get(b"worker"))


async def test_one_process_has_the_duty_from_its_first_moment(database: MemoryDatabase, clock: VirtualClock) -> None:
    alone = Process(database, clock, "alone")
    async with running(alone):
        await clock.advance(0.1)
        assert alone.is_at_work()
        assert await worker(database) == b"alone"
        await clock.advance(10 * LEASE_SECONDS)
        assert (alone.is_at_work(), alone.begun) == (True, 1)


async def test_of_two_processes_one_works(database: MemoryDatabase, clock: VirtualClock) -> None:
    first, second = Process(database, clock, "first"), Process(database, clock, "second")
    async with running(first, second):
        await clock.advance(10 * LEASE_SECONDS)
        assert sorted([first.begun, second.begun]) == [0, 1]


async def test_an_orderly_end_hands_the_duty_over_at_the_next_look(
    database: MemoryDatabase, clock: VirtualClock
) -> None:
    first, second = Process(database, clock, "first"), Process(database, clock, "second")
    async with running(first) as [ending]:
        await clock.advance(1)
        async with running(second):
            await clock.advance(1)
            assert not second.is_at_work()
            ending.cancel()
            await clock.advance(RENEW_SECONDS)
            assert second.is_at_work()
            assert await worker(database) == b"second"


async def test_dead_process_loses_the_duty_when_its_lease_runs_out(
    database: MemoryDatabase, clock: VirtualClock
) -> None:
    second = Process(database, clock, "second")
    await database.transact(lambda txn: txn.put(b"duty/work/", b""))
    assert await database.lease(b"duty/work/", b"dead", now=clock.now(), seconds=LEASE_SECONDS, limit=1)
    async with running(second):
        await clock.advance(LEASE_SECONDS - 1)
        assert not second.is_at_work()
        await clock.advance(1 + RENEW_SECONDS)
        assert second.is_at_work()


async def test_who_was_overtaken_without_noticing_writes_nothing_and_stops(
    database: MemoryDatabase, clock: VirtualClock
) -> None:
    first = Process(database, clock, "first")
    async with running(first):
        await clock.advance(1.5)
        assert first.guarded is not None
        await database.transact(lambda txn: txn.put(b"duty/work/", b"another"))
        await database.transact(lambda txn: txn.put(b"worker", b"another"))
        with pytest.raises(DutyLostError):
            await first.guarded.transact(lambda txn: txn.put(b"worker", b"late"))
        assert await worker(database) == b"another"
        await clock.advance(0.1)
        assert not first.is_at_work()


class AwayDatabase(MemoryDatabase):
    """A database whose server is away for leases, or for all, when it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False

    async def renew(self, keys: Sequence[bytes], holder: bytes, *, now: float, seconds: float) -> list[bytes]:
        self._check()
        return await super().renew(keys, holder, now=now, seconds=seconds)

    async def lease(
        self, queue: bytes, holder: bytes, *, now: float, seconds: float, limit: int
    ) -> list[tuple[bytes, bytes]]:
        self._check()
        return await super().lease(queue, holder, now=now, seconds=seconds, limit=limit)

    def _check(self) -> None:
        if self.is_away:
            raise TemporaryError("the database server is away")


async def test_short_absence_of_the_server_ends_no_duty_and_a_long_one_does(clock: VirtualClock) -> None:
    database = AwayDatabase()
    process = Process(database, clock, "only")
    async with running(process):
        await clock.advance(1)
        database.is_away = True
        await clock.advance(2 * RENEW_SECONDS)
        assert process.is_at_work()
        database.is_away = False
        await clock.advance(RENEW_SECONDS)
        database.is_away = True
        await clock.advance(LEASE_SECONDS)
        assert not process.is_at_work()
        database.is_away = False
        await clock.advance(LEASE_SECONDS)
        assert process.is_at_work()
        assert process.begun == 2


async def test_what_the_work_raises_ends_the_duty_and_frees_it(database: MemoryDatabase, clock: VirtualClock) -> None:
    async def fail(_: Database) -> None:
        raise TemporaryError("it cannot go on")

    with pytest.raises(TemporaryError, match="it cannot go on"):
        await Duty(database, "work", clock).run(fail)
    second = Process(database, clock, "second")
    async with running(second):
        await clock.advance(0.1)
        assert second.is_at_work()


async def test_guarded_database_reads_and_leases_as_the_one_below(
    database: MemoryDatabase, clock: VirtualClock
) -> None:
    process = Process(database, clock, "only")
    async with running(process):
        await clock.advance(0.1)
        guarded = process.guarded
        assert guarded is not None
        await guarded.transact(lambda txn: txn.put(b"q/1", b"job"))
        assert await guarded.lease(b"q/", b"me", now=1, seconds=9, limit=5) == [(b"q/1", b"job")]
        assert await guarded.renew([b"q/1"], b"me", now=2, seconds=9) == [b"q/1"]
        await guarded.unlease([b"q/1"], b"me")
        assert await database.lease(b"q/", b"you", now=3, seconds=9, limit=5) == [(b"q/1", b"job")]
        assert await guarded.read(lambda reader: reader.get(b"worker")) == b"only"
