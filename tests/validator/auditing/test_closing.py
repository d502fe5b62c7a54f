"""How an epoch ends and the next begins, computed from the registry alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest

from hippy.chain.protocol import Metagraph, Neuron
from hippy.hashing import digest
from hippy.ids import ZERO_ID, PublicKey, Root
from hippy.kv import Transaction
from hippy.proofs.challenge import seed_commit
from hippy.proofs.transcript import TranscriptScope, join_transcript, parse_transcript, transcript_root
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry
from hippy.proofs.verify import Verdict
from hippy.testing.kv import MemoryDatabase
from hippy.validator.audit.rules import AuditRules
from hippy.validator.auditing import epochs
from hippy.validator.auditing.closing import Closing, Ended, Rounds
from hippy.validator.commit import record_segments
from hippy.validator.log import position
from hippy.validator.losses import record_loss
from hippy.validator.placement import epoch_secret
from hippy.validator.scoring import Tally
from hippy.wire.audit import EpochHeader
from hippy.wire.log import SegmentReleased
from hippy.wire.object import Drop
from hippy.wire.score import ScoreRules
from tests.validator.releases_written import released
from tests.validator.world import ACCOUNT, HOME, MINERS, NOW, unsigned_segment

SECRET = b"validator secret".ljust(32)
ANN, BEN = sorted(miner.public_key for miner in MINERS[:2])
ROUNDS = 40


class World:
    """Two miners with a piece each, and a validator that begins and ends epochs by hand."""

    def __init__(self) -> None:
        self.database = MemoryDatabase()
        self.closing = Closing(HOME, SECRET, AuditRules(), ScoreRules())
        self.header: EpochHeader | None = None
        self.roots = [Root(digest(b"a")), Root(digest(b"b"))]

    async def start(self) -> None:
        segment = unsigned_segment(1, {0: ANN, 1: BEN}, self.roots)
        self.segment_id = segment.record.segment_id
        await self.database.transact(lambda txn: record_segments(txn, HOME, [segment], NOW))

    def metagraph(self) -> Metagraph:
        neurons = (Neuron(uid, key, PublicKey(b"o" * 32), None, False, 1, 0, 0.0) for uid, key in enumerate((ANN, BEN)))
        return Metagraph(900, 30, tuple(neurons))

    async def ended(self, tallies: Mapping[PublicKey, Tally] | None = None) -> Ended:
        header = self.header
        assert header is not None
        return await self.database.read(
            lambda reader: self.closing.end(reader, header, tallies or {}, self.metagraph(), NOW + header.epoch)
        )

    async def begin(self, epoch: int) -> EpochHeader:
        before = self.header
        ended = None if before is None else await self.ended()
        header = await self.database.read(
            lambda reader: self.closing.begin(reader, epoch, before, ended, Rounds(100 * epoch, ROUNDS), NOW + epoch)
        )

        def store(txn: Transaction) -> None:
            if before is not None and ended is not None:
                for entry in ended.given_up:
                    epochs.put_entry(txn, before.epoch, entry)
                epochs.put_sheet(txn, ended.sheet)
            epochs.put_header(txn, header)

        await self.database.transact(store)
        self.header = header
        return header

    async def planned(self, header: EpochHeader) -> list[tuple[PublicKey, int, int]]:
        found = await self.database.read(lambda reader: self.closing.planned(reader, header))
        return [(each.key.miner, each.key.number, each.round) for each in found]

    async def enter(self, epoch: int, miner: PublicKey, number: int, verdicts: tuple[Verdict, ...]) -> None:
        header = self.header
        assert header is not None
        at_round = next(at for who, which, at in await self.planned(header) if (who, which) == (miner, number))
        passed = set(verdicts) == {Verdict.OK}
        entry = TranscriptEntry(
            epoch,
            miner,
            number,
            at_round,
            0,
            NOW,
            Outcome.PASS if passed else Outcome.FAIL,
            digest(miner + bytes([number])),
            b"r" * 32,
            b"s" * 64,
            verdicts,
        )
        await self.database.transact(partial(epochs.put_entry, epoch=epoch, entry=entry, evidence=b"evidence"))


@pytest.fixture
async def world() -> World:
    world = World()
    await world.start()
    return world


async def test_the_first_header_follows_nothing_and_commits_to_the_next_secret(world: World) -> None:
    header = await world.begin(7)
    at = await world.database.read(position)
    assert (header.epoch, header.first_round, header.rounds, header.time) == (7, 700, 0, NOW + 7)
    assert header.seed_commit == seed_commit(epoch_secret(SECRET, 8))
    assert header.prev_header == ZERO_ID
    assert [(head.home, head.seq, head.head) for head in header.heads] == [(HOME.hotkey, at.seq, at.head)]
    header.check_shape()
    header.check_signature(HOME.hotkey, HOME.network)
    assert await world.planned(header) == []


async def test_the_next_reveals_what_the_last_epoch_was_drawn_from_and_came_to(world: World) -> None:
    first = await world.begin(7)
    second = await world.begin(8)
    sheet = await world.database.read(lambda reader: epochs.get_sheet(reader, 7))
    assert sheet is not None
    assert (second.prev_header, second.prev_epoch) == (first.id(HOME.network), 7)
    assert second.revealed == epoch_secret(SECRET, 7)
    assert second.sheet_id == sheet.id(HOME.network)
    assert second.rounds == ROUNDS
    third = await world.begin(9)
    assert third.revealed is not None
    assert seed_commit(third.revealed) == first.seed_commit


async def test_after_a_gap_nothing_is_asked_and_the_older_secret_is_revealed(world: World) -> None:
    await world.begin(7)
    await world.begin(8)
    header = await world.begin(11)
    assert (header.prev_epoch, header.rounds, header.revealed) == (8, 0, epoch_secret(SECRET, 8))
    assert await world.planned(header) == []
    header.check_shape()
    assert (await world.begin(12)).rounds == ROUNDS


async def test_the_same_header_plans_the_same_batches_whatever_happens_since(world: World) -> None:
    await world.begin(7)
    header = await world.begin(8)
    planned = await world.planned(header)
    assert sorted((miner, number) for miner, number, _ in planned) == [
        (miner, number) for miner in (ANN, BEN) for number in range(4)
    ]
    rounds = [at for _, _, at in planned]
    assert rounds == sorted(rounds)
    assert 801 <= rounds[0] <= rounds[-1] <= 800 + ROUNDS - ROUNDS // 8

    def lose(txn: Transaction) -> None:
        record_loss(txn, HOME, ANN, world.roots, reason="failed", now=NOW, epoch=8, batch=0)

    await world.database.transact(lose)
    assert await world.planned(header) == planned
    assert {miner for miner, _, _ in await world.planned(await world.begin(9))} == {BEN}


async def test_what_was_never_asked_is_given_up_in_the_order_in_which_it_was_due(world: World) -> None:
    await world.begin(7)
    header = await world.begin(8)
    await world.enter(8, BEN, 1, (Verdict.OK,) * 64)
    ended = await world.ended()
    due = [each for each in await world.planned(header) if each[:2] != (BEN, 1)]
    assert [(entry.miner, entry.batch, entry.round) for entry in ended.given_up] == due
    for entry in ended.given_up:
        assert (entry.outcome, entry.asked, entry.attempt, entry.time) == (Outcome.UNKNOWN, False, 0, NOW + 8)


async def test_the_root_in_the_header_is_that_of_the_file_that_is_published(world: World) -> None:
    await world.begin(7)
    await world.begin(8)
    await world.enter(8, ANN, 3, (Verdict.OK,) * 64)
    await world.enter(8, BEN, 0, (Verdict.OK, Verdict.LOST))
    header = await world.begin(9)
    scope = TranscriptScope(HOME.network, HOME.netuid, HOME.hotkey, 8)
    stored = await world.database.read(lambda reader: list(epochs.encoded_entries(reader, 8)))
    transcript = parse_transcript(join_transcript(scope, stored))
    assert len(transcript.entries) == 8
    assert transcript_root(transcript) == header.transcript_root


async def test_a_sheet_counts_leaves_bytes_and_probes(world: World) -> None:
    await world.begin(7)
    await world.begin(8)
    await world.enter(8, ANN, 3, (Verdict.OK,) * 64)
    await world.enter(8, BEN, 0, (Verdict.OK, Verdict.LOST, Verdict.WRONG))
    ended = await world.ended({ANN: Tally(live_ok=3, live_total=4)})
    ann, ben = ended.sheet.miners
    assert (ann.hotkey, ann.leaves_ok, ann.leaves_bad, ann.live_ok, ann.live_total) == (ANN, 64, 0, 3, 4)
    assert (ben.hotkey, ben.leaves_ok, ben.leaves_bad, ben.paid_bytes, ben.age_epochs) == (BEN, 1, 2, 100, 30)
    assert {miner: held.paid_bytes for miner, held in ended.held.items()} == {ANN: 100, BEN: 100}


async def test_what_is_released_counts_no_more_and_is_asked_for_until_the_next_header(world: World) -> None:
    await world.begin(7)
    header = await world.begin(8)
    drop = Drop(account=ACCOUNT.public_key, segment_id=world.segment_id, time=NOW).signed(ACCOUNT, HOME.network)
    body = SegmentReleased(segment_id=world.segment_id, reason="deleted", drop=drop)
    await world.database.transact(lambda txn: released(txn, body, NOW))
    assert {miner for miner, _, _ in await world.planned(header)} == {ANN, BEN}
    ended = await world.ended()
    assert ended.held == {}
    assert [score.paid_bytes for score in ended.sheet.miners] == [0, 0]
    assert await world.planned(await world.begin(9)) == []


async def test_who_failed_is_asked_32_batches_in_the_four_epochs_after(world: World) -> None:
    await world.begin(7)
    await world.begin(8)
    await world.enter(8, BEN, 0, (Verdict.OK, Verdict.LOST))
    counts = []
    for epoch in range(9, 14):
        planned = await world.planned(await world.begin(epoch))
        counts.append([sum(each[0] == miner for each in planned) for miner in (ANN, BEN)])
    assert counts == [[4, 32]] * 4 + [[4, 4]]


async def test_an_end_that_is_computed_twice_is_the_same(world: World) -> None:
    await world.begin(7)
    await world.begin(8)
    await world.enter(8, ANN, 3, (Verdict.OK,) * 64)
    assert await world.ended() == await world.ended()
