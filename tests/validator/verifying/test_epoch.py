"""A stranger draws every audit again: each lie of a validator about what it asked, and what was answered, is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hippy.identity import Identity
from hippy.ids import PublicKey
from hippy.kv import Transaction
from hippy.proofs.challenge import draw_request
from hippy.proofs.inventory import Inventory
from hippy.proofs.request import AuditRequest
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry, Void, VoidReason
from hippy.proofs.verify import Verdict
from hippy.validator.audit.schedule import BatchKey, Scheduled
from hippy.validator.holdings import depart, mark_lost
from hippy.validator.losses import record_loss
from hippy.validator.verifying.difference import Difference
from hippy.wire.audit import EpochHeader
from hippy.wire.score import ScoreSheet
from tests.validator.audit_record import (
    AUDITED,
    RULES,
    TEMPO,
    HonestValidator,
    beacon,
    record_of,
    registered,
    time_of,
    verify_record,
)
from tests.validator.world import HOME

FRIEND = AUDITED[0]
FRIEND_KEY = FRIEND.public_key


async def difference(validator: HonestValidator, **changes: Any) -> Difference:
    """What a stranger finds in the record of a validator that lies."""
    record = await record_of(validator)
    with pytest.raises(Difference) as caught:
        verify_record(record, **changes)
    return caught.value


def batch(number: int, epoch: int = 12) -> BatchKey:
    return BatchKey(epoch, FRIEND_KEY, number)


def where(found: Difference) -> BatchKey:
    assert found.epoch is not None
    assert found.miner is not None
    assert found.batch is not None
    return BatchKey(found.epoch, found.miner, found.batch)


class LosesAPiece(HonestValidator):
    """Audits a friend that lost a third of what it holds without saying so, from epoch 12 on."""

    def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
        if header.epoch == 12:
            friend = self.miners[FRIEND_KEY]
            friend.gone.add(min(friend.pieces))


class TestSchedule:
    async def test_a_skipped_batch_is_named(self) -> None:
        class Skips(HonestValidator):
            def planned(self, header: EpochHeader) -> list[Scheduled]:
                return [due for due in super().planned(header) if due.key != batch(2)]

        found = await difference(Skips())
        assert str(found) == (
            f"epoch 12, miner {FRIEND.ss58}, batch 2: the batch was expected in the transcript, asked or given up, and "
            "is not there: it was skipped"
        )

    async def test_a_friend_that_is_not_asked_at_all_is_named(self) -> None:
        class Spares(HonestValidator):
            def planned(self, header: EpochHeader) -> list[Scheduled]:
                return [due for due in super().planned(header) if due.key.miner != FRIEND_KEY]

        found = await difference(Spares())
        assert where(found) == batch(0, 11)
        assert "skipped" in found.what

    async def test_a_batch_that_nobody_drew_is_named(self) -> None:
        class Adds(HonestValidator):
            def planned(self, header: EpochHeader) -> list[Scheduled]:
                due = super().planned(header)
                return due if header.epoch != 12 else [*due, Scheduled(due[-1].round, batch(4))]

        found = await difference(Adds())
        assert where(found) == batch(4)
        assert found.what == "no such batch was expected, the transcript has it"

    async def test_a_batch_at_another_round_is_named(self) -> None:
        class Waits(HonestValidator):
            def planned(self, header: EpochHeader) -> list[Scheduled]:
                due = super().planned(header)
                return [each._replace(round=each.round + 1) if each.key == batch(1) else each for each in due]

        found = await difference(Waits())
        assert where(found) == batch(1)
        assert "was expected" in found.what
        assert "beacon round" in found.what

    async def test_a_miner_that_failed_must_be_asked_more(self) -> None:
        class Forgives(LosesAPiece):
            def is_escalated(self, before: ScoreSheet, miner: PublicKey, epoch: int) -> bool:
                return False

        assert where(await difference(Forgives())) == batch(4, 13)

    async def test_a_miner_that_failed_and_is_asked_more_matches(self) -> None:
        matches = verify_record(await record_of(LosesAPiece()))
        assert [match.batches for match in matches] == [12, 12, 40]
        assert matches[1].leaves_bad > 0

    async def test_a_batch_that_was_given_up_is_told_as_testimony(self) -> None:
        class GivesUp(HonestValidator):
            def ask(self, txn: Transaction, epoch: int, key: BatchKey, time: int) -> None:
                if key != batch(3):
                    return super().ask(txn, epoch, key, time)
                request = self.owed.pop(key).request
                entry = TranscriptEntry(epoch, FRIEND_KEY, 3, request.round, 0, time, Outcome.UNKNOWN)
                return self.enter(txn, epoch, entry, b"", request)

        match = verify_record(await record_of(GivesUp()))[1]
        assert (match.entries, match.answered, match.never_asked, match.unknown) == (12, 11, 1, 0)
        assert match.testimony_ppm == 1_000_000 // 12


class TestRequests:
    async def test_leaves_that_were_chosen_are_named(self) -> None:
        class Grinds(HonestValidator):
            def draw(self, txn: Transaction, due: Scheduled) -> AuditRequest:
                request = super().draw(txn, due)
                held = self.inventories[FRIEND_KEY].locate(0)
                return replace(request, entries=(held,) * 64) if due.key == batch(0) else request

        found = await difference(Grinds())
        assert where(found) == batch(0)
        assert found.what.startswith("attempt 0 asked for other leaves than were drawn: request ")

    async def test_leaves_of_a_smaller_inventory_are_named(self) -> None:
        class Hides(HonestValidator):
            def draw(self, txn: Transaction, due: Scheduled) -> AuditRequest:
                if due.key.miner != FRIEND_KEY:
                    return super().draw(txn, due)
                kept = list(self.inventories[FRIEND_KEY].items())[1:]
                return draw_request(
                    self.secret(due.key.epoch),
                    beacon(due.round),
                    validator=HOME.hotkey,
                    miner=FRIEND_KEY,
                    epoch=due.key.epoch,
                    batch=due.key.number,
                    beacon_round=due.round,
                    attempt=0,
                    inventory=Inventory(kept),
                    count=RULES.batch_leaves,
                )

        assert "asked for other leaves than were drawn" in (await difference(Hides())).what

    async def test_the_inventory_is_the_one_of_the_header(self) -> None:
        class Grows(HonestValidator):
            """Gets another segment while the epoch lasts: nobody is asked for it before the next."""

            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch == 12:
                    self.commit(txn, list(self.miners.values()))

        assert len(verify_record(await record_of(Grows()))) == 3


class TestVerdicts:
    async def test_a_loss_that_is_told_as_a_pass_is_named(self) -> None:
        class Flatters(LosesAPiece):
            def told(self, entry: TranscriptEntry) -> TranscriptEntry:
                return replace(entry, outcome=Outcome.PASS, verdicts=(Verdict.OK,) * 64)

        found = await difference(Flatters())
        assert where(found)[:2] == (12, FRIEND_KEY)
        assert found.what.endswith(" is LOST by the evidence, OK was found")

    async def test_a_pass_that_is_told_as_wrong_is_named(self) -> None:
        class Slanders(HonestValidator):
            def told(self, entry: TranscriptEntry) -> TranscriptEntry:
                if BatchKey(entry.epoch, entry.miner, entry.batch) != batch(1):
                    return entry
                return replace(entry, outcome=Outcome.FAIL, verdicts=(*entry.verdicts[:-1], Verdict.WRONG))

        found = await difference(Slanders())
        assert where(found) == batch(1)
        assert found.what == "the verdict of entry 63 is OK by the evidence, WRONG was found"

    async def test_a_forged_signature_is_named(self) -> None:
        class Forges(HonestValidator):
            def told(self, entry: TranscriptEntry) -> TranscriptEntry:
                forged = Identity.from_seed(b"x" * 32).sign(entry.response_hash)
                return replace(entry, signature=forged) if entry.miner == FRIEND_KEY else entry

        found = await difference(Forges())
        assert found.what.startswith("the evidence of attempt 0 does not hold: the audit response is not signed by")

    async def test_another_answer_than_was_entered_is_named(self) -> None:
        class Exchanges(HonestValidator):
            def told(self, entry: TranscriptEntry) -> TranscriptEntry:
                return replace(entry, response_hash=b"x" * 32) if entry.miner == FRIEND_KEY else entry

        assert "is not that of the answer that was entered" in (await difference(Exchanges())).what

    async def test_evidence_that_is_withheld_is_named(self) -> None:
        record = await record_of(HonestValidator())
        record.evidence[12][5] = b""
        with pytest.raises(Difference, match="the evidence of attempt 0 does not hold"):
            verify_record(record)

    async def test_evidence_of_more_entries_than_there_are_is_named(self) -> None:
        record = await record_of(HonestValidator())
        record.evidence[12].append(b"")
        with pytest.raises(Difference, match="epoch 12: there is evidence of more entries than the transcript has"):
            verify_record(record)

    async def test_fewer_verdicts_than_leaves_are_named(self) -> None:
        class Shortens(HonestValidator):
            def told(self, entry: TranscriptEntry) -> TranscriptEntry:
                return replace(entry, verdicts=entry.verdicts[:-1]) if entry.miner == FRIEND_KEY else entry

        assert (await difference(Shortens())).what == "64 verdicts were expected, 63 were found"


class Reports(HonestValidator):
    """A miner reports a piece lost in epoch 12, in this round after the epoch's first."""

    after = 0

    def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
        if header.epoch == 12:
            friend = self.miners[FRIEND_KEY]
            self.report = self.report_lost(txn, friend, min(friend.pieces), header.first_round + self.after)


class TestVoids:
    async def test_entries_about_a_reported_piece_are_void_and_match(self) -> None:
        matches = verify_record(await record_of(Reports()))
        assert matches[1].voids > 0
        assert (matches[1].leaves_bad, matches[1].leaves_ok) == (0, 768 - matches[1].voids)

    async def test_a_void_without_a_report_is_named(self) -> None:
        class Excuses(LosesAPiece):
            def voids(self, txn: Transaction, key: BatchKey, request: AuditRequest) -> tuple[Void, ...]:
                gone = self.miners[key.miner].gone
                places = (place for place, (root, _) in enumerate(request.entries) if root in gone)
                return tuple(Void(place, VoidReason.REPORTED_LOST, b"r" * 32) for place in places)

        found = await difference(Excuses())
        assert where(found)[:2] == (12, FRIEND_KEY)
        assert "but the log has no such report of an earlier round" in found.what

    async def test_a_void_by_a_report_that_came_later_is_named(self) -> None:
        class Late(Reports):
            after = TEMPO - 1

            def voids(self, txn: Transaction, key: BatchKey, request: AuditRequest) -> tuple[Void, ...]:
                gone = self.miners[key.miner].gone
                reference = self.report.id(HOME.network) if gone else b""
                places = (place for place, (root, _) in enumerate(request.entries) if root in gone)
                return tuple(Void(place, VoidReason.REPORTED_LOST, reference) for place in places)

        found = await difference(Late())
        assert where(found)[:2] == (12, FRIEND_KEY)
        assert "but the log has no such report of an earlier round" in found.what

    async def test_a_void_by_a_release_that_is_a_report_is_named(self) -> None:
        class Ends(Reports):
            def voids(self, txn: Transaction, key: BatchKey, request: AuditRequest) -> tuple[Void, ...]:
                voids = super().voids(txn, key, request)
                return tuple(replace(void, reason=VoidReason.ENDED) for void in voids)

        assert "the log does not release every holding of its piece" in (await difference(Ends())).what

    async def test_a_report_that_is_not_honoured_is_named(self) -> None:
        class Ignores(Reports):
            def voids(self, txn: Transaction, key: BatchKey, request: AuditRequest) -> tuple[Void, ...]:
                return ()

            def loses(self, entry: TranscriptEntry) -> bool:
                return False

        found = await difference(Ignores())
        assert "was reported lost before round" in found.what
        assert found.what.endswith("and yet it counts")

    async def test_a_report_that_is_dated_back_is_named(self) -> None:
        class Backdates(Reports):
            after = -TEMPO

        found = await difference(Backdates())
        assert str(found) == (
            "epoch 12: record 5 of the log says that a loss was reported in round 440, but it was written between "
            "rounds 480 and 520"
        )


class TestLosses:
    async def test_a_piece_that_was_not_shown_and_is_kept_is_named(self) -> None:
        class Keeps(LosesAPiece):
            def loses(self, entry: TranscriptEntry) -> bool:
                return False

        found = await difference(Keeps())
        assert where(found)[:2] == (12, FRIEND_KEY)
        assert "so its loss was expected in the log, and is not there" in found.what

    async def test_a_piece_that_is_taken_without_a_failure_is_named(self) -> None:
        class Robs(HonestValidator):
            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch == 12:
                    roots = [min(self.miners[FRIEND_KEY].pieces)]
                    now = time_of(header.first_round)
                    record_loss(txn, HOME, FRIEND_KEY, roots, reason="failed", now=now, epoch=12, batch=1)

        found = await difference(Robs())
        assert where(found) == batch(1)
        assert "by the transcript of epoch 12 the batch did not fail by it" in found.what


class Quiet(HonestValidator):
    """A friend leaves batch 0 of epoch 11 unanswered, as often as told."""

    silent = 1

    def is_answered(self, key: BatchKey, attempt: int) -> bool:
        return key != batch(0, 11) or attempt >= self.silent


class TestOrder:
    async def test_silence_that_is_answered_later_matches_as_testimony(self) -> None:
        matches = verify_record(await record_of(Quiet()))
        assert [(match.entries, match.answered, match.silent) for match in matches] == [
            (12, 11, 1),
            (13, 13, 0),
            (12, 12, 0),
        ]

    async def test_a_batch_owed_from_before_the_epochs_that_are_checked_is_drawn_again(self) -> None:
        (match,) = verify_record(await record_of(Quiet()), epochs=(12,))
        assert (match.batches, match.entries, match.verdicts) == (12, 13, 13 * 64)

    async def test_the_fourth_silence_fails_and_matches(self) -> None:
        class Silent(Quiet):
            silent = 4

        *_, match = verify_record(await record_of(Silent(), last=16), epochs=(11, 12, 13, 14))
        assert (match.failed_unanswered, match.leaves_bad) == (1, 64)

    async def test_a_fail_after_too_little_silence_is_named(self) -> None:
        class Hurries(Quiet):
            def told(self, entry: TranscriptEntry) -> TranscriptEntry:
                return replace(entry, outcome=Outcome.FAIL) if entry.outcome is Outcome.SILENT else entry

        found = await difference(Hurries())
        assert where(found) == batch(0, 11)
        assert found.what.startswith("the transcript of epoch 11 fails it unanswered after 0 silent askings and 0 s")

    async def test_a_batch_that_counts_in_two_epochs_is_named(self) -> None:
        class Twice(HonestValidator):
            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch == 12:
                    self.owed[batch(0, 11)] = self.first

            def ask(self, txn: Transaction, epoch: int, key: BatchKey, time: int) -> None:
                if key == batch(0, 11):
                    self.first = self.owed[key]
                super().ask(txn, epoch, key, time)

        found = await difference(Twice())
        assert where(found) == batch(0, 11)
        assert found.what == "it was settled in epoch 11, and the transcript of epoch 12 counts it again"

    async def test_an_old_batch_that_never_was_is_named(self) -> None:
        class Invents(HonestValidator):
            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch == 12:
                    beacon_round = self.record.headers[11].first_round + 5
                    asked = self.draw(txn, Scheduled(beacon_round, batch(40, 11)))
                    self.owed[batch(40, 11)] = replace(self.some, request=asked)

            def ask(self, txn: Transaction, epoch: int, key: BatchKey, time: int) -> None:
                self.some = self.owed[key]
                super().ask(txn, epoch, key, time)

        assert (await difference(Invents(), epochs=(12,))).what == "its epoch had no such batch"
        assert "its epoch had no such batch" in (await difference(Invents())).what

    async def test_a_batch_of_an_epoch_without_a_header_is_named(self) -> None:
        record = await record_of(Quiet())
        for epoch in (10, 11):
            del record.headers[epoch]
        with pytest.raises(Difference, match="are not kept, so nobody can check it"):
            verify_record(record, epochs=(12,))

    async def test_a_batch_that_is_owed_too_long_is_named(self) -> None:
        class Silent(Quiet):
            silent = 4

            def audit(self, txn: Transaction, header: EpochHeader) -> None:
                super().audit(txn, header)
                self.owed.clear()  # and never again

        rules = replace(RULES, owed_seconds=20.0, pauses_seconds=(1.0, 1.0, 1.0))
        found = await difference(Silent(), rules=rules, epoch_seconds=1.0, moment=None)
        assert where(found) == batch(0, 11)
        assert found.what.endswith("it was owed too long")

    @pytest.mark.parametrize("excuse", ["departed", "not registered"])
    async def test_a_miner_that_left_owes_nothing(self, excuse: str) -> None:
        class Leaves(Quiet):
            silent = 4

            def audit(self, txn: Transaction, header: EpochHeader) -> None:
                super().audit(txn, header)
                self.owed.clear()
                if header.epoch == 12 and excuse == "departed":
                    depart(txn, HOME, FRIEND_KEY, 1, time_of(header.first_round))
                    mark_lost(txn, 100)

        rules = replace(RULES, owed_seconds=20.0, pauses_seconds=(1.0, 1.0, 1.0))
        left = {miner.public_key: registered(uid) for uid, miner in enumerate(AUDITED[1:], 2)}
        changes: dict[str, Any] = {"registrations": left, "epoch_seconds": 1.0, "moment": None}
        matches = verify_record(await record_of(Leaves()), rules=rules, **changes)
        assert [match.miners for match in matches] == ([3, 3, 2] if excuse == "departed" else [3, 3, 3])


def test_a_difference_says_where_it_is() -> None:
    assert str(Difference("what")) == "what"
    assert str(Difference("what", epoch=7)) == "epoch 7: what"
    assert str(Difference("what", epoch=7, miner=FRIEND_KEY, batch=2)) == f"epoch 7, miner {FRIEND.ss58}, batch 2: what"
