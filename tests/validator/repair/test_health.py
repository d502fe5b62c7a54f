"""A registry counts how healthy its segments are as it changes, and queues those that need repair."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from hippy.identity import Identity
from hippy.ids import PublicKey, SegmentId
from hippy.kv import Database, Reader, Transaction
from hippy.testing.kv import MemoryDatabase
from hippy.validator.holdings import current_holding, depart, mark_lost
from hippy.validator.leases import is_released
from hippy.validator.releases import release_due
from hippy.validator.repair.drains import record_drain
from hippy.validator.repair.health import (
    Health,
    get_health,
    histogram,
    put_aside,
    queue_again,
    queued,
    segment_of,
)
from hippy.validator.repair.moves import flawed_indices, missing_indices, record_flawed
from hippy.validator.statistics import Statistic, get_statistic
from hippy.validator.tables import (
    HELD_BYTES,
    HELD_COUNT,
    HOLDING,
    QUEUE,
    SEGMENT,
    STORED_BYTES_MAX,
    WAITING,
    get_count,
)
from hippy.wire.pace import USUAL_PACE
from hippy.wire.segment import SegmentRecord
from tests.validator.repair.registry import drain_word, health_of, lose, moved, planned
from tests.validator.world import HOME, MINERS, NOW, K, N, committed

LAPSED = NOW + USUAL_PACE.lease_seconds + 1


@pytest.fixture
def database() -> Database:
    return MemoryDatabase()


async def queue_of(database: Database) -> list[SegmentId]:
    return [segment_of(key) for key in await database.read(lambda reader: queued(reader, 100))]


async def count_of(database: Database, which: Statistic) -> int:
    return await database.read(lambda reader: get_statistic(reader, which))


async def test_a_segment_is_as_healthy_as_it_has_holdings(database: Database) -> None:
    allocation = await committed(database, indices=range(7))
    length = allocation.spec.piece_length
    assert await health_of(database, allocation.segment_id) == Health(7, K, N, length)
    assert [*await database.read(lambda reader: list(histogram(reader)))] == [(K, N, 7, 1)]
    await lose(database, allocation.segment_id, 3)
    assert await health_of(database, allocation.segment_id) == Health(6, K, N, length, state="queued")
    assert await count_of(database, Statistic.PIECES) == 6
    assert await count_of(database, Statistic.LOST) == 1


async def test_a_segment_is_queued_at_its_threshold_and_until_all_its_pieces_are_held(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    await lose(database, segment_id, 0)
    assert await queue_of(database) == []
    await lose(database, segment_id, 1)
    assert await queue_of(database) == [segment_id]
    assert await count_of(database, Statistic.QUEUED_BYTES) == 200
    await moved(database, segment_id, 0, MINERS[10])
    assert await queue_of(database) == [segment_id]
    assert await count_of(database, Statistic.QUEUED_BYTES) == 100
    await moved(database, segment_id, 1, MINERS[11])
    assert await queue_of(database) == []
    assert await count_of(database, Statistic.QUEUED_BYTES) == 0
    assert await database.read(lambda reader: list(histogram(reader))) == [(K, N, 8, 1)]


async def test_who_is_nearest_to_loss_comes_first(database: Database) -> None:
    ids = [(await committed(database, number)).segment_id for number in range(3)]
    await lose(database, ids[0], 0, 1)
    await lose(database, ids[1], 0, 1, 2, 3)
    await lose(database, ids[2], 0, 1, 2)
    assert await queue_of(database) == [ids[1], ids[2], ids[0]]
    await moved(database, ids[1], 0, MINERS[10])
    await moved(database, ids[1], 1, MINERS[11])
    assert await queue_of(database) == [ids[2], *sorted([ids[0], ids[1]])]


async def test_a_segment_with_too_few_pieces_is_queued_no_more(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    await lose(database, segment_id, *range(4))
    assert await queue_of(database) == [segment_id]
    await lose(database, segment_id, 4)
    assert await queue_of(database) == []
    assert await database.read(lambda reader: list(histogram(reader))) == [(K, N, 3, 1)]


async def test_a_segment_put_aside_comes_back_when_its_time_has_come(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    await lose(database, segment_id, 0, 1)
    await database.transact(lambda txn: put_aside(txn, segment_id, NOW + 60))
    assert await queue_of(database) == []
    assert await count_of(database, Statistic.STUCK) == 1
    assert await count_of(database, Statistic.STUCK_BYTES) == 200
    assert await database.transact(lambda txn: queue_again(txn, NOW + 59, 10)) == 0
    assert await database.transact(lambda txn: queue_again(txn, NOW + 60, 10)) == 1
    assert await queue_of(database) == [segment_id]
    assert await count_of(database, Statistic.STUCK) == 0


async def test_a_segment_put_aside_that_loses_a_piece_is_looked_at_again(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    await lose(database, segment_id, 0, 1)
    await database.transact(lambda txn: put_aside(txn, segment_id, NOW + 60))
    await lose(database, segment_id, 2)
    assert await queue_of(database) == [segment_id]
    assert await database.transact(lambda txn: queue_again(txn, NOW + 60, 10)) == 0


async def test_putting_aside_what_is_not_queued_does_nothing(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    await database.transact(lambda txn: put_aside(txn, segment_id, NOW + 60))
    assert await database.transact(lambda txn: queue_again(txn, NOW + 60, 10)) == 0


async def test_a_released_segment_is_counted_no_more(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    await lose(database, segment_id, 0, 1)
    await database.transact(lambda txn: release_due(txn, HOME, LAPSED, 10))
    assert await health_of(database, segment_id) is None
    assert await queue_of(database) == []
    assert await database.read(lambda reader: list(histogram(reader))) == []
    for which in (Statistic.PIECES, Statistic.QUEUED, Statistic.QUEUED_BYTES):
        assert await count_of(database, which) == 0


async def test_a_piece_that_cannot_be_made_is_waited_for_no_more(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    await lose(database, segment_id, 0, 1)
    job = await planned(database, segment_id, 0, MINERS[10])
    assert await database.transact(lambda txn: record_flawed(txn, HOME, job, NOW))
    assert not await database.transact(lambda txn: record_flawed(txn, HOME, job, NOW))
    await moved(database, segment_id, 1, MINERS[11])
    assert await queue_of(database) == []
    await lose(database, segment_id, 2)
    assert await queue_of(database) == [segment_id]
    assert await count_of(database, Statistic.FLAWED) == 1


class Model:
    """All that is counted, counted again from the holdings."""

    def __init__(self, reader: Reader) -> None:
        self.histogram: Counter[tuple[int, int, int]] = Counter()
        self.pieces = self.to_repair = self.missing_bytes = 0
        self.held: Counter[bytes] = Counter()
        for _, value in reader.scan(SEGMENT):
            record = SegmentRecord.parse(value, limit=STORED_BYTES_MAX)
            if not is_released(reader, record.segment_id):
                self._count(reader, record)

    def _count(self, reader: Reader, record: SegmentRecord) -> None:
        spec, segment_id = record.spec, record.segment_id
        holders = [found[0] for index in range(spec.n) if (found := current_holding(reader, record, index))]
        for holding in holders:
            self.held[holding.miner] += 1
        self.pieces += len(holders)
        self.histogram[spec.k, spec.n, len(holders)] += 1
        missing = missing_indices(reader, record)
        assert len(missing) == spec.n - len(holders) - len(flawed_indices(reader, segment_id))
        health = get_health(reader, segment_id)
        assert health is not None
        assert (health.healthy, health.missing) == (len(holders), len(missing))
        if missing and spec.k <= len(holders) <= 6:
            assert health.state != "well"
        if not missing or len(holders) < spec.k:
            assert health.state == "well"
        if health.state != "well":
            self.to_repair += 1
            self.missing_bytes += len(missing) * spec.piece_length


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_the_counts_are_those_of_the_holdings(database: Database, seed: int) -> None:
    """Losses, departures in portions, moves, drains, releases and pieces that cannot be made, at random."""
    chance = random.Random(seed)
    ids = [(await committed(database, number, indices=range(chance.choice((7, 8))))).segment_id for number in range(5)]
    draining: set[int] = set()
    for _ in range(60):
        await _something(database, chance, ids, draining)
        while await database.transact(lambda txn: mark_lost(txn, 7)) == 7:
            pass
        model = await database.read(Model)
        told = await database.read(lambda reader: {each[:3]: each[3] for each in histogram(reader)})
        assert told == dict(model.histogram)
        assert await count_of(database, Statistic.PIECES) == model.pieces
        waiting = [await count_of(database, which) for which in (Statistic.QUEUED, Statistic.STUCK)]
        assert sum(waiting) == model.to_repair
        assert waiting == await database.read(lambda reader: [_rows(reader, QUEUE), _rows(reader, WAITING)])
        sizes = [await count_of(database, which) for which in (Statistic.QUEUED_BYTES, Statistic.STUCK_BYTES)]
        assert sum(sizes) == model.missing_bytes
        for miner in MINERS:
            key = miner.public_key
            held = model.held[key]
            assert await database.read(lambda reader, key=key: get_count(reader, HELD_COUNT + key)) == held  # type: ignore[misc]
            assert await database.read(lambda reader, key=key: get_count(reader, HELD_BYTES + key)) == 100 * held  # type: ignore[misc]


def _rows(reader: Reader, table: bytes) -> int:
    return sum(1 for _ in reader.scan(table))


def had_one(reader: Reader, miner: Identity, segment_id: SegmentId) -> bool:
    """Whether a miner ever held a piece of a segment."""
    held = reader.scan(HOLDING + miner.public_key)
    return any(key[-1 - len(segment_id) : -1] == segment_id for key, _ in held)


async def _something(database: Database, chance: random.Random, ids: list[SegmentId], draining: set[int]) -> None:
    segment_id, index = chance.choice(ids), chance.randrange(N)

    def look(reader: Reader) -> tuple[bool, PublicKey | None, bool]:
        record = SegmentRecord.parse(reader.get(SEGMENT + segment_id) or b"", limit=STORED_BYTES_MAX)
        found = current_holding(reader, record, index)
        flawed = index in flawed_indices(reader, segment_id)
        return is_released(reader, segment_id), None if found is None else found[0].miner, flawed

    had = [await database.read(lambda reader, miner=miner: had_one(reader, miner, segment_id)) for miner in MINERS]  # type: ignore[misc]
    fresh = next((miner for miner, is_old in zip(MINERS, had, strict=True) if not is_old), None)
    released, holder, flawed = await database.read(look)
    match chance.randrange(8):
        case 0 | 1 if holder is not None and not released:
            await lose(database, segment_id, index)
        case 2 | 3 | 4 if holder is None and not flawed and not released and fresh is not None:
            if chance.random() < 0.2:
                job = await planned(database, segment_id, index, fresh)
                await database.transact(lambda txn: record_flawed(txn, HOME, job, NOW))
            else:
                await moved(database, segment_id, index, fresh)
        case 5 if chance.random() < 0.3:
            number = chance.randrange(len(MINERS))
            await database.transact(lambda txn: depart(txn, HOME, MINERS[number].public_key, 9, NOW))
        case 6 if chance.random() < 0.1:
            await database.transact(lambda txn: release_due(txn, HOME, LAPSED, 1))
        case 7:
            await _drain_or_wait(database, chance, segment_id, index, holder, released)
        case _:
            pass


async def _drain_or_wait(
    database: Database, chance: random.Random, segment_id: SegmentId, index: int, holder: bytes | None, released: bool
) -> None:
    miner = next((each for each in MINERS if each.public_key == holder), None)
    if miner is None or released or chance.random() < 0.5:
        await database.transact(lambda txn: put_aside(txn, segment_id, NOW + 60))
        return

    def start(txn: Transaction) -> None:
        record_drain(txn, HOME, drain_word(miner), NOW)

    await database.transact(start)
    taker = MINERS[15]
    if taker is not miner and not await database.read(lambda reader: had_one(reader, taker, segment_id)):
        await moved(database, segment_id, index, taker, drained=miner.public_key)
