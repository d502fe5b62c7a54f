"""What miners are told of their tickets, and that a release given to one ends nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hippy.errors import AuthError, HippyError
from hippy.identity import Identity
from hippy.ids import MessageId, Root, SegmentId
from hippy.kv import Database
from hippy.validator.allocation import CLOSE_AFTER_SECONDS, Assignment, allocate, close_due, move
from hippy.validator.holdings import forget_ended
from hippy.validator.inventory import answer, check_inventory, states_of
from hippy.validator.log import position, scan_log
from hippy.validator.losses import record_loss
from hippy.validator.tables import Allocation, get_allocation
from hippy.validator.tickets import ticket
from hippy.wire.pace import USUAL_PACE
from hippy.wire.release import InventoryRequest, OwedTicket, Release, TicketState
from hippy.wire.ticket import Ticket
from tests.validator.releasing import DAY, GRACE, LEASE, sweep, write
from tests.validator.world import (
    ACCOUNT,
    HOME,
    MINERS,
    NETWORK,
    NOW,
    STRANGER,
    TERMS,
    N,
    allocated,
    committed,
    drop,
    endpoint,
    plan,
    request,
    row,
    spec,
)

CLOSED = NOW + 3600 + CLOSE_AFTER_SECONDS + 1


def owed(one: Ticket) -> OwedTicket:
    return OwedTicket(ticket_id=one.id(NETWORK), segment_id=one.segment_id, index=one.index, root=one.root)


async def asked(
    database: Database, *tickets: OwedTicket, now: int, miner: Identity = MINERS[0]
) -> Sequence[TicketState]:
    """What a miner is answered."""
    page = InventoryRequest(miner=miner.public_key, tickets=tickets)
    check_inventory(page, miner.public_key)
    states = await database.read(lambda reader: states_of(reader, HOME, page, now))
    return answer(HOME, page, states, now).states


async def state(database: Database, one: Ticket, now: int, miner: Identity = MINERS[0]) -> str:
    """The state of one ticket; a release must be one that its miner takes."""
    (told,) = await asked(database, owed(one), now=now, miner=miner)
    assert (told.release is not None) == (told.state == "released")
    if told.release is None:
        return told.state
    told.release.check(one, NETWORK, now, USUAL_PACE)
    return told.release.reason


async def close(database: Database, now: int = CLOSED) -> None:
    await database.transact(lambda txn: close_due(txn, HOME, now, 100))


class TestStates:
    async def test_a_ticket_is_live_while_it_can_be_committed_and_released_when_it_cannot(
        self, database: Database
    ) -> None:
        one = ticket(HOME, await allocated(database), 0)
        await close(database, CLOSED - 1)
        assert await state(database, one, CLOSED - 1) == "live"
        await close(database)
        assert await state(database, one, CLOSED) == "uncommitted"

    async def test_a_committed_ticket_is_live_as_long_as_its_segment(self, database: Database) -> None:
        one = ticket(HOME, await committed(database), 0)
        await close(database)
        assert await state(database, one, CLOSED) == "live"
        await write(database, row("a", segment_ids=(one.segment_id,)))
        await sweep(database, NOW + 100 * DAY)
        assert await state(database, one, NOW + 100 * DAY) == "live"

    async def test_a_ticket_left_out_of_the_commit_is_released_an_hour_after_upload_by(
        self, database: Database
    ) -> None:
        allocation = await committed(database, indices=range(1, N))
        one = ticket(HOME, allocation, 0)
        assert await state(database, one, NOW) == "live"
        await close(database)
        assert await state(database, one, CLOSED) == "uncommitted"
        assert await state(database, ticket(HOME, allocation, 1), CLOSED, MINERS[1]) == "live"

    async def test_a_ticket_whose_piece_moved_is_released_when_the_segment_was_committed(
        self, database: Database
    ) -> None:
        seen = await allocated(database)
        one = ticket(HOME, seen, 0)
        to = {0: Assignment(MINERS[9].public_key, endpoint(9))}
        await database.transact(lambda txn: move(txn, HOME, seen, to, plan().pool, NOW))
        assert await state(database, one, NOW) == "live"
        await close(database)
        assert await state(database, one, CLOSED) == "uncommitted"

    async def test_the_reasons_of_released_segments_are_told_with_what_their_miners_ask_for(
        self, database: Database
    ) -> None:
        lapsed = ticket(HOME, await committed(database, 1), 0)
        expired = ticket(HOME, await committed(database, 2, keep_until=NOW + DAY), 0)
        deleted = ticket(HOME, await committed(database, 3), 0)
        first = row("a", segment_ids=(deleted.segment_id,))
        await write(database, first)
        await write(database, row("a", replaces=first, manifest=None), drops=[drop(deleted.segment_id)])
        await sweep(database, NOW + GRACE)
        now = NOW + GRACE
        assert [await state(database, one, now) for one in (lapsed, expired, deleted)] == ["live", "expired", "deleted"]
        await sweep(database, NOW + LEASE)
        assert await state(database, lapsed, NOW + LEASE) == "lapsed"

    async def test_a_lost_piece_is_live_until_its_segment_is_released(self, database: Database) -> None:
        allocation = await committed(database)
        one = ticket(HOME, allocation, 0)
        await database.transact(
            lambda txn: record_loss(
                txn, HOME, MINERS[0].public_key, [one.root], reason="failed", now=NOW, epoch=1, batch=0
            )
        )
        await database.transact(lambda txn: forget_ended(txn, 10**6, 100))
        await close(database)
        assert await state(database, one, CLOSED) == "live"
        await sweep(database, NOW + LEASE)
        assert await state(database, one, NOW + LEASE) == "lapsed"

    async def test_the_release_names_the_record_that_ended_the_ticket(self, database: Database) -> None:
        closed, lapsed = ticket(HOME, await allocated(database, 1), 0), ticket(HOME, await committed(database, 2), 0)
        await close(database)
        await sweep(database, NOW + LEASE)
        told = await asked(database, owed(closed), owed(lapsed), now=NOW + LEASE)
        entries = await database.read(lambda reader: list(scan_log(reader)))
        kinds = [entries[each.release.seq - 1].record.kind for each in told if each.release is not None]
        assert kinds == ["closed", "released"]

    async def test_a_page_is_answered_in_its_order(self, database: Database) -> None:
        ended, live = ticket(HOME, await allocated(database, 1), 0), ticket(HOME, await committed(database, 2), 0)
        stranger = OwedTicket(
            ticket_id=MessageId(b"t" * 32), segment_id=SegmentId(b"u" * 32), index=0, root=Root(b"r" * 32)
        )
        await close(database)
        told = await asked(database, owed(live), stranger, owed(ended), owed(live), now=CLOSED)
        assert [each.state for each in told] == ["live", "unknown", "released", "live"]


async def test_a_release_is_not_given_for_a_live_obligation(database: Database) -> None:
    """Whatever a miner says of its ticket; the pieces of a committed segment are owed."""
    allocation = await committed(database)
    await close(database)
    mine, other = owed(ticket(HOME, allocation, 0)), owed(ticket(HOME, allocation, 1))
    for lie in (mine, other.model_copy(update={"ticket_id": mine.ticket_id})):
        (told,) = await asked(database, lie, now=CLOSED)
        if told.release is not None:
            with pytest.raises(HippyError):
                told.release.check(ticket(HOME, allocation, 0), NETWORK, CLOSED, USUAL_PACE)
    for change in ({"index": 1}, {"root": Root(b"r" * 32)}, {"index": 200}):
        (told,) = await asked(database, mine.model_copy(update=change), now=CLOSED)
        assert told.state == "unknown"


async def test_a_release_given_to_one_miner_is_nothing_to_another(database: Database) -> None:
    """Neither what it asked about in another's name, nor what the other was given."""
    allocation = await committed(database)
    await sweep(database, NOW + LEASE)
    await close(database)
    theirs = ticket(HOME, allocation, 1)
    (told,) = await asked(database, owed(theirs), now=NOW + LEASE, miner=MINERS[0])
    assert told.release is not None
    with pytest.raises(HippyError, match="another obligation"):
        told.release.check(theirs, NETWORK, NOW + LEASE, USUAL_PACE)
    with pytest.raises(AuthError, match="another miner"):
        check_inventory(InventoryRequest(miner=MINERS[1].public_key, tickets=(owed(theirs),)), MINERS[0].public_key)


async def test_a_release_replayed_after_the_piece_got_a_new_ticket_is_refused(database: Database) -> None:
    """The same segment, allocated again and given to the same miner: its first ticket's release ends the first."""
    first = ticket(HOME, await allocated(database), 0)
    await close(database)
    (told,) = await asked(database, owed(first), now=CLOSED)
    again = await committed(database, now=CLOSED)
    second = ticket(HOME, again, 0)
    assert (second.segment_id, second.root, second.miner) == (first.segment_id, first.root, first.miner)
    assert told.release is not None
    told.release.check(first, NETWORK, CLOSED + 10 * DAY, USUAL_PACE)
    with pytest.raises(HippyError, match="another obligation"):
        told.release.check(second, NETWORK, CLOSED + 10 * DAY, USUAL_PACE)
    assert await state(database, second, CLOSED + 3 * DAY) == "live"


async def test_a_segment_allocated_again_early_keeps_its_first_tickets_until_the_last_is_void(
    database: Database,
) -> None:
    """The validator may open it anew ten minutes after upload_by; a release must not come before the hour."""
    first = ticket(HOME, await allocated(database), 0)
    early = NOW + 3600 + 601
    again = await committed(database, now=early)
    await close(database, early + 3600)
    assert await state(database, first, early + 3600) == "live"
    end = early + 3600 + CLOSE_AFTER_SECONDS + 1
    await close(database, end)
    await sweep(database, early + LEASE)
    assert await state(database, first, early + LEASE) == "uncommitted"
    assert await state(database, ticket(HOME, again, 0), early + LEASE) == "lapsed"


async def test_the_same_root_of_another_account_is_another_obligation(database: Database) -> None:
    first, second = await committed(database), await committed(database, account=STRANGER)
    await write(database, row("a", segment_ids=(first.segment_id,)))
    await sweep(database, NOW + LEASE)
    mine, theirs = ticket(HOME, first, 0), ticket(HOME, second, 0)
    assert await state(database, mine, NOW + LEASE) == "live"
    (told,) = await asked(database, owed(theirs), now=NOW + LEASE)
    assert isinstance(told.release, Release)
    with pytest.raises(HippyError, match="another obligation"):
        told.release.check(mine, NETWORK, NOW + LEASE, USUAL_PACE)


async def test_asking_changes_nothing(database: Database) -> None:
    one = ticket(HOME, await committed(database), 0)
    before = await database.read(position)
    await asked(database, owed(one), now=NOW)
    assert await database.read(position) == before


async def test_an_allocation_of_a_closed_segment_is_live_again(database: Database) -> None:
    allocation = await allocated(database)
    await close(database)
    asked_again = request(spec(), upload_by=CLOSED + 3600)
    plans = {allocation.segment_id: plan()}
    await database.transact(lambda txn: allocate(txn, HOME, asked_again, TERMS, plans, CLOSED))
    fresh = await database.read(lambda reader: get_allocation(reader, allocation.segment_id))
    assert isinstance(fresh, Allocation)
    assert fresh.account == ACCOUNT.public_key
    assert await state(database, ticket(HOME, fresh, 0), CLOSED) == "live"
