"""Who holds which pieces, and what is lost when a miner leaves."""

from __future__ import annotations

from collections.abc import Mapping

from hippy.ids import PublicKey, Root
from hippy.kv import Database, Reader
from hippy.testing.kv import MemoryDatabase
from hippy.validator.commit import record_segments
from hippy.validator.held import HeldBytes, HeldPiece
from hippy.validator.holdings import (
    bytes_at,
    depart,
    forget_ended,
    held_at,
    holders,
    holders_at,
    holdings_of,
    inventory_at,
    lost_indices,
    mark_lost,
    without_lost,
)
from hippy.validator.log import scan_log, verify_chain
from hippy.validator.losses import record_loss, reported
from hippy.validator.tables import ENDED, HELD_COUNT, HOLDING, REPORTED, Allocation, get_count, get_segment
from hippy.wire.audit import LostReport
from hippy.wire.segment import SegmentRecord
from hippy.wire.ticket import PayClass
from tests.validator.world import ACCOUNT, HOME, MINERS, NETWORK, NOW, STRANGER, N, committed, unsigned_segment

ONE, TWO, THREE = (miner.public_key for miner in MINERS[:3])
ROOTS = [Root(bytes([number]) * 32) for number in range(9)]


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
    entries = await database.read(lambda reader: list(scan_log(reader)))
    verify_chain(entries, NETWORK)
    last = entries[-1]
    assert last.departure is not None
    assert (last.record.kind, last.departure.hotkey, last.departure.block) == (
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
    later = await committed(database, 1)
    assert miner in await database.read(lambda reader: list(holders(reader)))
    await database.transact(lambda txn: mark_lost(txn, 100))
    assert await shown(database, allocation) == list(range(1, N))
    assert await shown(database, later) == list(range(N))
    assert miner in await database.read(lambda reader: list(holders(reader)))


async def test_a_departure_is_recorded_once_while_it_is_worked_off(database: Database) -> None:
    miner = PublicKey((await record_of(database, await committed(database))).holdings[0].miner)
    for _ in range(3):
        await database.transact(lambda txn: depart(txn, HOME, miner, 77, NOW))
    kinds = [entry.record.kind for entry in await database.read(lambda reader: list(scan_log(reader)))]
    assert kinds.count("departure") == 1


async def test_a_miner_that_holds_nothing_cannot_depart(database: Database) -> None:
    await committed(database)
    stranger = PublicKey(b"s" * 32)
    assert not await database.transact(lambda txn: depart(txn, HOME, stranger, 77, NOW))
    kinds = [entry.record.kind for entry in await database.read(lambda reader: list(scan_log(reader)))]
    assert "departure" not in kinds


async def test_nobody_holds_anything_in_an_empty_registry() -> None:
    database = MemoryDatabase()
    assert await database.read(lambda reader: list(holders(reader))) == []
    assert await database.transact(lambda txn: mark_lost(txn, 10)) == 0


async def store(
    database: Database,
    number: int,
    miners: Mapping[int, PublicKey],
    roots: list[Root],
    *,
    piece_length: int = 100,
    pay_class: PayClass = "paid",
    account: PublicKey = ACCOUNT.public_key,
) -> int:
    """Record a segment of these pieces and return the record's seq."""
    segment = unsigned_segment(number, miners, roots, piece_length=piece_length, pay_class=pay_class, account=account)
    await database.transact(lambda txn: record_segments(txn, HOME, [segment], NOW))
    return await seq_now(database)


async def seq_now(database: Database) -> int:
    return await database.read(lambda reader: max((entry.record.seq for entry in scan_log(reader)), default=0))


async def roots_at(database: Database, miner: PublicKey, seq: int) -> list[Root]:
    return await database.read(lambda reader: list(inventory_at(reader, miner, seq)))


async def sum_at(database: Database, miner: PublicKey, seq: int) -> HeldBytes:
    return await database.read(lambda reader: bytes_at(reader, miner, seq))


async def lose(database: Database, miner: PublicKey, *roots: Root) -> int:
    """Have audits find these lost; return the record's seq."""
    await database.transact(
        lambda txn: record_loss(txn, HOME, miner, roots, reason="failed", now=NOW, epoch=3, batch=1)
    )
    return await seq_now(database)


class TestAsOf:
    async def test_a_piece_is_held_from_its_record_until_the_one_that_ends_it(self, database: Database) -> None:
        begun = await store(database, 1, {0: ONE, 1: TWO}, ROOTS[:2])
        other = await store(database, 2, {0: ONE}, ROOTS[2:3])
        ended = await lose(database, ONE, ROOTS[0])
        assert [await roots_at(database, ONE, seq) for seq in (begun - 1, begun, other, ended - 1, ended)] == [
            [],
            [ROOTS[0]],
            [ROOTS[0], ROOTS[2]],
            [ROOTS[0], ROOTS[2]],
            [ROOTS[2]],
        ]
        assert await roots_at(database, TWO, ended) == [ROOTS[1]]

    async def test_an_inventory_has_distinct_roots_in_order_with_their_lengths(self, database: Database) -> None:
        await store(database, 1, {0: ONE, 1: ONE, 2: ONE}, [ROOTS[5], ROOTS[1], ROOTS[3]])
        end = await store(database, 2, {0: ONE, 1: ONE}, [ROOTS[3], ROOTS[2]], piece_length=20_000)
        inventory = await database.read(lambda reader: inventory_at(reader, ONE, end))
        # Whoever receipted one root with two lengths is held to the greater one.
        assert list(inventory.items()) == [(ROOTS[1], 100), (ROOTS[2], 20_000), (ROOTS[3], 20_000), (ROOTS[5], 100)]

    async def test_a_departure_counts_from_its_record_on_however_far_it_is_marked(self, database: Database) -> None:
        await store(database, 1, {0: ONE, 1: ONE, 2: ONE, 3: TWO}, ROOTS[:4])
        await database.transact(lambda txn: depart(txn, HOME, ONE, 77, NOW))
        departed = await seq_now(database)
        back = await store(database, 2, {0: ONE}, ROOTS[4:5])
        for _ in range(6):
            assert await roots_at(database, ONE, departed - 1) == ROOTS[:3]
            assert await roots_at(database, ONE, departed) == []
            assert await roots_at(database, ONE, back) == ROOTS[4:5]
            assert await database.read(lambda reader: holdings_of(reader, ONE, ROOTS[0])) == []
            assert await database.read(lambda reader: list(holders_at(reader, departed))) == [TWO]
            assert await database.read(lambda reader: list(holders(reader))) == sorted([ONE, TWO])
            await database.transact(lambda txn: mark_lost(txn, 1))

    async def test_marking_looks_at_no_row_twice(self, database: Database) -> None:
        await store(database, 1, dict.fromkeys(range(5), ONE), ROOTS[:5])
        await database.transact(lambda txn: depart(txn, HOME, ONE, 77, NOW))
        looked_at = [await database.transact(lambda txn: mark_lost(txn, 2)) for _ in range(4)]
        assert looked_at == [2, 2, 1, 0]

    async def test_what_is_held_names_segment_account_and_class(self, database: Database) -> None:
        end = await store(
            database, 1, {2: ONE}, ROOTS[:3], pay_class="unpaid", account=STRANGER.public_key, piece_length=7
        )
        segment = unsigned_segment(1, {}, ROOTS[:3], account=STRANGER.public_key, piece_length=7)
        (piece,) = await database.read(lambda reader: list(held_at(reader, ONE, end)))
        assert piece == HeldPiece(ROOTS[2], 7, False, STRANGER.public_key, segment.record.segment_id, 2)
        assert await database.read(lambda reader: holdings_of(reader, ONE, ROOTS[2])) == [piece]

    async def test_a_root_is_paid_when_one_of_its_holdings_is(self, database: Database) -> None:
        theirs = STRANGER.public_key
        await store(database, 1, {0: ONE, 1: ONE, 2: ONE}, ROOTS[:3], pay_class="unpaid", account=theirs)
        mixed = await store(database, 2, {0: ONE}, ROOTS[:1])
        canary = await store(database, 3, {0: ONE}, [ROOTS[1], ROOTS[8]], pay_class="canary", account=theirs)
        assert await sum_at(database, ONE, mixed) == HeldBytes(100, 200, {theirs: 300, ACCOUNT.public_key: 100})
        assert await sum_at(database, ONE, canary) == HeldBytes(200, 100, {theirs: 300, ACCOUNT.public_key: 100})
        assert await sum_at(database, TWO, canary) == HeldBytes(0, 0, {})

    async def test_holders_are_those_who_held_something_then(self, database: Database) -> None:
        begun = await store(database, 1, {0: ONE, 1: TWO}, ROOTS[:2])
        ended = await lose(database, ONE, ROOTS[0])
        later = await store(database, 2, {0: THREE}, ROOTS[2:3])

        def miners(reader: Reader) -> list[list[PublicKey]]:
            return [list(holders_at(reader, seq)) for seq in (begun - 1, begun, ended, later)]

        assert await database.read(miners) == [[], sorted([ONE, TWO]), [TWO], sorted([TWO, THREE])]
        assert await database.read(lambda reader: list(holders(reader))) == sorted([TWO, THREE])


class TestForgetting:
    async def test_ended_holdings_are_forgotten_in_portions_and_what_is_asked_for_later_stays(
        self, database: Database
    ) -> None:
        await store(database, 1, dict.fromkeys(range(6), ONE), ROOTS[:6])
        first = await lose(database, ONE, *ROOTS[:3])
        second = await lose(database, ONE, *ROOTS[3:5])
        assert await database.transact(lambda txn: forget_ended(txn, first, 100)) == 0
        portions = [await database.transact(lambda txn: forget_ended(txn, second, 2)) for _ in range(3)]
        assert portions == [2, 1, 0]
        assert [await roots_at(database, ONE, seq) for seq in (first, second)] == [ROOTS[3:6], ROOTS[5:6]]
        assert await rows(database, ENDED) == 2
        assert await database.transact(lambda txn: forget_ended(txn, second + 1, 100)) == 2
        assert await roots_at(database, ONE, second) == ROOTS[5:6]
        assert (await rows(database, ENDED), await rows(database, HOLDING)) == (0, 1)

    async def test_lost_pieces_stay_lost_and_reports_are_forgotten(self, database: Database) -> None:
        allocation = await committed(database)
        holding = (await record_of(database, allocation)).holdings[2]
        miner, root = PublicKey(holding.miner), allocation.spec.roots[2]
        report = LostReport(miner=miner, validator=HOME.hotkey, roots=(root,), time=NOW)
        await database.transact(
            lambda txn: record_loss(txn, HOME, miner, [root], reason="reported", now=NOW, report=report, beacon_round=9)
        )
        assert await database.read(lambda reader: reported(reader, miner, [root]))
        await database.transact(lambda txn: forget_ended(txn, 10**6, 100))
        assert await rows(database, REPORTED) == 0
        assert await shown(database, allocation) == [index for index in range(N) if index != 2]

    async def test_the_count_is_that_of_what_is_held(self, database: Database) -> None:
        await store(database, 1, dict.fromkeys(range(3), ONE), ROOTS[:3])
        await lose(database, ONE, ROOTS[0])
        assert await database.read(lambda reader: get_count(reader, HELD_COUNT + ONE)) == 2
        await lose(database, ONE, *ROOTS)
        assert await rows(database, HELD_COUNT) == 0


async def rows(database: Database, table: bytes) -> int:
    return await database.read(lambda reader: sum(1 for _ in reader.scan(table)))
