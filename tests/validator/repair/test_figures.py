"""Repair in numbers, as they are counted anyway."""

from __future__ import annotations

import pytest

from hippy.kv import Database
from hippy.testing.kv import MemoryDatabase
from hippy.validator.repair.drains import record_drain
from hippy.validator.repair.figures import METRICS, RepairFigures, read_figures
from hippy.validator.repair.health import put_aside
from tests.validator.repair.registry import drain_word, lose, moved, planned
from tests.validator.world import HOME, MINERS, NOW, committed


@pytest.fixture
async def database() -> Database:
    """Four segments: whole, at the threshold and under way, put aside, and lost."""
    made = MemoryDatabase()
    _, low, stuck, gone = [(await committed(made, number)).segment_id for number in range(4)]
    await lose(made, low, 0, 1, 2)
    await moved(made, low, 0, MINERS[10])
    await planned(made, low, 1, MINERS[11])
    await lose(made, stuck, 3, 4)
    await made.transact(lambda txn: put_aside(txn, stuck, NOW + 60))
    await lose(made, gone, *range(5))
    await made.transact(lambda txn: record_drain(txn, HOME, drain_word(MINERS[1]), NOW))
    return made


async def test_segments_are_told_by_what_they_have_beyond_what_they_need(database: Database) -> None:
    figures = await database.read(read_figures)
    assert figures.by_spare() == {-1: 1, 2: 2, 4: 1}
    assert (figures.low_segments, figures.unreadable_segments) == (3, 1)


async def test_queue_orders_and_totals_are_told(database: Database) -> None:
    figures = await database.read(read_figures)
    assert (figures.queued_segments, figures.queued_bytes) == (1, 200)
    assert (figures.stuck_segments, figures.stuck_bytes) == (1, 200)
    assert (figures.under_way, figures.draining_miners) == (1, 1)
    assert (figures.pieces, figures.lost_pieces, figures.moved_pieces, figures.flawed_pieces) == (23, 10, 1, 0)


async def test_every_metric_has_a_sample(database: Database) -> None:
    samples = await RepairFigures(database).samples()
    assert {sample.metric for sample in samples} == set(METRICS)
    told = {(sample.metric.name, sample.labels): sample.value for sample in samples}
    assert told["hippy_validator_repair_segments", ("stuck",)] == 1
    assert told["hippy_validator_repair_bytes", ("queued",)] == 200


async def test_an_empty_registry_has_nothing_to_repair() -> None:
    figures = await MemoryDatabase().read(read_figures)
    assert (figures.by_spare(), figures.low_segments, figures.queued_segments, figures.under_way) == ({}, 0, 0, 0)
