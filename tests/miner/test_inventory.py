"""When tickets are asked about: all of them, once a day, evenly, whoever is away."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from hippy.errors import TemporaryError
from hippy.ids import MessageId, SegmentId
from hippy.miner import inventory
from hippy.miner.background import background
from hippy.miner.releases import Mark
from hippy.miner.store import PieceStore
from hippy.points import watching
from hippy.proofs.tree import root_of
from hippy.wire.pace import DAY
from hippy.wire.release import (
    INVENTORY_ANSWER_BYTES_MAX,
    INVENTORY_BYTES_MAX,
    INVENTORY_MAX,
    InventoryAnswer,
    InventoryRequest,
    OwedTicket,
    TicketState,
)
from tests.miner.issuing import asking, issuing, release_of, settled
from tests.miner.telling import DATA, MORE, ROOT
from tests.miner.world import MINER, OTHER, VALIDATOR, World, add, identity, piece, ticket

LATE = 9 * DAY


async def fill(world: World, store: PieceStore, count: int) -> list[bytes]:
    """Store so many small pieces and return their roots, in order."""
    pieces = [piece(f"piece {number}", 50) for number in range(count)]
    await asyncio.gather(*(add(store, data, ticket(data, world.clock)) for data in pieces))
    return sorted(root_of(data) for data in pieces)


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "PORTION", 4)
    monkeypatch.setattr(inventory, "INVENTORY_MAX", 3)


async def asleep(world: World) -> None:
    await settled(lambda: any(not woken.done() for _, _, woken in world.clock._sleepers))


async def pass_time(world: World, seconds: float) -> None:
    """Let time pass in steps of which all waits are multiples, so that nothing is under way while it does."""
    for _ in range(int(seconds // 120)):
        await asleep(world)
        await world.clock.advance(120)
        await asleep(world)


async def test_every_ticket_is_asked_about_once_a_day_in_pages_spread_over_it(
    world: World, small_portions: None
) -> None:
    async with world.store() as store, issuing(world) as issuer, asking(world, store) as asker:
        roots = await fill(world, store, 10)
        async with background(asker.run()):
            await settled(lambda: len(issuer.asked) == 4)  # at once: never asked
            assert [len(page) for page in issuer.pages] == [3, 1]
            await pass_time(world, DAY / 10 * 4 - 1200)
            assert len(issuer.asked) == 4
            await pass_time(world, 1800)
            assert issuer.asked == roots[:8]
            await pass_time(world, DAY - DAY / 10 * 4)
            assert issuer.asked[:10] == roots
            assert max(Counter(issuer.asked).values()) <= 2


async def test_a_clock_that_was_set_back_by_years_delays_no_question(world: World) -> None:
    async with world.store() as store, issuing(world) as issuer, asking(world, store) as asker:
        roots = await fill(world, store, 3)
        await store.releases.put_mark(Mark(int(world.clock.now()) + 3 * 365 * DAY, None))
        async with background(asker.run()):
            await settled(lambda: issuer.asked == roots)
            await asleep(world)
            mark = await store.releases.mark()
            assert mark.time <= world.clock.now()


async def test_restart_goes_on_where_asking_was(world: World, small_portions: None) -> None:
    async with issuing(world) as issuer:
        async with world.store() as store, asking(world, store) as asker:
            roots = await fill(world, store, 10)
            await asker.ask_portion()
            assert issuer.asked == roots[:4]
        for asked in (8, 10, 14):
            async with world.store() as store, asking(world, store) as asker:
                await asker.ask_portion()
                assert issuer.asked == (roots * 2)[:asked]
        async with world.store() as store:
            mark = await store.releases.mark()
            assert (mark.time, mark.after is None) == (int(world.clock.now()), False)


async def test_restart_does_not_ask_sooner(world: World) -> None:
    async with world.store() as store:
        await fill(world, store, 2)
        await store.releases.put_mark(Mark(int(world.clock.now()), None))
    async with (
        world.store() as store,
        issuing(world) as issuer,
        asking(world, store) as asker,
        background(asker.run()),
    ):
        await pass_time(world, DAY - 600)
        assert issuer.pages == []
        await pass_time(world, 1200)
        assert len(issuer.pages) == 1


async def test_short_epochs_shorten_the_day(world: World) -> None:
    async with world.store() as store, issuing(world) as issuer, asking(world, store, 20.0) as asker:
        await fill(world, store, 1)
        async with background(asker.run()):
            await settled(lambda: len(issuer.pages) == 1)
            for _ in range(402):
                await asleep(world)
                await world.clock.advance(1)
            await settled(lambda: len(issuer.pages) == 2)


async def test_each_issuer_is_asked_about_its_own_and_one_that_is_away_delays_no_other(world: World) -> None:
    away, impostor = identity("away"), identity("impostor")
    for validator in (away, OTHER, impostor):
        await world.chain.register(validator.public_key, OTHER.public_key, validator_permit=True, stake_rao=9)
    whose = {who: piece(str(number), 50) for number, who in enumerate((VALIDATOR, away, OTHER, impostor))}
    async with world.store() as store, asking(world, store) as asker:
        for who, data in whose.items():
            await add(store, data, ticket(data, world.clock, validator=who.public_key))
        async with (
            issuing(world) as first,
            issuing(world, OTHER) as second,
            issuing(world, impostor, signs_as=away) as third,
        ):
            await asker.ask_portion()
        assert (first.asked, second.asked) == ([root_of(whose[VALIDATOR])], [root_of(whose[OTHER])])
        assert third.pages == []
        assert store.figures.releases["unanswered"] == 2
        assert store.figures.totals.obligations == 4


async def test_an_issuer_that_failed_is_asked_again_when_their_turn_comes(world: World) -> None:
    async with world.store() as store, issuing(world) as issuer, asking(world, store) as asker:
        one = ticket(DATA, world.clock)
        await add(store, DATA, one)
        await world.clock.advance(LATE)
        issuer.release(one)
        issuer.is_failing = True
        await asker.ask_portion()
        assert store.figures.totals.obligations == 1
        issuer.is_failing = False
        await asker.ask_portion()
        assert store.figures.totals.obligations == 0


async def test_index_that_takes_nothing_ends_nothing_and_asking_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.store() as store, issuing(world) as issuer, asking(world, store) as asker:
        one = ticket(DATA, world.clock)
        await add(store, DATA, one)
        await world.clock.advance(LATE)
        issuer.release(one)
        with monkeypatch.context() as patch:

            async def full(*_: Any) -> None:
                raise TemporaryError("the disk is full")

            patch.setattr(store.releases, "end", full)
            patch.setattr(store.releases, "put_mark", full)
            async with background(asker.run()):
                await settled(lambda: "tickets were not asked about: the disk is full" in caplog.text)
                assert store.figures.totals.obligations == 1
                patch.undo()
                await pass_time(world, 1200)
                await settled(lambda: store.figures.totals.obligations == 0)


async def test_released_is_reached_when_the_end_is_durable(world: World) -> None:
    async with world.store() as store, issuing(world) as issuer, asking(world, store) as asker:
        one = ticket(DATA, world.clock)
        await add(store, DATA, one)
        await world.clock.advance(LATE)
        issuer.release(one)

        def end(point: str) -> None:
            if point == "miner.released":
                raise TemporaryError("killed")

        with watching(end):
            await asker.ask_portion()
    async with world.store() as store:
        assert store.figures.totals.obligations == 0
        assert store.figures.totals.trash_bytes == len(DATA)
        assert await store.read(ROOT, len(DATA)) == DATA


async def test_nothing_owed_asks_nobody(world: World) -> None:
    async with world.store() as store, issuing(world) as issuer, asking(world, store) as asker:
        await asker.ask_portion()
        assert issuer.pages == []


def test_full_pages_fit_their_messages(world: World) -> None:
    one = ticket(MORE, world.clock, segment_id=SegmentId(b"\xff" * 32), index=254)
    owed = OwedTicket(ticket_id=MessageId(b"\xff" * 32), segment_id=one.segment_id, index=254, root=one.root)
    asked = InventoryRequest(miner=MINER.public_key, tickets=(owed,) * INVENTORY_MAX)
    assert len(asked.encode()) <= INVENTORY_BYTES_MAX
    assert InventoryRequest.parse(asked.encode(), limit=INVENTORY_BYTES_MAX) == asked
    state = TicketState(state="released", release=release_of(one, 2**53 - 1, seq=2**53 - 1))
    answer = InventoryAnswer(states=(state,) * INVENTORY_MAX)
    assert len(answer.encode()) <= INVENTORY_ANSWER_BYTES_MAX
    assert InventoryAnswer.parse(answer.encode(), limit=INVENTORY_ANSWER_BYTES_MAX) == answer
