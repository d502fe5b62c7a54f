"""What a repair comes to: a moved record, the new holder everywhere, and what became of the tickets."""

from __future__ import annotations

import pytest

from hippy.errors import AuthError, HippyError, ProtocolError
from hippy.ids import PublicKey, Root, SegmentId
from hippy.kv import Database, Transaction
from hippy.testing.kv import MemoryDatabase
from hippy.validator import tickets
from hippy.validator.holdings import depart, held_at, lost_indices, mark_lost
from hippy.validator.inventory import answer, states_of
from hippy.validator.log import position, scan_log
from hippy.validator.records import encode_records
from hippy.validator.releases import release_due, released_at
from hippy.validator.repair.drains import left_of, record_drain
from hippy.validator.repair.jobs import Notes, RepairJob, finish, get_job, get_notes, jobs, put_notes, ticket_of, tried
from hippy.validator.repair.moves import check_receipt, record_flawed, record_move
from hippy.validator.tables import get_allocation
from hippy.wire.log import LogEntry
from hippy.wire.pace import USUAL_PACE
from hippy.wire.release import InventoryRequest, OwedTicket, TicketState
from hippy.wire.segment import SegmentsAnswer
from hippy.wire.ticket import Ticket
from tests.validator.repair.registry import drain_word, health_of, lose, moved, planned, receipt_for, record_of
from tests.validator.world import HOME, MINERS, NETWORK, NOW, committed

NEW, NEWER, OLD = MINERS[10], MINERS[11], MINERS[3]
LAPSED = NOW + USUAL_PACE.lease_seconds + 1
HOUR = 3_600


@pytest.fixture
def database() -> Database:
    return MemoryDatabase()


@pytest.fixture
async def segment_id(database: Database) -> SegmentId:
    """A segment whose piece 3, of OLD, is lost, and piece 2 too."""
    found = (await committed(database)).segment_id
    await lose(database, found, 2, 3)
    return found


async def held(database: Database, miner: PublicKey) -> set[Root]:
    return {piece.root for piece in await database.read(lambda reader: list(held_at(reader, miner, 2**60)))}


async def entries(database: Database, kind: str) -> list[LogEntry]:
    found = await database.read(lambda reader: list(scan_log(reader)))
    return [entry for entry in found if entry.record.kind == kind]


async def state(database: Database, ticket: Ticket, miner: PublicKey, now: int) -> TicketState:
    """What a miner is told of its ticket; a release must be one that it takes."""
    owed = OwedTicket(ticket_id=ticket.id(NETWORK), segment_id=ticket.segment_id, index=ticket.index, root=ticket.root)
    page = InventoryRequest(miner=miner, tickets=(owed,))
    states = await database.read(lambda reader: states_of(reader, HOME, page, now))
    (told,) = answer(HOME, page, states, now).states
    if told.release is not None:
        told.release.check(ticket, NETWORK, now, USUAL_PACE)
    return told


async def first_ticket(database: Database, segment_id: SegmentId, index: int) -> Ticket:
    """The ticket under which a piece was stored first, less what its id does not tell."""
    found = await database.read(lambda reader: get_allocation(reader, segment_id))
    assert found is not None
    return tickets.ticket(HOME, found, index)


async def test_a_move_is_recorded_and_the_new_miner_holds_the_piece(database: Database, segment_id: SegmentId) -> None:
    job = await moved(database, segment_id, 3, NEW)
    record = await record_of(database, segment_id)
    root = record.spec.roots[3]
    (entry,) = await entries(database, "moved")
    assert entry.moved is not None
    assert (entry.moved.segment_id, entry.moved.root, entry.moved.drained) == (segment_id, root, None)
    assert (entry.moved.placement_round, entry.moved.epoch, entry.moved.candidates_seq) == (6, 2, 1)
    assert entry.moved.holding.ticket_id == ticket_of(HOME, record, job).id(NETWORK)
    assert await held(database, NEW.public_key) == {root}
    assert await held(database, OLD.public_key) == set()
    assert await database.read(lambda reader: lost_indices(reader, segment_id)) == {2}
    assert await database.read(lambda reader: list(jobs(reader))) == []
    assert await database.read(lambda reader: list(tried(reader, segment_id))) == []


async def test_clients_see_the_new_holder_in_the_place_of_the_old(database: Database, segment_id: SegmentId) -> None:
    await moved(database, segment_id, 3, NEW)
    raw = await database.read(lambda reader: encode_records([reader], [segment_id]))
    (shown,) = SegmentsAnswer.parse(raw, limit=2**20).segments
    assert [each.index for each in shown.holdings] == [0, 1, 3, 4, 5, 6, 7]
    there = next(each for each in shown.holdings if each.index == 3)
    assert there.miner == NEW.public_key
    there.receipt(shown.spec.roots[3], shown.spec.piece_length).check_signature(NEW.public_key, NETWORK)


async def test_a_piece_that_was_never_stored_is_made_as_a_lost_one_is(database: Database) -> None:
    segment_id = (await committed(database, indices=range(7))).segment_id
    await lose(database, segment_id, 0)
    await moved(database, segment_id, 7, NEW)
    assert [each.index for each in (await record_of(database, segment_id)).holdings] == list(range(8))
    health = await health_of(database, segment_id)
    assert health is not None
    assert health.healthy == 7


async def test_a_piece_that_is_lost_again_is_moved_again(database: Database, segment_id: SegmentId) -> None:
    await moved(database, segment_id, 3, NEW)
    await lose(database, segment_id, 3)
    await moved(database, segment_id, 3, NEWER)
    assert await held(database, NEWER.public_key) == {(await record_of(database, segment_id)).spec.roots[3]}
    assert await held(database, NEW.public_key) == set()


async def test_what_was_held_before_a_move_is_still_known(database: Database, segment_id: SegmentId) -> None:
    before = (await database.read(position)).seq
    job = await moved(database, segment_id, 3, NEW)
    seen = await database.read(lambda reader: list(held_at(reader, NEW.public_key, before)))
    assert seen == []
    assert job.attempt is not None


async def test_the_miner_that_lost_the_piece_is_released_once_another_holds_it(
    database: Database, segment_id: SegmentId
) -> None:
    ticket, old = await first_ticket(database, segment_id, 3), OLD.public_key
    assert (await state(database, ticket, old, NOW + 5)).state == "live"
    await moved(database, segment_id, 3, NEW, now=NOW + 10)
    assert (await state(database, ticket, old, NOW + 20)).state == "released"
    told = (await state(database, ticket, old, NOW + 20)).release
    assert told is not None
    assert (told.reason, told.receipt and told.receipt.miner) == ("moved", NEW.public_key)
    (entry,) = await entries(database, "moved")
    assert told.seq == entry.record.seq
    await lose(database, segment_id, 3)
    assert (await state(database, ticket, old, NOW + 30)).state == "live"  # nobody else has it: it may be the last


async def test_the_ticket_of_a_repair_is_live_while_it_is_under_way_and_once_it_holds(
    database: Database, segment_id: SegmentId
) -> None:
    job = await planned(database, segment_id, 3, NEW)
    ticket, late = ticket_of(HOME, await record_of(database, segment_id), job), NOW + 10 * HOUR
    assert (await state(database, ticket, NEW.public_key, late)).state == "live"
    receipt = receipt_for(await record_of(database, segment_id), job)
    await database.transact(lambda txn: record_move(txn, HOME, job, receipt, NOW))
    assert (await state(database, ticket, NEW.public_key, late)).state == "live"


async def test_the_ticket_of_a_repair_that_was_given_up_ends_an_hour_after_its_time(
    database: Database, segment_id: SegmentId
) -> None:
    job = await planned(database, segment_id, 3, NEW)
    ticket = ticket_of(HOME, await record_of(database, segment_id), job)
    await database.transact(lambda txn: finish(txn, job))
    assert (await state(database, ticket, NEW.public_key, NOW + 2 * HOUR - 1)).state == "live"
    told = (await state(database, ticket, NEW.public_key, NOW + 2 * HOUR)).release
    assert told is not None
    assert told.reason == "uncommitted"


async def test_moved_and_former_holdings_are_released_with_their_segment(
    database: Database, segment_id: SegmentId
) -> None:
    old = await first_ticket(database, segment_id, 3)
    job = await moved(database, segment_id, 3, NEW)
    new = ticket_of(HOME, await record_of(database, segment_id), job)
    await database.transact(lambda txn: release_due(txn, HOME, LAPSED, 10))
    assert await held(database, NEW.public_key) == set()
    for ticket, miner in ((old, OLD), (new, NEW)):
        told = (await state(database, ticket, miner.public_key, LAPSED)).release
        assert told is not None
        assert told.reason == "lapsed"


async def test_a_receipt_that_comes_when_the_segment_is_released_changes_nothing(
    database: Database, segment_id: SegmentId
) -> None:
    job = await planned(database, segment_id, 3, NEW)
    record = await record_of(database, segment_id)
    await database.transact(lambda txn: release_due(txn, HOME, LAPSED, 10))
    before = await database.read(position)
    receipt = receipt_for(record, job)
    assert not await database.transact(lambda txn: record_move(txn, HOME, job, receipt, NOW))
    assert await database.read(position) == before
    assert await database.read(lambda reader: list(jobs(reader))) == []
    told = (await state(database, ticket_of(HOME, record, job), NEW.public_key, LAPSED)).release
    assert told is not None
    assert told.reason == "uncommitted"


async def test_a_receipt_that_comes_twice_moves_a_piece_once(database: Database, segment_id: SegmentId) -> None:
    record, job = await record_of(database, segment_id), await planned(database, segment_id, 3, NEW)
    receipt = receipt_for(record, job)
    results = [await database.transact(lambda txn: record_move(txn, HOME, job, receipt, NOW)) for _ in range(2)]
    assert results == [True, False]
    assert len(await entries(database, "moved")) == 1


async def test_only_the_right_receipt_counts(database: Database, segment_id: SegmentId) -> None:
    record, job = await record_of(database, segment_id), await planned(database, segment_id, 3, NEW)
    ticket, good = ticket_of(HOME, record, job), receipt_for(record, job)
    check_receipt(good, ticket, NETWORK, NOW)
    check_receipt(good, ticket, NETWORK, NOW + HOUR)  # the first answer of a repeated order
    wrong: list[tuple[object, type[HippyError]]] = [
        (receipt_for(record, job, signer=NEWER), AuthError),
        (good.model_copy(update={"root": record.spec.roots[2]}), ProtocolError),
        (good.model_copy(update={"piece_length": 99}), ProtocolError),
        (good.model_copy(update={"miner": NEWER.public_key}), ProtocolError),
        (good.model_copy(update={"ticket_id": bytes(32)}), ProtocolError),
        (receipt_for(record, job, now=NOW + 121), ProtocolError),
    ]
    for receipt, error in wrong:
        with pytest.raises(error):
            check_receipt(receipt, ticket, NETWORK, NOW)  # type: ignore[arg-type]


class TestDraining:
    """A miner that leaves."""

    @pytest.fixture
    async def whole(self, database: Database) -> SegmentId:
        found = (await committed(database)).segment_id
        await self.say(database, "start")
        return found

    async def say(self, database: Database, action: str) -> None:
        await database.transact(lambda txn: record_drain(txn, HOME, drain_word(OLD, action), NOW))

    async def test_its_piece_goes_to_another_without_being_lost(self, database: Database, whole: SegmentId) -> None:
        since = (await database.read(position)).seq
        ticket = await first_ticket(database, whole, 3)
        assert (await database.read(lambda reader: left_of(reader, OLD.public_key))).pieces == 1
        await moved(database, whole, 3, NEW, drained=OLD.public_key)
        (entry,) = await entries(database, "moved")
        assert entry.moved is not None
        assert entry.moved.drained == OLD.public_key
        assert await database.read(lambda reader: lost_indices(reader, whole)) == frozenset()
        left = await database.read(lambda reader: left_of(reader, OLD.public_key))
        assert (left.pieces, left.bytes) == (0, 0)
        assert (await state(database, ticket, OLD.public_key, NOW + 5)).state == "released"
        health = await health_of(database, whole)
        assert health is not None
        assert health.healthy == 8
        root = ticket.root
        excuse = await database.read(lambda reader: released_at(reader, OLD.public_key, root, since))
        assert excuse == entry.record.body_id

    async def test_a_miner_that_lost_its_piece_is_not_excused_by_its_repair(self, database: Database) -> None:
        segment_id = (await committed(database)).segment_id
        since = (await database.read(position)).seq
        root = (await record_of(database, segment_id)).spec.roots[3]
        await lose(database, segment_id, 3)
        await moved(database, segment_id, 3, NEW)
        assert await database.read(lambda reader: released_at(reader, OLD.public_key, root, since)) is None

    async def test_one_that_stays_after_all_keeps_its_piece(self, database: Database, whole: SegmentId) -> None:
        job = await planned(database, whole, 3, NEW, drained=OLD.public_key)
        await self.say(database, "stop")
        receipt = receipt_for(await record_of(database, whole), job)
        assert not await database.transact(lambda txn: record_move(txn, HOME, job, receipt, NOW))
        assert await held(database, OLD.public_key) == {receipt.root}

    async def test_one_that_lost_the_piece_meanwhile_has_lost_it(self, database: Database, whole: SegmentId) -> None:
        job = await planned(database, whole, 3, NEW, drained=OLD.public_key)
        receipt = receipt_for(await record_of(database, whole), job)
        await lose(database, whole, 3)
        assert await database.transact(lambda txn: record_move(txn, HOME, job, receipt, NOW))
        (entry,) = await entries(database, "moved")
        assert entry.moved is not None
        assert entry.moved.drained is None

    async def test_one_that_left_meanwhile_has_lost_it_too_though_that_is_not_marked_yet(
        self, database: Database, whole: SegmentId
    ) -> None:
        job = await planned(database, whole, 3, NEW, drained=OLD.public_key)
        receipt = receipt_for(await record_of(database, whole), job)

        def leave_and_move(txn: Transaction) -> bool:
            depart(txn, HOME, OLD.public_key, 9, NOW)
            return record_move(txn, HOME, job, receipt, NOW)

        assert await database.transact(leave_and_move)
        await database.transact(lambda txn: mark_lost(txn, 100))
        assert await database.read(lambda reader: lost_indices(reader, whole)) == frozenset()
        health = await health_of(database, whole)
        assert health is not None
        assert health.healthy == 8
        (entry,) = await entries(database, "moved")
        assert entry.moved is not None
        assert entry.moved.drained is None


async def test_what_went_wrong_is_forgotten_when_the_piece_is_held(database: Database, segment_id: SegmentId) -> None:
    await database.transact(lambda txn: put_notes(txn, segment_id, 3, Notes(mismatches=1)))
    await moved(database, segment_id, 3, NEW)
    assert await database.read(lambda reader: get_notes(reader, segment_id, 3)) == Notes()


async def test_a_flawed_piece_is_recorded_with_what_it_was_made_of(database: Database, segment_id: SegmentId) -> None:
    job: RepairJob = await planned(database, segment_id, 3, NEW)
    assert await database.transact(lambda txn: record_flawed(txn, HOME, job, NOW))
    (entry,) = await entries(database, "flawed")
    assert entry.flawed is not None
    assert (entry.flawed.segment_id, entry.flawed.index) == (segment_id, 3)
    assert entry.flawed.sources == tuple(source.index for source in job.sources)
    assert await database.read(lambda reader: get_job(reader, segment_id, 3)) is None
    assert await held(database, OLD.public_key) == set()
