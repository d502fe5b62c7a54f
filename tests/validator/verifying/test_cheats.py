"""Cheats whose every message is well formed, signed and chained: each is named all the same, or at least told of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hippy.ids import PublicKey, Root
from hippy.kv import Transaction
from hippy.proofs.challenge import batch_round
from hippy.proofs.request import AuditRequest
from hippy.proofs.response import ResponseEntry, Status
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry
from hippy.validator.audit.schedule import BatchKey, Scheduled
from hippy.validator.commit import record_segments
from hippy.validator.holdings import depart, mark_lost
from hippy.validator.losses import record_loss
from hippy.validator.scoring import Tally
from hippy.validator.verifying.difference import Difference, Remark
from hippy.wire.audit import EpochHeader, HeadName
from hippy.wire.score import ScoreSheet
from hippy.wire.segment import Holding, SegmentRecord
from tests.validator import audit_record
from tests.validator.audit_record import (
    AUDITED,
    FIRST,
    PIECE_BYTES,
    TEMPO,
    Asked,
    HonestValidator,
    piece,
    record_of,
    registered,
    time_of,
    verify_and_remark,
    verify_record,
)
from tests.validator.world import HOME, MINERS, unsigned_segment

FRIEND, ENEMY = AUDITED[:2]
FRIEND_KEY, ENEMY_KEY = FRIEND.public_key, ENEMY.public_key


async def difference(validator: HonestValidator, *, last: int = 14, **changes: Any) -> Difference:
    """What a stranger finds in the record of a validator that cheats."""
    record = await record_of(validator, last)
    with pytest.raises(Difference) as caught:
        verify_record(record, **changes)
    return caught.value


async def remarks(validator: HonestValidator, *, last: int = 14, **changes: Any) -> list[Remark]:
    """What a stranger is told of a validator in whose record nothing is wrong."""
    return verify_and_remark(await record_of(validator, last), **changes)[1]


class TestChoosingLeaves:
    async def test_first_rounds_of_the_past_are_named(self) -> None:
        class KnowsTheBeacons(HonestValidator):
            def first_round(self, epoch: int) -> int:
                return TEMPO * FIRST

        found = await difference(KnowsTheBeacons())
        assert found.what.endswith("its first round is 180 rounds behind the chain's")

    async def test_first_rounds_of_the_future_are_named(self) -> None:
        class Waits(HonestValidator):
            def first_round(self, epoch: int) -> int:
                return TEMPO * epoch + 10**6

        assert "ahead of the chain's" in (await difference(Waits())).what

    async def test_epochs_of_more_rounds_than_pass_in_one_are_named(self) -> None:
        class Stretches(HonestValidator):
            def header(self, txn: Transaction, epoch: int) -> EpochHeader:
                header = super().header(txn, epoch)
                return header.model_copy(update={"rounds": header.rounds * 4})

        found = await difference(Stretches())
        assert found.what.startswith(
            "about 160 beacon rounds were expected up to the header of epoch 14, 40 were found"
        )

    async def test_times_that_stand_still_are_named(self) -> None:
        class Frozen(HonestValidator):
            def header(self, txn: Transaction, epoch: int) -> EpochHeader:
                return super().header(txn, epoch).model_copy(update={"time": time_of(TEMPO * FIRST)})

        found = await difference(Frozen())
        assert (found.epoch, found.what) == (
            14,
            "the header was not made when its epoch began: its time is 180 s behind the chain's",
        )

    async def test_a_head_that_leaves_out_what_was_written_before_the_header_is_named(self) -> None:
        class NamesAnOldRecord(HonestValidator):
            """A friend's loss in epoch 12 never counts: headers go on naming the record before it."""

            def header(self, txn: Transaction, epoch: int) -> EpochHeader:
                header = super().header(txn, epoch)
                if epoch == FIRST:
                    self.heads: tuple[HeadName, ...] = header.heads
                    self.first = self.inventories
                self.inventories = self.first
                self.lengths = {root: length for held in self.first.values() for root, length in held.items()}
                return header.model_copy(update={"heads": self.heads})

            def sheet(self, txn: Transaction, epoch: int) -> ScoreSheet:
                return super().sheet(txn, epoch) if epoch < 12 else self.sheet_at(txn, epoch, self.heads[0].seq)

            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch == 12:
                    friend = self.miners[FRIEND_KEY]
                    self.report_lost(txn, friend, min(friend.pieces), header.first_round)

        found = await difference(NamesAnOldRecord())
        assert found.epoch == 14
        assert found.what.startswith("record 5 of the log is of 1800000480, before the header of 1800000560")

    async def test_a_header_that_names_what_was_written_after_it_is_named(self) -> None:
        class Backdates(HonestValidator):
            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch == 12:
                    self.now = time_of(TEMPO * 14)
                    self.commit(txn, list(self.miners.values()))

        found = await difference(Backdates())
        assert found.what == "the header is of 1800000520, but names the log up to a record of 1800000560"
        assert found.epoch == 13


class ReportsTwice(HonestValidator):
    """The enemy reports a piece lost, is given it again, and the same report ends it once more, so much later."""

    seconds = 3 * TEMPO

    def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
        if header.epoch != 11:
            return
        enemy = self.miners[ENEMY_KEY]
        root, beacon_round = min(enemy.pieces), header.first_round
        report = self.report_lost(txn, enemy, root, beacon_round)
        enemy.gone.clear()
        again = unsigned_segment(900, {0: ENEMY_KEY}, [root, Root(b"x" * 32)], piece_length=PIECE_BYTES)
        record_segments(txn, HOME, [self.with_receipts(again)], self.now)
        now = self.now + self.seconds
        record_loss(txn, HOME, ENEMY_KEY, [root], reason="reported", now=now, report=report, beacon_round=beacon_round)


class TestFraming:
    async def test_a_holding_that_the_miner_never_signed_is_named(self) -> None:
        class Frames(HonestValidator):
            """Writes that the enemy holds what it never got, and asks for it."""

            never: frozenset[Root] = frozenset()

            def with_receipt(self, record: SegmentRecord, holding: Holding) -> Holding:
                return holding if self.frames(holding.miner) else super().with_receipt(record, holding)

            def frames(self, miner: PublicKey) -> bool:
                return miner == ENEMY_KEY and self.segments > 3

            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch == 11:
                    enemy = self.miners[ENEMY_KEY]
                    had = dict(enemy.pieces)
                    self.commit(txn, list(self.miners.values()))
                    self.never = frozenset(enemy.pieces.keys() - had.keys())

            def ask(self, txn: Transaction, epoch: int, key: BatchKey, time: int) -> None:
                miner = self.miners[key.miner]
                miner.answer_for = lambda root, leaf: (
                    ResponseEntry(Status.NEVER_RECEIVED)
                    if root in self.never and key.miner == ENEMY_KEY
                    else miner.pieces[root].show(leaf)
                )
                super().ask(txn, epoch, key, time)

        found = await difference(Frames())
        assert found.miner == ENEMY_KEY
        assert found.what.startswith("record 5 of the log says that the miner holds piece ")
        assert found.what.endswith("but has no receipt that the miner signed")

    async def test_a_receipt_that_stands_for_two_holdings_is_named(self) -> None:
        class Replays(HonestValidator):
            """The enemy's receipt for a piece that it reported lost is shown for another segment."""

            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch != 11:
                    return
                enemy = self.miners[ENEMY_KEY]
                root = piece(1).root
                self.report_lost(txn, enemy, root, header.first_round)
                again = unsigned_segment(900, {0: ENEMY_KEY}, [root, Root(b"x" * 32)], piece_length=PIECE_BYTES)
                holding = self.first.model_copy(update={"index": 0})
                record = again.record.model_copy(update={"holdings": (holding,)})
                record_segments(txn, HOME, [replace(again, record=record)], self.now)

            def with_receipt(self, record: SegmentRecord, holding: Holding) -> Holding:
                signed = super().with_receipt(record, holding)
                if self.segments == 1 and holding.miner == ENEMY_KEY:
                    self.first = signed
                return signed

        found = await difference(Replays())
        assert found.miner == ENEMY_KEY
        assert found.what.endswith("but has the receipt of an earlier holding")

    async def test_a_departure_of_a_miner_that_never_left_is_named(self) -> None:
        class Evicts(HonestValidator):
            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch == 12:
                    depart(txn, HOME, ENEMY_KEY, 1, self.now)
                    mark_lost(txn, 100)

        found = await difference(Evicts())
        assert (found.epoch, found.miner) == (12, ENEMY_KEY)
        assert "but the chain shows it registered since before it held any of them" in found.what

        # It came back after it was given the pieces.
        back = {
            miner.public_key: replace(registered(uid), certain_time=float(time_of(TEMPO * 12)))
            for uid, miner in enumerate(MINERS, 1)
        }
        assert len(verify_record(await record_of(Evicts()), registrations=back)) == 3

    async def test_a_lost_report_that_is_used_again_is_named(self) -> None:
        class AtOnce(ReportsTwice):
            seconds = 1

        found = await difference(AtOnce())
        assert found.what.endswith("log record 7: the lost report is used again: record 5 has it for the same piece")

    async def test_a_lost_report_that_is_used_later_is_named(self) -> None:
        class Later(ReportsTwice):
            seconds = 122

        assert "log record 7: the lost report is of 1800000440, its record of 1800000562" in str(
            await difference(Later())
        )

    async def test_pieces_taken_by_the_word_of_a_small_validator_are_named(self) -> None:
        class Takes(SilentEnemy):
            askings = 4

        assert len(verify_record(await record_of(Takes(), 16), epochs=(11, 12, 13, 14, 15))) == 5
        found = await difference(Takes(), last=16, epochs=(11, 12, 13, 14, 15), may_attest=False)
        assert (found.epoch, found.miner) == (11, ENEMY_KEY)
        assert found.what.endswith("but a validator without a third of the stake takes none by its word alone")


class SilentEnemy(HonestValidator):
    """The enemy's batch 0 of epoch 11 stays unanswered, and is asked once in each epoch."""

    askings = 1

    def is_answered(self, key: BatchKey, attempt: int) -> bool:
        return key != BatchKey(11, ENEMY_KEY, 0) or attempt >= self.askings


class TestOrder:
    async def test_a_single_fail_without_any_silence_is_named(self) -> None:
        class Hurries(SilentEnemy):
            def ask(self, txn: Transaction, epoch: int, key: BatchKey, time: int) -> None:
                if key == BatchKey(11, ENEMY_KEY, 0) and epoch == 11:
                    self.owed[key] = replace(self.owed[key], attempt=3, silences=3)
                super().ask(txn, epoch, key, time)

            def is_answered(self, key: BatchKey, attempt: int) -> bool:
                return key != BatchKey(11, ENEMY_KEY, 0)

        found = await difference(Hurries())
        assert (found.epoch, found.miner, found.batch) == (11, ENEMY_KEY, 0)
        assert found.what == "it begins with attempt 3: attempt 0 was expected first"

    async def test_an_asking_of_a_day_later_within_its_epoch_is_named(self) -> None:
        class TravelsInTime(SilentEnemy):
            askings = 2

            def told(self, entry: TranscriptEntry) -> TranscriptEntry:
                if entry.answered or entry.attempt == 0:
                    return entry
                return replace(entry, outcome=Outcome.FAIL, time=entry.time + 86_400)

            def is_answered(self, key: BatchKey, attempt: int) -> bool:
                return key != BatchKey(11, ENEMY_KEY, 0)

            def loses(self, entry: TranscriptEntry) -> bool:
                return entry.answered

        found = await difference(TravelsInTime())
        assert (found.epoch, found.miner, found.batch) == (11, ENEMY_KEY, 0)
        assert "the transcript of epoch 12 says that it was asked at 18000" in found.what
        assert found.what.endswith("but that epoch lasted from 1800000480 to 1800000520")

    async def test_askings_that_follow_each_other_at_once_are_named(self) -> None:
        class Presses(SilentEnemy):
            askings = 4

            def audit(self, txn: Transaction, header: EpochHeader) -> None:
                super().audit(txn, header)
                for key, asked in sorted(self.owed.items()) if header.epoch == 11 else ():
                    self.owed[key] = replace(asked, attempt=asked.attempt + 1)
                    self.ask(txn, header.epoch, key, asked.first_time)

        found = await difference(Presses())
        assert found.what == "attempt 1 came 0 s after attempt 0; a pause of 3 s was expected"

    async def test_silence_that_never_ends_is_named(self) -> None:
        class Spares(SilentEnemy):
            askings = 99

            def told(self, entry: TranscriptEntry) -> TranscriptEntry:
                return replace(entry, outcome=Outcome.SILENT) if entry.outcome is Outcome.FAIL else entry

        found = await difference(Spares(), last=16, epochs=(11, 12, 13, 14, 15))
        assert (found.epoch, found.miner, found.batch) == (11, ENEMY_KEY, 0)
        assert found.what == "attempt 3 was silent, as 3 were before: a fail was expected"

    async def test_answers_to_batches_that_were_never_due_are_named_from_one_epoch_on(self) -> None:
        class Dilutes(HonestValidator):
            """A friend has easy batches of an earlier epoch, which that epoch's transcript does not know."""

            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch == 13:
                    due = self.record.headers[11]
                    beacon_round = batch_round(self.secret(11), FRIEND_KEY, 4, due.first_round, due.rounds, 5)
                    key = BatchKey(11, FRIEND_KEY, 4)
                    self.owed[key] = Asked(self.draw(txn, Scheduled(beacon_round, key)), 0, 0, time_of(beacon_round))

        for epochs in ((11, 12, 13), (13,)):
            found = await difference(Dilutes(), epochs=epochs)
            assert (found.epoch, found.batch) == (11, 4)
            assert found.what == "the transcript of epoch 13 has it, that of its own epoch has not"

    async def test_what_is_wrong_before_the_epochs_checked_is_told(self) -> None:
        class Early(SilentEnemy):
            """Fails the enemy for one silence, in epoch 11."""

            def told(self, entry: TranscriptEntry) -> TranscriptEntry:
                return replace(entry, outcome=Outcome.FAIL) if entry.outcome is Outcome.SILENT else entry

        told = await remarks(Early(), epochs=(13,))
        assert [remark.epoch for remark in told if remark.what.startswith("before the epochs checked: the tran")] == [
            11
        ]


class NeverAsks(HonestValidator):
    """A friend of which not one batch is asked: our own failure, it says."""

    def ask(self, txn: Transaction, epoch: int, key: BatchKey, time: int) -> None:
        if key.miner != FRIEND_KEY:
            return super().ask(txn, epoch, key, time)
        request = self.owed.pop(key).request
        never = TranscriptEntry(key.epoch, FRIEND_KEY, key.number, request.round, 0, time, Outcome.UNKNOWN)
        return self.enter(txn, epoch, never, b"", request)


class TestTestimony:
    async def test_a_friend_that_is_never_asked_is_told_of(self) -> None:
        (remark,) = await remarks(NeverAsks())
        assert remark.miner == FRIEND_KEY
        assert remark.what == "it weighs something, and has shown not one leaf: 12 never asked"

    async def test_a_friend_whose_bad_answers_are_thrown_away_is_told_of(self) -> None:
        class ThrowsAway(HonestValidator):
            """The friend lost two of three pieces: answers that show it are told as our own failure."""

            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch == 11:
                    self.miners[FRIEND_KEY].gone.update(self.miners[FRIEND_KEY].pieces)

            def enter(
                self, txn: Transaction, epoch: int, found: TranscriptEntry, evidence: bytes, request: AuditRequest
            ) -> None:
                if found.outcome is Outcome.FAIL:
                    nothing: dict[str, Any] = {"response_hash": bytes(32), "signature": bytes(64), "verdicts": ()}
                    found = replace(found, outcome=Outcome.UNKNOWN, **nothing)
                    self.owed.pop(BatchKey(found.epoch, found.miner, found.batch))
                super().enter(txn, epoch, found, evidence, request)

        (remark,) = await remarks(ThrowsAway())
        assert remark.miner == FRIEND_KEY
        assert remark.what == "it weighs something, and has shown not one leaf: 12 unknown"

    async def test_a_friend_that_is_mostly_not_asked_is_told_of(self) -> None:
        class Rarely(NeverAsks):
            def ask(self, txn: Transaction, epoch: int, key: BatchKey, time: int) -> None:
                if key.number == 0:
                    HonestValidator.ask(self, txn, epoch, key, time)
                else:
                    super().ask(txn, epoch, key, time)

        (remark,) = await remarks(Rarely())
        assert remark.miner == FRIEND_KEY
        assert "75 % of its entries, the median is 0 % (9 never asked)" in remark.what

    async def test_of_honest_validators_there_is_nothing_to_tell(self) -> None:
        assert await remarks(HonestValidator()) == []
        assert await remarks(SilentEnemy()) == []


class TestScores:
    async def test_rules_that_change_are_named(self) -> None:
        class Forgets(HonestValidator):
            def sheet(self, txn: Transaction, epoch: int) -> ScoreSheet:
                return (
                    self.with_rules(txn, epoch, slow_percent=0, fast_percent=0)
                    if epoch == 13
                    else self.usual(txn, epoch)
                )

        found = await difference(Forgets())
        assert (found.epoch, found.what) == (
            13,
            "the sheet has other rules than that of epoch 12: slow_percent 0, not 95; fast_percent 0, not 50",
        )

    async def test_rules_of_its_own_are_told_of(self) -> None:
        class Generous(HonestValidator):
            def sheet(self, txn: Transaction, epoch: int) -> ScoreSheet:
                return self.with_rules(txn, epoch, unpaid_percent=100)

        (remark,) = await remarks(Generous())
        assert str(remark) == "epoch 13: its scores have rules of their own: unpaid_percent 100, not 10"

    async def test_more_probes_than_there_can_be_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(audit_record, "TALLY", Tally(0, 10**9, 0, 0, 0, 0))
        found = await difference(HonestValidator())
        assert found.what == "1000000000 liveness checks in 140 epochs, at most 4480 can be"

    async def test_more_reads_than_there_can_be_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(audit_record, "TALLY", Tally(0, 0, 0, 10**4, 0, 0))
        assert (await difference(HonestValidator())).what == "10000 reads in 140 epochs, at most 8960 can be"

    async def test_a_number_that_no_message_carries_is_named(self) -> None:
        class Overflows(HonestValidator):
            def scored(self, sheet: ScoreSheet) -> ScoreSheet:
                update = {"slow_alpha": 2**53 - 1, "slow_beta": 2**53 - 1} if sheet.epoch == 12 else {}
                rows = tuple(row.model_copy(update=update) for row in sheet.miners)
                return sheet.model_copy(update={"miners": rows})

            def sheet(self, txn: Transaction, epoch: int) -> ScoreSheet:
                if epoch != 13:
                    return self.with_rules(txn, epoch, slow_percent=100)
                before = self.record.sheets.pop(12)
                try:
                    again = self.with_rules(txn, epoch, slow_percent=100)
                finally:
                    self.record.sheets[12] = before
                return again.model_copy(update={"prev_sheet": before.id(HOME.network)})

        found = await difference(Overflows(), epochs=(13,))
        assert found.what == ("no score follows from the sheet before: a miner's score has a number above 2^53 - 1")

    async def test_another_coldkey_than_the_chains_is_named(self) -> None:
        class Lends(HonestValidator):
            def scored(self, sheet: ScoreSheet) -> ScoreSheet:
                rows = tuple(row.model_copy(update={"coldkey": b"z" * 32}) for row in sheet.miners)
                return sheet.model_copy(update={"miners": rows})

        found = await difference(Lends())
        assert found.epoch == 13
        assert found.what.startswith("coldkey ")

    async def test_a_validator_that_sleeps_every_other_epoch_is_told_of(self) -> None:
        class Sleeps(HonestValidator):
            asleep = (11, 13, 15)

        (remark,) = await remarks(Sleeps(), last=16, epochs=(12, 14))
        assert str(remark) == "in 3 of the newest 3 epochs nothing was asked: it had slept before them"
