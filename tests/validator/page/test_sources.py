"""The page's figures of health and repairs are those that the repair counts."""

from __future__ import annotations

from collections.abc import Callable

from hippy.ids import SegmentId
from hippy.kv import Transaction
from hippy.testing.kv import MemoryDatabase
from hippy.validator.page.figures import HealthFigures, RepairFigures
from hippy.validator.page.sources import health_of, repair_of
from hippy.validator.repair import health
from tests.validator.world import NOW, spec

LOW, LOST, WELL = (SegmentId(letter * 32) for letter in (b"l", b"x", b"w"))
WHOLE = spec()  # 4/8
PIECE_BYTES = 100


async def counted(*steps: Callable[[Transaction], None]) -> tuple[HealthFigures, RepairFigures]:
    database = MemoryDatabase()
    for step in steps:
        await database.transact(step)
    return await database.read(health_of), await database.read(repair_of)


async def test_of_a_registry_without_segments_nothing_is_to_be_repaired() -> None:
    assert await counted() == (HealthFigures({}, 0), RepairFigures(0, 0, 0, 0))


async def test_segments_are_counted_by_their_spare_pieces_and_those_that_are_low_as_queued() -> None:
    found, repair = await counted(
        lambda txn: health.begin(txn, WELL, WHOLE, healthy=8),
        lambda txn: health.begin(txn, LOW, WHOLE, healthy=5),
        lambda txn: health.begin(txn, LOST, WHOLE, healthy=3),
    )
    assert (dict(found.by_spare), found.at_threshold) == ({4: 1, 1: 1, -1: 1}, 2)
    assert repair == RepairFigures(queued_segments=1, queued_bytes=3 * PIECE_BYTES, stuck_segments=0, repairing=0)


async def test_a_segment_that_is_put_aside_is_stuck() -> None:
    _, repair = await counted(
        lambda txn: health.begin(txn, LOW, WHOLE, healthy=5), lambda txn: health.put_aside(txn, LOW, NOW)
    )
    assert (repair.queued_segments, repair.queued_bytes, repair.stuck_segments) == (0, 0, 1)
