"""Who holds which pieces, and what is lost when a miner leaves."""

from __future__ import annotations

import pytest

from hippy.ids import PublicKey
from hippy.kv import Database
from hippy.testing.kv import MemoryDatabase
from hippy.validator.holdings import depart, holders, index_holdings, lost_indices, mark_lost, without_lost
from hippy.validator.log import scan_log, verify_chain
from hippy.validator.tables import HOLDING, Allocation, get_segment
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


@pytest.mark.parametrize("times", [1, 2])
async def test_a_database_without_the_table_gets_it(database: Database, times: int) -> None:
    allocation = await committed(database)
    expected = await database.read(lambda reader: list(holders(reader)))
    keys = await database.read(lambda reader: [key for key, _ in reader.scan(HOLDING)])
    for key in keys:
        await database.transact(lambda txn, key=key: txn.delete(key))  # type: ignore[misc]
    for _ in range(times):
        await database.transact(index_holdings)
    assert await database.read(lambda reader: list(holders(reader))) == expected
    await leave(database, expected[0])
    assert len(await shown(database, allocation)) == N - 1


async def test_nobody_holds_anything_in_an_empty_registry() -> None:
    database = MemoryDatabase()
    assert await database.read(lambda reader: list(holders(reader))) == []
    assert await database.transact(lambda txn: mark_lost(txn, 10)) == 0
