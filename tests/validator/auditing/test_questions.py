"""The request of a batch: drawn once, the same leaves at every asking, also after a restart."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from hippy.chain.protocol import BeaconNotYet, Chain
from hippy.errors import UsageError
from hippy.hashing import digest
from hippy.ids import Root
from hippy.proofs.challenge import batch_token, draw_request
from hippy.proofs.request import encode_request
from hippy.testing.kv import MemoryDatabase
from hippy.validator.audit.batch import OpenBatch, next_asking
from hippy.validator.audit.rules import AuditRules
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.auditing.closing import Closing
from hippy.validator.auditing.epochs import put_owed
from hippy.validator.auditing.inventories import Inventories
from hippy.validator.auditing.questions import Questions
from hippy.validator.commit import record_segments
from hippy.validator.holdings import inventory_at
from hippy.validator.placement import epoch_secret
from hippy.wire.score import ScoreRules
from tests.validator.world import HOME, MINERS, NOW, unsigned_segment

MINER = MINERS[0].public_key
SECRET = b"validator secret".ljust(32)
BATCH = OpenBatch(BatchKey(7, MINER, 2), 90, NOW, NOW, NOW)
BEACON = b"b" * 32


class Beacons:
    """A chain that knows the rounds up to 90."""

    async def beacon(self, round_number: int) -> bytes:
        if round_number > 90:
            raise BeaconNotYet
        return BEACON


class World:
    def __init__(self) -> None:
        self.database = MemoryDatabase()
        self.inventories = Inventories(self.database, ScoreRules())
        self.questions = self.restarted()

    def restarted(self) -> Questions:
        closing = Closing(HOME, SECRET, AuditRules(), ScoreRules())
        chain: Chain = Beacons()  # type: ignore[assignment]
        return Questions(closing, self.database, chain, Inventories(self.database, ScoreRules()))

    async def begin(self) -> None:
        for number, length in ((1, 100), (2, 20_000)):
            roots = [Root(digest(bytes([number, index]))) for index in range(3)]
            segment = unsigned_segment(number, dict.fromkeys(range(3), MINER), roots, piece_length=length)
            await self.database.transact(partial(record_segments, home=HOME, segments=[segment], now=NOW))
        self.questions = self.restarted()
        await self.questions._inventories.begin(2)


@pytest.fixture
async def world() -> World:
    world = World()
    await world.begin()
    return world


async def test_a_batch_is_drawn_from_secret_beacon_and_inventory(world: World) -> None:
    question = await world.questions.of(BATCH)
    inventory = await world.database.read(lambda reader: inventory_at(reader, MINER, 2))
    assert question.request == draw_request(
        epoch_secret(SECRET, 7),
        BEACON,
        validator=HOME.hotkey,
        miner=MINER,
        epoch=7,
        batch=2,
        beacon_round=90,
        attempt=0,
        inventory=inventory,
        count=64,
    )
    assert question.request.token == batch_token(epoch_secret(SECRET, 7), MINER, 2)
    assert question.lengths == tuple(inventory[root] for root in question.roots)
    assert question.piece_lengths == {root: inventory[root] for root in question.roots}


async def test_asking_again_has_the_same_leaves_and_the_next_attempt_though_all_else_changed(world: World) -> None:
    first = await world.questions.of(BATCH)
    body = encode_request(first.request)
    await world.database.transact(lambda txn: put_owed(txn, BATCH, body, first.lengths))
    restarted = world.restarted()  # which knows of no inventory
    batch = next_asking(BATCH, NOW + 300)
    again = await restarted.of(batch)
    assert again.request == replace(first.request, attempt=1)
    assert (again.batch, again.lengths) == (batch, first.lengths)
    await world.database.transact(lambda txn: put_owed(txn, batch, encode_request(again.request), again.lengths))
    third = await restarted.of(next_asking(batch, NOW + 900))
    assert third.request == replace(first.request, attempt=2)


async def test_a_round_to_come_cannot_be_drawn(world: World) -> None:
    with pytest.raises(BeaconNotYet):
        await world.questions.of(replace(BATCH, round=91))


async def test_a_batch_whose_request_was_not_kept_cannot_be_asked_again(world: World) -> None:
    with pytest.raises(UsageError):
        await world.questions.of(next_asking(BATCH, NOW))


async def test_a_miner_that_holds_nothing_cannot_be_asked(world: World) -> None:
    with pytest.raises(UsageError):
        await world.questions.of(replace(BATCH, key=BatchKey(7, MINERS[1].public_key, 0)))
