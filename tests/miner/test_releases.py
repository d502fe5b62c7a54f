"""The end of obligations, as attacks (PROTOCOL §4.2, §8): what ends one, and what must end none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from hippy.hashing import u64
from hippy.ids import SegmentId
from hippy.kv import Reader, open_database
from hippy.miner.inventory import Inventory
from hippy.miner.store import PieceStore
from hippy.proofs.tree import root_of
from hippy.testing.clock import VirtualClock
from hippy.wire.pace import DAY, USUAL_PACE
from hippy.wire.release import UNCOMMITTED_SECONDS, InventoryAnswer, Release, TicketState
from hippy.wire.ticket import Receipt, Ticket
from tests.miner.issuing import Issuer, asking, drop_of, issuing, moved_to, release_of
from tests.miner.telling import DATA, MORE, ROOT
from tests.miner.world import ACCOUNT, MINER, NETWORK, OTHER, SMALL, VALIDATOR, World, add, identity, ticket

LATE = 9 * DAY
"""Behind every waiting time of a release, and a little."""


@dataclass
class Deal:
    """One piece that a store owes, its issuer, and what asks."""

    world: World
    store: PieceStore
    issuer: Issuer
    inventory: Inventory
    ticket: Ticket

    async def asked(self) -> int:
        """Ask about all tickets and return how many obligations there are then."""
        await self.inventory.ask_portion()
        return self.store.figures.totals.obligations

    @property
    def now(self) -> int:
        return int(self.world.clock.now())

    @property
    def trash_bytes(self) -> int:
        return self.store.figures.totals.trash_bytes


@pytest.fixture
async def deal(world: World) -> AsyncIterator[Deal]:
    one = ticket(DATA, world.clock)
    async with world.store() as store, issuing(world) as issuer, asking(world, store) as inventory:
        await add(store, DATA, one)
        await world.clock.advance(LATE)
        yield Deal(world, store, issuer, inventory, one)


async def test_a_release_by_the_issuer_ends_the_obligation_and_the_bytes_become_trash(deal: Deal) -> None:
    deal.issuer.release(deal.ticket)
    assert await deal.asked() == 0
    assert deal.trash_bytes == SMALL
    assert await deal.store.receipt(ROOT, deal.ticket.id(NETWORK)) is None
    assert await deal.store.read(ROOT, SMALL) == DATA
    assert deal.store.space()[1] == SMALL
    assert deal.store.figures.releases == {"released": 1, "live": 0, "unknown": 0, "refused": 0}


@pytest.mark.parametrize(
    ("reason", "earliest"),
    [
        ("lapsed", lambda one: one.upload_by - DAY + USUAL_PACE.lease_seconds),
        ("expired", lambda one: one.keep_until),
        ("uncommitted", lambda one: one.upload_by + UNCOMMITTED_SECONDS),
    ],
)
async def test_each_reason_ends_an_obligation_at_its_time_and_not_before(
    deal: Deal, reason: str, earliest: Callable[[Ticket], int]
) -> None:
    start = deal.now - LATE
    one = ticket(DATA, VirtualClock(start), keep_until=start + 5 * DAY, serial=2)
    await add(deal.store, DATA, one)
    time = earliest(one)
    deal.issuer.release(one, release_of(one, time - 1, reason=reason))
    assert await deal.asked() == 2
    deal.issuer.release(one, release_of(one, time, reason=reason))
    assert await deal.asked() == 1


MOVER = identity("mover")
"""The miner that has the piece now."""


async def test_a_piece_that_moved_to_another_registered_miner_is_owed_no_longer(deal: Deal) -> None:
    await deal.world.chain.register(MOVER.public_key, identity("c").public_key, validator_permit=False, stake_rao=0)
    receipt = moved_to(deal.ticket, MOVER, deal.now - 5)
    deal.issuer.release(deal.ticket, release_of(deal.ticket, deal.now, reason="moved", receipt=receipt))
    assert await deal.asked() == 0
    assert deal.trash_bytes == SMALL
    assert await deal.store.read(ROOT, SMALL) == DATA


async def test_a_piece_that_moved_to_a_stranger_is_owed_until_the_stranger_is_a_miner(deal: Deal) -> None:
    """Anybody can make a key and sign a receipt with it."""
    receipt = moved_to(deal.ticket, MOVER, deal.now - 5)
    deal.issuer.release(deal.ticket, release_of(deal.ticket, deal.now, reason="moved", receipt=receipt))
    assert await deal.asked() == 1
    assert deal.store.figures.releases["refused"] == 1
    assert deal.store.figures.releases["released"] == 0
    await deal.world.chain.register(MOVER.public_key, identity("c").public_key, validator_permit=False, stake_rao=0)
    assert await deal.asked() == 0


async def test_a_strangers_receipt_holds_up_no_other_release(deal: Deal) -> None:
    other = ticket(MORE, deal.world.clock, upload_by=deal.ticket.upload_by, serial=2)
    await add(deal.store, MORE, other)
    receipt = moved_to(deal.ticket, MOVER, deal.now - 5)
    deal.issuer.release(deal.ticket, release_of(deal.ticket, deal.now, reason="moved", receipt=receipt))
    deal.issuer.release(other)
    assert await deal.asked() == 1
    assert await deal.store.receipt(ROOT, deal.ticket.id(NETWORK)) is not None
    assert deal.store.figures.releases == {"released": 1, "refused": 1, "live": 0, "unknown": 0}


@pytest.mark.parametrize(
    "receipt",
    [
        lambda deal: None,
        lambda deal: moved_to(deal.ticket, MINER, deal.now),
        lambda deal: moved_to(deal.ticket, MOVER, deal.now, root=root_of(MORE)),
        lambda deal: moved_to(deal.ticket, MOVER, deal.now, piece_length=SMALL + 1),
        lambda deal: moved_to(deal.ticket, MOVER, deal.now + 1),
        lambda deal: moved_to(deal.ticket, MOVER, deal.now).signed(VALIDATOR, NETWORK),
    ],
    ids=["none", "our own", "of another piece", "of another length", "later", "signed by the validator"],
)
async def test_a_move_without_another_miners_receipt_for_our_piece_ends_nothing(
    deal: Deal, receipt: Callable[[Deal], Receipt | None]
) -> None:
    await deal.world.chain.register(MOVER.public_key, identity("c").public_key, validator_permit=False, stake_rao=0)
    deal.issuer.release(deal.ticket, release_of(deal.ticket, deal.now, reason="moved", receipt=receipt(deal)))
    assert await deal.asked() == 1
    assert deal.store.figures.releases["refused"] == 1


async def test_an_early_release_ends_nothing(deal: Deal) -> None:
    dropped = drop_of(deal.ticket, deal.now - DAY + 1)
    deal.issuer.release(deal.ticket, release_of(deal.ticket, deal.now, drop=dropped))
    assert await deal.asked() == 1
    assert deal.store.figures.releases["refused"] == 1


async def test_a_release_from_the_future_ends_nothing(deal: Deal) -> None:
    deal.issuer.release(deal.ticket, release_of(deal.ticket, deal.now + 3600))
    assert await deal.asked() == 1


async def test_the_release_of_one_account_ends_nothing_of_another_that_stored_the_same_root(deal: Deal) -> None:
    theirs = ticket(DATA, deal.world.clock, account=OTHER.public_key, segment_id=SegmentId(b"t" * 32), serial=2)
    receipt = await add(deal.store, DATA, theirs)
    deal.issuer.release(deal.ticket)
    assert await deal.asked() == 1
    assert await deal.store.receipt(ROOT, theirs.id(NETWORK)) == receipt
    assert deal.trash_bytes == 0
    await deal.world.clock.advance(LATE)
    assert await deal.store.trash.remove(deal.now) == 0
    assert await deal.store.read(ROOT, SMALL) == DATA


async def test_a_release_answered_for_another_accounts_ticket_of_the_same_root_ends_nothing(deal: Deal) -> None:
    theirs = ticket(DATA, deal.world.clock, account=OTHER.public_key, segment_id=SegmentId(b"t" * 32), serial=2)
    await add(deal.store, DATA, theirs)
    mine = release_of(deal.ticket, deal.now)
    deal.issuer.release(theirs, mine)
    assert await deal.asked() == 2
    relabelled = mine.model_copy(update={"ticket_id": theirs.id(NETWORK), "segment_id": theirs.segment_id})
    deal.issuer.release(theirs, relabelled.signed(VALIDATOR, NETWORK))
    assert await deal.asked() == 2


async def test_a_release_replayed_for_a_later_ticket_of_the_same_piece_ends_nothing(deal: Deal) -> None:
    first = deal.issuer.release(deal.ticket)
    assert await deal.asked() == 0
    later = ticket(DATA, deal.world.clock, serial=2)
    await add(deal.store, DATA, later)
    deal.issuer.release(later, first)
    assert await deal.asked() == 1
    assert deal.trash_bytes == 0
    relabelled = first.model_copy(update={"ticket_id": later.id(NETWORK)})
    deal.issuer.release(later, relabelled)
    assert await deal.asked() == 1


async def test_a_release_from_a_non_issuer_ends_nothing(deal: Deal) -> None:
    stranger = identity("another validator")
    deal.issuer.release(deal.ticket, release_of(deal.ticket, deal.now, signer=stranger))
    assert await deal.asked() == 1
    deal.issuer.release(deal.ticket, release_of(deal.ticket, deal.now, signer=stranger, validator=stranger.public_key))
    assert await deal.asked() == 1


async def test_a_release_with_a_forged_drop_ends_nothing(deal: Deal) -> None:
    early = deal.now - 2 * DAY
    forged = [
        drop_of(deal.ticket, early, signer=VALIDATOR),
        drop_of(deal.ticket, early, signer=OTHER, account=OTHER.public_key),
        drop_of(deal.ticket, early, segment_id=SegmentId(b"t" * 32)),
        drop_of(deal.ticket, deal.now - 10).model_copy(update={"time": early}),
    ]
    for drop in forged:
        deal.issuer.release(deal.ticket, release_of(deal.ticket, deal.now, drop=drop))
        assert await deal.asked() == 1
    assert deal.store.figures.releases["refused"] == len(forged)


def no_release(one: Release) -> TicketState:
    return TicketState(state="released")


def live_with_release(one: Release) -> TicketState:
    return TicketState(state="live", release=one)


def no_drop(one: Release) -> TicketState:
    return TicketState(state="released", release=one.model_copy(update={"drop": None}).signed(VALIDATOR, NETWORK))


@pytest.mark.parametrize("bad", [no_release, live_with_release, no_drop])
async def test_a_state_that_contradicts_itself_ends_nothing(deal: Deal, bad: Callable[[Release], TicketState]) -> None:
    deal.issuer.states[deal.ticket.id(NETWORK)] = bad(release_of(deal.ticket, deal.now))
    assert await deal.asked() == 1


async def test_unknown_and_live_mean_keep(deal: Deal) -> None:
    assert await deal.asked() == 1
    deal.issuer.states[deal.ticket.id(NETWORK)] = TicketState(state="unknown")
    assert await deal.asked() == 1
    assert deal.store.figures.releases == {"live": 1, "unknown": 1, "refused": 0}


async def test_an_answer_of_another_length_ends_nothing(deal: Deal) -> None:
    deal.issuer.release(deal.ticket)
    deal.issuer.alter = lambda answer: InventoryAnswer(states=answer.states * 2)
    assert await deal.asked() == 1
    assert deal.store.figures.releases == {"unanswered": 1}


async def test_a_bad_release_beside_a_good_one_spoils_only_itself(deal: Deal) -> None:
    more = ticket(DATA, deal.world.clock, serial=2, account=OTHER.public_key)
    await add(deal.store, DATA, more)
    deal.issuer.release(more, release_of(more, deal.now))  # its drop is signed by the first account
    deal.issuer.release(deal.ticket)
    assert await deal.asked() == 1
    assert await deal.store.receipt(ROOT, more.id(NETWORK)) is not None


async def test_a_release_takes_the_place_of_its_obligation_and_is_forgotten_thirty_days_after_the_bytes(
    world: World,
) -> None:
    one = ticket(DATA, world.clock)
    async with world.store() as store, issuing(world) as issuer, asking(world, store) as inventory:
        await add(store, DATA, one)
        await world.clock.advance(LATE)
        released = issuer.release(one)
        await inventory.ask_portion()
        ended = int(world.clock.now())
        assert await store.releases.of([ROOT], VALIDATOR.public_key) == {ROOT: released.encode()}
        assert await store.trash.remove(ended) == 1
        kept_until = ended + USUAL_PACE.trash_seconds + 30 * DAY
        assert await store.releases.forget(kept_until - 1) == 0
    async with open_database(world.data_dir / "index") as database:
        found = await database.read(rows)
    key = ROOT + one.id(NETWORK)
    assert found[b"release/" + key] == u64(kept_until) + released.encode()
    assert {name.split(b"/")[0] for name in found} == {b"release", b"forget", b"meta"}
    async with world.store() as store:
        assert await store.releases.forget(kept_until) == 1
        assert await store.releases.of([ROOT], VALIDATOR.public_key) == {}
    async with open_database(world.data_dir / "index") as database:
        assert {name.split(b"/")[0] for name in await database.read(rows)} == {b"meta"}


def rows(state: Reader) -> dict[bytes, bytes]:
    return dict(state.scan(b""))


async def test_a_ticket_that_is_stored_again_after_its_release_is_ended_again_and_remembered_longer(deal: Deal) -> None:
    released = deal.issuer.release(deal.ticket)
    assert await deal.asked() == 0
    first_end = deal.now + USUAL_PACE.trash_seconds + 30 * DAY
    await deal.world.clock.advance(DAY)
    await add(deal.store, DATA, deal.ticket)
    assert deal.trash_bytes == 0
    assert await deal.asked() == 0
    assert await deal.store.releases.forget(first_end) == 1
    assert await deal.store.releases.of([ROOT], VALIDATOR.public_key) == {ROOT: released.encode()}
    assert await deal.store.releases.forget(first_end + DAY) == 1
    assert await deal.store.releases.of([ROOT], VALIDATOR.public_key) == {}


async def test_the_newest_release_by_the_validator_that_asks_is_shown(deal: Deal) -> None:
    other = identity("another validator")
    tickets = [
        deal.ticket,
        ticket(DATA, deal.world.clock, serial=2),
        ticket(DATA, deal.world.clock, serial=3, validator=other.public_key),
    ]
    found = {}
    for number, one in enumerate(tickets):
        await add(deal.store, DATA, one)
        signer = other if one.validator == other.public_key else VALIDATOR
        found[number] = release_of(one, deal.now + number, signer=signer, drop=drop_of(one, 1))
    assert await deal.store.releases.of([ROOT], VALIDATOR.public_key) == {}
    await deal.store.releases.end(list(found.values()), deal.now, deal.now)
    for who, number in ((VALIDATOR, 1), (other, 2), (ACCOUNT, 2)):
        assert await deal.store.releases.of([ROOT], who.public_key) == {ROOT: found[number].encode()}
