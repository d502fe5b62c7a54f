"""The queue is looked at from its head, and by and by everywhere."""

from __future__ import annotations

import pytest

from hippy.hashing import digest
from hippy.ids import PublicKey, Root, SegmentId
from hippy.kv import Database
from hippy.testing.kv import MemoryDatabase
from hippy.validator.commit import record_segments
from hippy.validator.repair import choosing
from hippy.validator.repair.choosing import Choice, Outlook, choose, choose_drained
from tests.validator.repair.registry import lose, planned
from tests.validator.world import HOME, MINERS, NOW, committed, unsigned_segment

RATE = 0.0001
ALL = frozenset(miner.public_key for miner in MINERS)


@pytest.fixture
def database() -> Database:
    return MemoryDatabase()


async def choices(
    database: Database, *, live: frozenset[PublicKey] = ALL, skipped: tuple[SegmentId, ...] = ()
) -> list[Choice]:
    found = await database.read(lambda reader: choose(reader, Outlook(live, RATE), skipped, None))
    return found.choices


async def test_each_segment_has_its_first_missing_piece_repaired_that_nobody_works_on(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    await lose(database, segment_id, 2, 5, 6)
    assert await choices(database) == [Choice(segment_id, 2)]
    await planned(database, segment_id, 2, MINERS[10])
    assert await choices(database) == [Choice(segment_id, 5)]
    await planned(database, segment_id, 5, MINERS[11])
    await planned(database, segment_id, 6, MINERS[12])
    assert await choices(database) == []


async def test_segments_that_are_skipped_are_not_looked_at(database: Database) -> None:
    one, other = [(await committed(database, number)).segment_id for number in range(2)]
    await lose(database, one, 0, 1, 2)
    await lose(database, other, 0, 1)
    assert await choices(database, skipped=(one,)) == [Choice(other, 0)]


async def test_a_silent_holder_brings_the_loss_of_its_segment_nearer(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    await lose(database, segment_id, 0, 1)
    hours = [
        await database.read(
            lambda reader, live=live: choosing._hours(reader, segment_id, Outlook(live, RATE))  # type: ignore[misc]
        )
        for live in (ALL, ALL - {MINERS[0].public_key}, ALL - {MINERS[2].public_key}, frozenset[PublicKey]())
    ]
    assert hours[0] == hours[1] > hours[2] > hours[3] > 0  # the miner of piece 0 has lost it


async def test_a_long_queue_is_seen_by_and_by_beyond_its_head(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "HEAD_SEGMENTS", 4)
    monkeypatch.setattr(choosing, "REST_SEGMENTS", 3)
    ids = []
    for number in range(15):
        roots = [Root(digest(bytes([number, index]))) for index in range(6)]
        miners = {index: MINERS[index].public_key for index in range(4)}
        segment = unsigned_segment(number, miners, roots)
        await database.transact(lambda txn, segment=segment: record_segments(txn, HOME, [segment], NOW))  # type: ignore[misc]
        ids.append(segment.record.segment_id)
    seen: set[SegmentId] = set()
    after = None
    for _ in range(4):
        found = await database.read(lambda reader, after=after: choose(reader, Outlook(ALL, RATE), (), after))  # type: ignore[misc]
        assert len(found.choices) <= 7
        seen |= {choice.segment_id for choice in found.choices}
        after = found.after
    assert seen == set(ids)


async def test_pieces_of_a_miner_that_leaves_are_told_until_all_are_seen(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "DRAIN_PIECES", 2)
    ids = [(await committed(database, number)).segment_id for number in range(3)]
    leaving = MINERS[1].public_key
    await planned(database, ids[0], 1, MINERS[10], drained=leaving)
    seen: set[SegmentId] = set()
    after = None
    for _ in range(2):
        found, after = await database.read(
            lambda reader, after=after: choose_drained(reader, leaving, (), after)  # type: ignore[misc]
        )
        assert all(choice.drained == leaving and choice.index == 1 for choice in found)
        seen |= {choice.segment_id for choice in found}
    assert seen == set(ids[1:])
    assert after is None
