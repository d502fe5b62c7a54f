"""Who holds which pieces, and what is lost when a miner leaves."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from hippy.ids import PublicKey
from hippy.kv import Database, Transaction
from hippy.testing.kv import MemoryDatabase
from hippy.validator.holdings import (
    INDEXED,
    INDEXING,
    depart,
    holders,
    index_holdings,
    lost_indices,
    mark_lost,
    without_lost,
)
from hippy.validator.log import scan_log, verify_chain
from hippy.validator.tables import HOLDING, SEGMENT, Allocation, get_segment
from hippy.wire.segment import SegmentRecord
from tests.validator.world import HOME, NETWORK, NOW, N, committed


async def record_of(database: Database, allocation: Allocation) -> SegmentRecord:
    record = await database.read(lambda reader: get_segment(reader, allocation.segment_id))
    assert record is not None
    return record


async def shown(database: Database, allocation: Allocation) -> list[int]:
    """The pieces that clients are told of."""
    record = await record_of(database, allocation)
    shown = await database.read(lambda reader: without_lost(reader, record))
    assert SegmentRecord.parse(shown.encode()) == shown  # whatever is left, a client can parse it
    return [holding.index for holding in shown.holdings]


async def leave(database: Database, hotkey: PublicKey, *, portion: int = 1_000) -> None:
    await database.transact(lambda txn: depart(txn, HOME, hotkey, 77, NOW))
    while await database.transact(lambda txn: mark_lost(txn, portion)) == portion:
        pass


async def test_the_holders_of_a_commit_are_known(database: Database) -> None:
    record = await record_of(database, await committed(database))
    assert await database.read(lambda reader: list(holders(reader))) == sorted(each.miner for each in record.holdings)


async def test_a_departure_is_one_record_of_the_log(database: Database) -> None:
    record = await record_of(database, await committed(database))
    await leave(database, PublicKey(record.holdings[3].miner))
    records = await database.read(lambda reader: list(scan_log(reader)))
    verify_chain(records, NETWORK)
    assert records[-1].departure is not None
    assert (records[-1].kind, records[-1].departure.hotkey, records[-1].departure.block) == (
        "departure",
        record.holdings[3].miner,
        77,
    )


async def test_what_a_miner_held_is_lost_with_it(database: Database) -> None:
    allocation = await committed(database)
    gone = (await record_of(database, allocation)).holdings[3]
    assert await shown(database, allocation) == list(range(N))
    await leave(database, PublicKey(gone.miner))
    assert await shown(database, allocation) == [index for index in range(N) if index != gone.index]
    assert await database.read(lambda reader: lost_indices(reader, allocation.segment_id)) == {gone.index}
    assert gone.miner not in await database.read(lambda reader: list(holders(reader)))


async def test_when_all_have_left_nothing_is_shown(database: Database) -> None:
    allocation = await committed(database)
    for holding in (await record_of(database, allocation)).holdings:
        await leave(database, PublicKey(holding.miner))
    assert await shown(database, allocation) == []


async def test_a_departure_that_is_worked_off_in_portions_is_complete(database: Database) -> None:
    allocation = await committed(database)
    for holding in (await record_of(database, allocation)).holdings[:3]:
        await leave(database, PublicKey(holding.miner), portion=1)
    assert await shown(database, allocation) == list(range(3, N))


async def test_a_hotkey_that_comes_back_keeps_what_it_gets_then(database: Database) -> None:
    allocation = await committed(database)
    miner = PublicKey((await record_of(database, allocation)).holdings[0].miner)
    await database.transact(lambda txn: depart(txn, HOME, miner, 77, NOW))
    later = b"L" * 32 + b"\x05"
    await database.transact(lambda txn: txn.put(HOLDING + miner + later, (10**6).to_bytes(8, "little")))
    await database.transact(lambda txn: mark_lost(txn, 100))
    assert await shown(database, allocation) == list(range(1, N))
    assert miner in await database.read(lambda reader: list(holders(reader)))


async def test_a_departure_is_recorded_once_while_it_is_worked_off(database: Database) -> None:
    miner = PublicKey((await record_of(database, await committed(database))).holdings[0].miner)
    for _ in range(3):
        await database.transact(lambda txn: depart(txn, HOME, miner, 77, NOW))
    kinds = [record.kind for record in await database.read(lambda reader: list(scan_log(reader)))]
    assert kinds.count("departure") == 1


async def test_a_miner_that_holds_nothing_cannot_depart(database: Database) -> None:
    await committed(database)
    stranger = PublicKey(b"s" * 32)
    assert not await database.transact(lambda txn: depart(txn, HOME, stranger, 77, NOW))
    kinds = [record.kind for record in await database.read(lambda reader: list(scan_log(reader)))]
    assert "departure" not in kinds


SEGMENTS = 5


async def unindexed(database: Database) -> list[bytes]:
    """Commit SEGMENTS segments, forget who holds them, and return the keys that say so."""
    for number in range(SEGMENTS):
        await committed(database, number)
    keys = await holding_keys(database)
    await forget(database, keys)
    return keys


async def forget(database: Database, keys: Iterable[bytes]) -> None:
    def work(txn: Transaction) -> None:
        for key in keys:
            txn.delete(key)

    await database.transact(work)


async def holding_keys(database: Database) -> list[bytes]:
    return await database.read(lambda reader: [key for key, _ in reader.scan(HOLDING)])


class TestIndexing:
    @pytest.mark.parametrize("portion", range(1, SEGMENTS + 2))
    async def test_a_database_without_the_table_gets_it_in_portions(self, database: Database, portion: int) -> None:
        keys = await unindexed(database)
        looked_at = [portion]
        while looked_at[-1] == portion:
            looked_at.append(await database.transact(lambda txn: index_holdings(txn, portion)))
        assert sum(looked_at[1:]) == SEGMENTS
        assert await holding_keys(database) == keys
        assert await database.read(lambda reader: (reader.get(INDEXED), reader.get(INDEXING))) == (b"", None)

    async def test_what_the_table_has_departs_and_does_not_come_back(self, database: Database) -> None:
        keys = await unindexed(database)
        await database.transact(lambda txn: index_holdings(txn, SEGMENTS + 1))
        gone = (await database.read(lambda reader: list(holders(reader))))[0]
        await leave(database, gone)
        assert await database.transact(lambda txn: index_holdings(txn, 1)) == 0
        assert await holding_keys(database) == [key for key in keys if not key.startswith(HOLDING + gone)]

    async def test_it_is_not_done_before_the_last_portion(self, database: Database) -> None:
        await unindexed(database)
        for _ in range(SEGMENTS):
            await database.transact(lambda txn: index_holdings(txn, 1))
            assert await database.read(lambda reader: reader.get(INDEXED)) is None

    async def test_segments_that_older_code_commits_in_between_are_found(self, database: Database) -> None:
        await unindexed(database)
        for _ in range(SEGMENTS - 1):
            await database.transact(lambda txn: index_holdings(txn, 1))
        for number in range(SEGMENTS, 2 * SEGMENTS):
            await committed(database, number)
        keys = await database.read(
            lambda reader: [
                HOLDING + holding.miner + key[len(SEGMENT) :] + bytes([holding.index])
                for key, value in reader.scan(SEGMENT)
                for holding in SegmentRecord.parse(value).holdings
            ]
        )
        await forget(database, await holding_keys(database))
        while await database.transact(lambda txn: index_holdings(txn, 2)) == 2:
            pass
        assert await holding_keys(database) == sorted(keys)


async def test_nobody_holds_anything_in_an_empty_registry() -> None:
    database = MemoryDatabase()
    assert await database.read(lambda reader: list(holders(reader))) == []
    assert await database.transact(lambda txn: mark_lost(txn, 10)) == 0
