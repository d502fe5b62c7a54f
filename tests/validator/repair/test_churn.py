"""How often pieces get lost is measured over a week, beginning from what is known elsewhere."""

from __future__ import annotations

import pytest

from hippy.kv import Database
from hippy.testing.kv import MemoryDatabase
from hippy.validator.repair.churn import HOUR, PRIOR_PIECE_HOURS, WINDOW_SECONDS, note, rate
from hippy.validator.statistics import Statistic, count
from hippy.validator.tables import CHURN
from tests.validator.world import NOW


@pytest.fixture
def database() -> Database:
    return MemoryDatabase()


async def noted(database: Database, now: int) -> bool:
    return await database.transact(lambda txn: note(txn, now))


async def counted(database: Database, which: Statistic, change: int) -> None:
    await database.transact(lambda txn: count(txn, which, change))


async def test_before_anything_was_measured_the_prior_holds(database: Database) -> None:
    assert await database.read(rate) == 1 / PRIOR_PIECE_HOURS
    await noted(database, NOW)
    assert await database.read(rate) == 1 / PRIOR_PIECE_HOURS


async def test_losses_and_piece_hours_are_counted(database: Database) -> None:
    await counted(database, Statistic.PIECES, 10_000)
    await counted(database, Statistic.LOST, 500)  # before the first look: nobody knows when
    await noted(database, NOW)
    await counted(database, Statistic.LOST, 30)
    assert await noted(database, NOW + 10 * HOUR)
    assert await database.read(rate) == pytest.approx(31 / (100_000 + PRIOR_PIECE_HOURS))


async def test_counters_are_noted_once_an_hour(database: Database) -> None:
    assert await noted(database, NOW)
    assert not await noted(database, NOW + HOUR - 1)
    assert await noted(database, NOW + HOUR)


async def test_what_is_longer_ago_than_a_week_counts_no_more(database: Database) -> None:
    await counted(database, Statistic.PIECES, 10_000)
    await noted(database, NOW)
    await counted(database, Statistic.LOST, 1_000)
    for hour in range(1, 200):
        await noted(database, NOW + hour * HOUR)
    week = WINDOW_SECONDS / HOUR
    assert await database.read(rate) == pytest.approx(1 / (10_000 * week + PRIOR_PIECE_HOURS))
    assert await database.read(lambda reader: sum(1 for _ in reader.scan(CHURN))) == week + 1
