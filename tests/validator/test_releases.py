"""Released records: what ends with one, what does not, and who cannot bring one about."""

from __future__ import annotations

import pytest

from hippy.errors import ConflictError
from hippy.ids import MessageId, PublicKey, Root, SegmentId
from hippy.kv import Database
from hippy.validator.allocation import allocate
from hippy.validator.commit import check_commit, commit_segments, pending, record_segments
from hippy.validator.holdings import bytes_at, depart, forget_ended, held_at, holders, lost_indices, mark_lost
from hippy.validator.leases import Due
from hippy.validator.log import position, scan_log, verify_chain
from hippy.validator.losses import record_loss
from hippy.validator.releases import release, released_at
from hippy.validator.statistics import Statistic, get_statistic
from hippy.validator.tables import ENDED, ENVELOPES, HELD_COUNT, Allocation, get_count, get_segment
from tests.validator.releasing import DAY, GRACE, LEASE, RICH, life, released, sweep, used, write
from tests.validator.world import (
    ACCOUNT,
    ENVELOPE_KEY,
    HOME,
    MINERS,
    NETWORK,
    NOW,
    STRANGER,
    TERMS,
    N,
    allocated,
    commit,
    committed,
    drop,
    plan,
    request,
    row,
    spec,
    unsigned_segment,
)

MINER = MINERS[0].public_key
SEGMENT_BYTES = N * 100


async def seq_of(database: Database) -> int:
    return (await database.read(position)).seq


async def roots_at(database: Database, miner: PublicKey, seq: int) -> list[Root]:
    return await database.read(lambda reader: [piece.root for piece in held_at(reader, miner, seq)])


async def lapse(database: Database, *segments: SegmentId) -> int:
    """Release segments without a row; return the last record's seq."""
    dues = [Due(segment_id, "lapsed", None) for segment_id in segments]
    await database.transact(lambda txn: release(txn, HOME, dues, NOW))
    return await seq_of(database)


async def reason(database: Database, miner: PublicKey, root: Root, since_seq: int) -> MessageId | None:
    return await database.read(lambda reader: released_at(reader, miner, root, since_seq))


async def body_id(database: Database, seq: int) -> MessageId:
    entries = await database.read(lambda reader: list(scan_log(reader)))
    return MessageId(entries[seq - 1].record.body_id)


class TestWhatEnds:
    async def test_every_holding_ends_with_the_record_and_no_piece_is_lost(self, database: Database) -> None:
        allocation = await committed(database)
        before = await seq_of(database)
        await sweep(database, NOW + LEASE)
        for index, place in enumerate(allocation.places):
            assert await roots_at(database, place.miner, before) == [allocation.spec.roots[index]]
            assert await roots_at(database, place.miner, before + 1) == []
        assert await database.read(lambda reader: lost_indices(reader, allocation.segment_id)) == frozenset()
        assert await database.read(lambda reader: list(holders(reader))) == []

    async def test_the_charge_is_given_back_once(self, database: Database) -> None:
        await committed(database, 1)
        await committed(database, 2)
        assert await used(database) == 2 * SEGMENT_BYTES
        await sweep(database, NOW + LEASE)
        assert await used(database) == 0
        await sweep(database, NOW + 10 * LEASE)
        assert await used(database) == 0

    async def test_records_of_released_segments_verify_and_stay_readable(self, database: Database) -> None:
        allocation = await committed(database)
        await sweep(database, NOW + LEASE)
        entries = await database.read(lambda reader: list(scan_log(reader)))
        verify_chain(entries, NETWORK)
        assert [entry.record.kind for entry in entries] == ["candidates", "segment", "released"]
        assert await database.read(lambda reader: get_segment(reader, allocation.segment_id)) is not None
        assert await database.read(lambda reader: reader.get(ENVELOPES + allocation.segment_id)) is None

    async def test_many_are_released_in_portions_and_counted(self, database: Database) -> None:
        for number in range(5):
            await committed(database, number)
        await sweep(database, NOW + LEASE, portion=2)
        assert len(await released(database)) == 5
        counts = await database.read(
            lambda reader: (get_statistic(reader, Statistic.SEGMENTS), get_statistic(reader, Statistic.RELEASED))
        )
        assert counts == (0, 5)

    async def test_a_piece_that_was_lost_before_stays_lost_and_ends_once(self, database: Database) -> None:
        allocation = await committed(database)
        root = allocation.spec.roots[0]
        await database.transact(
            lambda txn: record_loss(txn, HOME, MINER, [root], reason="failed", now=NOW, epoch=1, batch=0)
        )
        lost_seq = await seq_of(database)
        await sweep(database, NOW + LEASE)
        assert await roots_at(database, MINER, lost_seq) == []
        assert await roots_at(database, MINER, lost_seq - 1) == [root]
        assert await database.read(lambda reader: lost_indices(reader, allocation.segment_id)) == frozenset({0})
        assert await database.read(lambda reader: sum(1 for _ in reader.scan(ENDED))) == N

    async def test_a_departure_that_is_still_being_marked_keeps_what_it_takes(self, database: Database) -> None:
        allocation = await committed(database)
        await database.transact(lambda txn: depart(txn, HOME, MINER, 77, NOW))
        await sweep(database, NOW + LEASE)
        await database.transact(lambda txn: mark_lost(txn, 100))
        assert await database.read(lambda reader: lost_indices(reader, allocation.segment_id)) == frozenset({0})
        assert await database.read(lambda reader: get_count(reader, HELD_COUNT + MINER)) == 0

    async def test_another_segment_with_the_same_root_keeps_its_holding(self, database: Database) -> None:
        first = unsigned_segment(1, {0: MINER}, [Root(b"1" * 32), Root(b"2" * 32)])
        second = unsigned_segment(2, {0: MINER}, [Root(b"1" * 32), Root(b"3" * 32)])
        await allocated(database, terms=RICH)  # something to give back
        await database.transact(lambda txn: record_segments(txn, HOME, [first, second], NOW))
        seq = await lapse(database, first.record.segment_id)
        assert await roots_at(database, MINER, seq) == [Root(b"1" * 32)]
        assert (await database.read(lambda reader: bytes_at(reader, MINER, seq))).paid_bytes == 100
        assert await database.read(lambda reader: get_count(reader, HELD_COUNT + MINER)) == 1


async def test_another_account_that_commits_the_same_roots_cannot_release_the_firsts(database: Database) -> None:
    first, second = await committed(database), await committed(database, account=STRANGER)
    assert first.spec.roots == second.spec.roots
    await write(database, row("a", segment_ids=(first.segment_id,)))
    await sweep(database, NOW + LEASE)
    assert [body.segment_id for body in await released(database)] == [second.segment_id]
    seq = await seq_of(database)
    for index, place in enumerate(first.places):
        assert await roots_at(database, place.miner, seq) == [first.spec.roots[index]]
    assert await used(database) > SEGMENT_BYTES
    assert await used(database, TERMS.model_copy(update={"account": STRANGER.public_key})) == 0


async def test_another_account_that_commits_the_same_roots_does_not_outlive_the_first(database: Database) -> None:
    """Nor keep what the first released: each is charged for its own, and its own ends by itself."""
    first = await committed(database)
    second = await committed(database, account=STRANGER, now=NOW + DAY)
    await sweep(database, NOW + LEASE)
    assert [body.segment_id for body in await released(database)] == [first.segment_id]
    assert await used(database) == 0
    await sweep(database, NOW + DAY + LEASE)
    assert [body.segment_id for body in await released(database)] == [first.segment_id, second.segment_id]


async def test_a_drop_by_another_account_releases_nothing(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    first = row("a", segment_ids=(segment_id,))
    await write(database, first)
    gone = row("a", replaces=first, manifest=None)
    forged = drop(segment_id, signer=STRANGER)
    for word in (forged, forged.model_copy(update={"account": ACCOUNT.public_key})):
        assert await write(database, gone, drops=[word]) == ["protocol"]
    await sweep(database, NOW + 100 * DAY)
    assert await released(database) == []


async def test_a_row_cannot_name_a_segment_once_it_is_released(database: Database) -> None:
    """cp racing the last rm, and losing: the copy is refused whole, so nobody believes in it."""
    segment_id = (await committed(database)).segment_id
    first = row("a", segment_ids=(segment_id,))
    await write(database, first)
    await write(database, row("a", replaces=first, manifest=None), drops=[drop(segment_id)])
    await sweep(database, NOW + GRACE)
    assert await write(database, row("b", segment_ids=(segment_id,)), now=NOW + GRACE) == ["conflict"]
    assert (await life(database, segment_id)).references == 0


async def test_a_sweep_between_the_check_of_a_commit_and_its_storing_takes_nothing_back(database: Database) -> None:
    """GC against a running commit: what was checked against one state is stored in that state or not at all."""
    allocation = await allocated(database)
    checked = check_commit(commit(allocation), allocation, HOME, ENVELOPE_KEY)
    await database.transact(lambda txn: commit_segments(txn, HOME, [checked], NOW))  # the same, sent twice
    await sweep(database, NOW + LEASE)
    with pytest.raises(ConflictError, match="was released"):
        await database.transact(lambda txn: commit_segments(txn, HOME, [checked], NOW))
    assert await used(database) == 0
    assert [entry.record.kind for entry in await database.read(lambda reader: list(scan_log(reader)))].count(
        "segment"
    ) == 1


async def allocate_again(database: Database, allocation: Allocation) -> None:
    asked, plans = request(spec()), {allocation.segment_id: plan()}
    await database.transact(lambda txn: allocate(txn, HOME, asked, TERMS, plans, NOW))


async def test_a_released_segment_is_not_committed_or_allocated_again(database: Database) -> None:
    allocation = await committed(database)
    await sweep(database, NOW + LEASE)
    with pytest.raises(ConflictError, match="was released"):
        await database.read(lambda reader: pending(reader, ACCOUNT.public_key, [commit(allocation)], NOW))
    with pytest.raises(ConflictError, match="was released"):
        await allocate_again(database, allocation)
    assert await used(database) == 0


class TestReleasedAt:
    async def test_a_root_whose_only_holding_was_released_names_the_record(self, database: Database) -> None:
        allocation = await committed(database)
        since = await seq_of(database)
        root = allocation.spec.roots[0]
        assert await reason(database, MINER, root, since) is None
        seq = await lapse(database, allocation.segment_id)
        assert await reason(database, MINER, root, since) == await body_id(database, seq)

    async def test_a_root_that_was_not_held_then_has_no_reason(self, database: Database) -> None:
        allocation = await committed(database)
        since = await seq_of(database)
        seq = await lapse(database, allocation.segment_id)
        root = allocation.spec.roots[0]
        for miner, other, at in ((MINER, root, since - 1), (MINER, root, seq), (MINERS[1].public_key, root, since)):
            assert await reason(database, miner, other, at) is None

    async def test_one_of_two_holdings_is_not_enough_and_the_newest_record_is_named(self, database: Database) -> None:
        shared = Root(b"1" * 32)
        first = unsigned_segment(1, {0: MINER}, [shared, Root(b"2" * 32)])
        second = unsigned_segment(2, {0: MINER}, [shared, Root(b"3" * 32)], account=STRANGER.public_key)
        await allocated(database, terms=RICH)
        await allocated(database, account=STRANGER, terms=TERMS.model_copy(update={"account": STRANGER.public_key}))
        await database.transact(lambda txn: record_segments(txn, HOME, [first, second], NOW))
        since = await seq_of(database)
        await lapse(database, first.record.segment_id)
        assert await reason(database, MINER, shared, since) is None
        newest = await lapse(database, second.record.segment_id)
        assert await reason(database, MINER, shared, since) == await body_id(database, newest)

    async def test_a_loss_or_departure_is_no_release(self, database: Database) -> None:
        allocation = await committed(database)
        since = await seq_of(database)
        one, two = allocation.spec.roots[0], allocation.spec.roots[1]
        await database.transact(
            lambda txn: record_loss(txn, HOME, MINER, [one], reason="failed", now=NOW, epoch=1, batch=0)
        )
        await database.transact(lambda txn: depart(txn, HOME, MINERS[1].public_key, 77, NOW))
        await lapse(database, allocation.segment_id)
        assert await reason(database, MINER, one, since) is None
        assert await reason(database, MINERS[1].public_key, two, since) is None

    async def test_what_was_held_stays_known_until_it_is_forgotten(self, database: Database) -> None:
        allocation = await committed(database)
        since = await seq_of(database)
        seq = await lapse(database, allocation.segment_id)
        root = allocation.spec.roots[0]
        await database.transact(lambda txn: forget_ended(txn, since, 100))
        assert await reason(database, MINER, root, since) is not None
        await database.transact(lambda txn: forget_ended(txn, seq + 1, 100))
        assert await reason(database, MINER, root, since) is None
