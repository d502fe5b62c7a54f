"""Losses of miners that stay: who may report, what ends, and what audits need not ask for any more."""

from __future__ import annotations

import pytest

from hippy.errors import AuthError, HippyError, ProtocolError
from hippy.ids import NetworkId, PublicKey, Root
from hippy.kv import Database
from hippy.validator.commit import record_segments
from hippy.validator.holdings import depart, inventory_at, lost_indices
from hippy.validator.log import scan_log, verify_chain
from hippy.validator.losses import check_report, record_loss, reported
from hippy.wire.audit import LostReport
from hippy.wire.canonical import CLOCK_TOLERANCE_SECONDS
from hippy.wire.log import LOST_PIECES_MAX, LogEntry
from tests.validator.world import HOME, MINERS, NETWORK, NOW, STRANGER, unsigned_segment

MINER = MINERS[0].public_key
ROOTS = [Root(bytes([number]) * 32) for number in range(5)]


def report(*roots: Root, time: int = NOW, validator: PublicKey = HOME.hotkey) -> LostReport:
    unsigned = LostReport(miner=MINER, validator=validator, roots=roots or (ROOTS[0],), time=time)
    return unsigned.signed(MINERS[0], NETWORK)


async def store(database: Database, number: int, *roots: Root) -> int:
    """Record a segment whose pieces are all at MINER; return the record's seq."""
    segment = unsigned_segment(number, dict.fromkeys(range(len(roots)), MINER), roots)
    await database.transact(lambda txn: record_segments(txn, HOME, [segment], NOW))
    return (await entries_of(database))[-1].record.seq


async def entries_of(database: Database) -> list[LogEntry]:
    return await database.read(lambda reader: list(scan_log(reader)))


async def lose(database: Database, sent: LostReport, beacon_round: int = 9) -> int:
    return await database.transact(
        lambda txn: record_loss(
            txn, HOME, MINER, sent.roots, reason="reported", now=NOW, report=sent, beacon_round=beacon_round
        )
    )


class TestReport:
    def test_a_report_of_its_miner_to_us_is_accepted(self) -> None:
        for skew in (-CLOCK_TOLERANCE_SECONDS, CLOCK_TOLERANCE_SECONDS):
            check_report(report(*ROOTS), HOME, NOW + skew)

    @pytest.mark.parametrize(
        ("sent", "error"),
        [
            (report(validator=STRANGER.public_key), AuthError),
            (report().signed(STRANGER, NETWORK), AuthError),
            (report().signed(MINERS[0], NetworkId(b"x" * 32)), AuthError),
            (report(time=NOW - CLOCK_TOLERANCE_SECONDS - 1), ProtocolError),
            (report(time=NOW + CLOCK_TOLERANCE_SECONDS + 1), ProtocolError),
            (report(ROOTS[1], ROOTS[0], ROOTS[1]), ProtocolError),
        ],
        ids=["other validator", "other signer", "other network", "old", "from the future", "a root twice"],
    )
    def test_any_other_is_refused(self, sent: LostReport, error: type[HippyError]) -> None:
        with pytest.raises(error):
            check_report(sent, HOME, NOW)


class TestRecord:
    async def test_every_holding_of_the_roots_ends_with_the_record(self, database: Database) -> None:
        await store(database, 1, *ROOTS[:3])
        await store(database, 2, ROOTS[0], ROOTS[3])
        sent = report(ROOTS[0], ROOTS[2], ROOTS[4])
        assert await lose(database, sent) == 3
        entries = await entries_of(database)
        verify_chain(entries, NETWORK)
        loss = entries[-1].loss
        assert loss is not None
        assert (loss.reason, loss.miner, loss.round, loss.report) == ("reported", MINER, 9, sent)
        segments = [entry.segment.segment_id for entry in entries if entry.segment is not None]
        named = {(piece.segment_id, piece.index, piece.root) for piece in loss.pieces}
        assert named == {(segments[0], 0, ROOTS[0]), (segments[0], 2, ROOTS[2]), (segments[1], 0, ROOTS[0])}
        seq = entries[-1].record.seq
        assert await database.read(lambda reader: list(inventory_at(reader, MINER, seq))) == [ROOTS[1], ROOTS[3]]
        assert [await database.read(lambda reader, s=each: lost_indices(reader, s)) for each in segments] == [  # type: ignore[misc]
            {0, 2},
            {0},
        ]

    async def test_what_is_not_held_makes_no_record(self, database: Database) -> None:
        await store(database, 1, ROOTS[0])
        assert await lose(database, report(ROOTS[1])) == 0
        assert await lose(database, report()) == 1
        assert await lose(database, report()) == 0
        assert [entry.record.kind for entry in await entries_of(database)] == ["segment", "loss"]

    async def test_what_a_departure_took_is_not_lost_once_more(self, database: Database) -> None:
        await store(database, 1, ROOTS[0])
        await database.transact(lambda txn: depart(txn, HOME, MINER, 77, NOW))
        assert await lose(database, report()) == 0

    async def test_a_failed_batch_is_named(self, database: Database) -> None:
        await store(database, 1, ROOTS[0])
        await database.transact(
            lambda txn: record_loss(txn, HOME, MINER, [ROOTS[0]], reason="failed", now=NOW, epoch=3, batch=2)
        )
        loss = (await entries_of(database))[-1].loss
        assert loss is not None
        assert (loss.reason, loss.epoch, loss.batch, loss.report, loss.round) == ("failed", 3, 2, None, None)
        assert await database.read(lambda reader: reported(reader, MINER, [ROOTS[0]])) == {}

    async def test_more_than_a_record_holds_gets_several(self, database: Database) -> None:
        roots = [Root(number.to_bytes(32, "big")) for number in range(255)]
        count = LOST_PIECES_MAX // 255 + 1
        for number in range(count):
            await store(database, number, *roots)
        assert await lose(database, report(*roots)) == count * 255
        losses = [entry.loss for entry in await entries_of(database) if entry.loss is not None]
        assert [len(loss.pieces) for loss in losses] == [LOST_PIECES_MAX, count * 255 - LOST_PIECES_MAX]
        seq = (await entries_of(database))[-1].record.seq
        assert await database.read(lambda reader: len(inventory_at(reader, MINER, seq))) == 0

    async def test_a_loss_without_what_its_reason_takes_is_refused(self, database: Database) -> None:
        await store(database, 1, ROOTS[0])
        with pytest.raises(ProtocolError, match="unanswered"):
            await database.transact(
                lambda txn: record_loss(txn, HOME, MINER, [ROOTS[0]], reason="unanswered", now=NOW, epoch=3)
            )
        assert len(await entries_of(database)) == 1


class TestReported:
    async def test_reported_roots_are_known_with_round_and_report(self, database: Database) -> None:
        await store(database, 1, *ROOTS[:3])
        sent = report(*ROOTS[:2])
        await lose(database, sent, 41)
        known = await database.read(lambda reader: reported(reader, MINER, ROOTS))
        assert known == dict.fromkeys(ROOTS[:2], (41, sent.id(NETWORK)))
        assert await database.read(lambda reader: reported(reader, STRANGER.public_key, ROOTS)) == {}

    async def test_a_piece_that_is_given_again_is_owed_again(self, database: Database) -> None:
        first = await store(database, 1, ROOTS[0])
        one, two = report(time=NOW), report(time=NOW + 1)
        await lose(database, one, 41)
        again = await store(database, 2, ROOTS[0])

        async def behind(seq: int) -> object:
            known = await database.read(lambda reader: reported(reader, MINER, ROOTS, after_seq=seq))
            return known.get(ROOTS[0])

        assert await behind(again) is None
        await lose(database, two, 50)
        assert await behind(first) == (41, one.id(NETWORK))
        assert await behind(again) == (50, two.id(NETWORK))
