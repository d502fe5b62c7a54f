"""Records made of stored bytes say the same as parsed ones, and their length is known beforehand."""

from __future__ import annotations

from hippy.ids import PublicKey, Root, SegmentId
from hippy.kv import Database
from hippy.validator.commit import record_segments
from hippy.validator.losses import record_loss
from hippy.validator.records import encode_records, records_bytes
from hippy.validator.tables import get_segment
from hippy.wire.segment import SegmentsAnswer
from tests.validator.world import HOME, MINERS, NOW, unsigned_segment

ROOTS = [Root(bytes([number]) * 32) for number in range(1, 5)]
UNKNOWN = SegmentId(b"u" * 32)


async def stored(database: Database, count: int) -> list[SegmentId]:
    held: dict[int, PublicKey] = {index: MINERS[index].public_key for index in range(len(ROOTS))}
    segments = [unsigned_segment(number, held, ROOTS) for number in range(count)]
    await database.transact(lambda txn: record_segments(txn, HOME, segments, NOW))
    return [segment.record.segment_id for segment in segments]


async def test_records_come_in_the_order_asked_for_and_unknown_ones_are_left_out(database: Database) -> None:
    one, two = await stored(database, 2)
    asked = [two, UNKNOWN, one]
    raw = await database.read(lambda reader: encode_records([reader], asked))
    records = await database.read(lambda reader: [get_segment(reader, each) for each in (two, one)])
    assert list(SegmentsAnswer.parse(raw).segments) == records
    assert SegmentsAnswer.parse(await database.read(lambda reader: encode_records([reader], [UNKNOWN]))).segments == ()


async def test_lost_pieces_are_left_out_and_the_length_told_beforehand_is_enough(database: Database) -> None:
    one, two = await stored(database, 2)
    before = await database.read(lambda reader: encode_records([reader], [one, two]))
    assert await database.read(lambda reader: records_bytes([reader], [one, two])) - len(before) in (0, 1)
    await database.transact(
        lambda txn: record_loss(txn, HOME, MINERS[2].public_key, [ROOTS[2]], reason="failed", now=NOW, epoch=1, batch=0)
    )
    after = await database.read(lambda reader: encode_records([reader], [one, two]))
    shown = SegmentsAnswer.parse(after).segments
    assert [[holding.index for holding in record.holdings] for record in shown] == [[0, 1, 3]] * 2
    assert len(after) <= await database.read(lambda reader: records_bytes([reader], [one, two]))
