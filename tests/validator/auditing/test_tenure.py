"""An auditor audits while its process has the duty and looks on otherwise; rounds are told before anything is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random

import pytest

from hippy.errors import TemporaryError
from hippy.hashing import u64
from hippy.kv import Database
from hippy.validator.audit.batch import OpenBatch
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.auditing import epochs
from hippy.validator.auditing.auditor import Auditor
from hippy.validator.auditing.opening import Surroundings, open_auditor
from hippy.validator.auditing.tenure import LOOK_SECONDS, OPEN_PAUSE_SECONDS, Tenure
from hippy.validator.duty import LEASE_SECONDS, RENEW_SECONDS, Duty, GuardedDatabase
from hippy.validator.tables import REPORTED
from tests.validator.auditing.fakes import until
from tests.validator.auditing.world import SECRET, World
from tests.validator.world import HOME


class Process:
    """One of several processes, which notes what it does instead of auditing."""

    def __init__(self, world: World, auditor: Auditor) -> None:
        self.auditor = auditor
        self.opened_on: list[Database] = []
        self.fails = 0
        self._world = world
        self.duty = Duty(world.database, "audit", world.clock)
        self.tenure = Tenure(auditor, self._open, world.clock)

    @classmethod
    async def begun(cls, world: World) -> Process:
        return cls(world, await opened(world, world.database))

    async def _open(self, database: Database) -> Auditor:
        if self.fails:
            self.fails -= 1
            raise TemporaryError("the chain is away")
        auditor = await opened(self._world, database)
        self.opened_on.append(database)
        return auditor

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.tenure.run(self.duty, self._world.database))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def opened(world: World, database: Database) -> Auditor:
    return await open_auditor(
        Surroundings(
            HOME,
            SECRET,
            database,
            world.chain,
            world.directory,
            world.signing,
            world.anonymous,
            world.clock,
            Random(5),
        )
    )


runs: list[Auditor] = []


@pytest.fixture(autouse=True)
def _runs_are_noted(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    runs.clear()
    if "audited" in request.node.name:
        return

    async def run(auditor: Auditor) -> None:
        runs.append(auditor)
        await asyncio.Event().wait()

    monkeypatch.setattr(Auditor, "run", run)


async def test_auditor_is_opened_anew_on_a_guarded_database_before_it_runs(world: World) -> None:
    process = await Process.begun(world)
    async with process.running():
        await until(lambda: bool(runs))
        assert runs == [process.auditor]
        [database] = process.opened_on
        assert isinstance(database, GuardedDatabase)
        assert process.auditor._database is database


async def test_auditor_that_cannot_be_opened_is_opened_later(world: World) -> None:
    process = await Process.begun(world)
    process.fails = 1
    async with process.running():
        await until(lambda: process.fails == 0)
        await until(lambda: len(world.clock.asleep) >= 2)
        await world.clock.advance(OPEN_PAUSE_SECONDS)
        await until(lambda: bool(runs))


async def test_process_without_the_duty_tells_what_is_owed_as_the_registry_has_it(world: World) -> None:
    first, second = await Process.begun(world), await Process.begun(world)
    miner = world.miners[0].hotkey
    async with first.running():
        await until(lambda: bool(runs))
        async with second.running():
            batch = OpenBatch(BatchKey(1, miner, 0), 5, 1.0, 1.0, 1.0)
            await world.database.transact(lambda txn: epochs.put_owed(txn, batch, b"{}", [64]))
            assert second.auditor.owed_by(miner) == 0
            for _ in range(round(LOOK_SECONDS / RENEW_SECONDS) + 1):  # the first renews its lease meanwhile
                await until(lambda: len(world.clock.asleep) >= 3)
                await world.clock.advance(RENEW_SECONDS)
            await until(lambda: second.auditor.owed_by(miner) == 1)
            assert runs == [first.auditor]


async def test_duty_that_is_free_again_is_taken_over(world: World) -> None:
    first, second = await Process.begun(world), await Process.begun(world)
    async with first.running() as ending:
        await until(lambda: bool(runs))
        async with second.running():
            await until(lambda: len(world.clock.asleep) >= 3)
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
            await world.clock.advance(LEASE_SECONDS)
            await until(lambda: len(runs) == 2)
            assert runs == [first.auditor, second.auditor]


async def test_rounds_are_in_the_registry_before_anything_is_asked_from_them_when_audited(world: World) -> None:
    async with world.auditing() as validator:
        await world.pass_until(2)
        entries = (await validator.transcript(1)).entries
        told = await world.database.read(epochs.get_asked_round)
        assert 0 < max(entry.round for entry in entries) <= told <= validator.auditor.newest_round


async def test_loss_is_dated_behind_what_another_process_may_have_asked_when_audited(world: World) -> None:
    async with world.auditing() as validator:
        await world.pass_until(1)
        miner = world.miners[0]
        await world.database.transact(lambda txn: epochs.put_asked_round(txn, 9_999))
        assert await validator.lost(miner, miner.roots[0]) == 1
        stored = await world.database.read(lambda reader: [value for _, value in reader.scan(REPORTED + miner.hotkey)])
        assert [value[:8] for value in stored] == [u64(9_999)]


async def test_told_round_never_goes_back(world: World) -> None:
    for newest in (5, 9, 7):
        await world.database.transact(partial(epochs.put_asked_round, newest_round=newest))
    assert await world.database.read(epochs.get_asked_round) == 9
