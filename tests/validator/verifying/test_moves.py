"""A stranger follows repairs and drains: who got a piece holds it, and a validator that makes moves up is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hippy.ids import PublicKey, Root
from hippy.kv import Reader, Transaction
from hippy.proofs.request import AuditRequest
from hippy.proofs.transcript_entry import Void, VoidReason
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.holdings import depart, holdings_of, mark_lost
from hippy.validator.log import append, position
from hippy.validator.losses import record_loss
from hippy.validator.releases import released_at
from hippy.validator.verifying.difference import Difference
from hippy.wire.audit import EpochHeader
from hippy.wire.log import SegmentReleased
from hippy.wire.object import Drop
from hippy.wire.pace import pace_of
from hippy.wire.repair import PieceMoved, SegmentFlawed
from hippy.wire.score import ScoreSheet
from hippy.wire.ticket import PayClass
from tests.validator.audit_record import (
    AUDITED,
    PIECE_BYTES,
    TEMPO,
    HonestValidator,
    Miner,
    record_of,
    registered,
    verify_and_remark,
    verify_record,
)
from tests.validator.moves_written import drain_of, move, moved_to, note_candidates
from tests.validator.releases_written import released
from tests.validator.world import ACCOUNT, HOME, MINERS

FRIEND = AUDITED[0]
NEWCOMER, OTHER = MINERS[3:5]
FRIEND_KEY, NEWCOMER_KEY = FRIEND.public_key, NEWCOMER.public_key


async def difference(validator: HonestValidator, **changes: Any) -> Difference:
    """What a stranger finds in the record of a validator that lies."""
    record = await record_of(validator)
    with pytest.raises(Difference) as caught:
        verify_record(record, **changes)
    return caught.value


class Repairs(HonestValidator):
    """In epoch 11 the friend reports a piece lost, and a newcomer makes it again."""

    moves_in = 11
    drained: PublicKey | None = None
    to = NEWCOMER
    hands_over = True
    """Whether its own registry follows, too: it does not let everything happen."""

    def __init__(self) -> None:
        super().__init__()
        for miner in (NEWCOMER, OTHER):
            self.miners[miner.public_key] = Miner(miner)

    def commit(self, txn: Transaction, miners: list[Miner], *, pay_class: PayClass = "paid") -> list[Root]:
        return super().commit(txn, [miner for miner in miners if miner.identity in AUDITED], pay_class=pay_class)

    @property
    def friend(self) -> Miner:
        """Who held the piece."""
        return self.miners[FRIEND_KEY]

    def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
        if header.epoch == 10:
            self.root = min(self.friend.pieces)
            (self.piece,) = holdings_of(txn, FRIEND_KEY, self.root)
            self.candidates_seq = note_candidates(txn, NEWCOMER, now=header.time)
        if header.epoch == self.moves_in:
            self.before_move(txn, header)
            self.repair(txn, header)

    def before_move(self, txn: Transaction, header: EpochHeader) -> None:
        """What leads to the move."""
        self.report_lost(txn, self.friend, self.root, header.first_round)

    def repair(self, txn: Transaction, header: EpochHeader) -> None:
        """Log that the newcomer has the piece."""
        self.body = self.changed(
            moved_to(
                self.piece.segment_id,
                self.piece.index,
                self.root,
                PIECE_BYTES,
                self.to,
                candidates_seq=self.candidates_seq,
                now=header.time,
                drained=self.drained,
            )
        )
        self.miners[self.to.public_key].pieces[self.root] = self.friend.pieces[self.root]
        if self.hands_over:
            move(txn, self.body, header.time)
        else:
            append(txn, HOME, [self.body], header.time)

    def changed(self, body: PieceMoved) -> PieceMoved:
        """Return the body as it is logged."""
        return body


class Drains(Repairs):
    """The friend asks to leave in epoch 11 and its piece goes to the newcomer; in epoch 12 it throws it away.

    It is away in epoch 11, so all its batches are asked again in 12.
    """

    drained: PublicKey | None = FRIEND_KEY

    def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
        super().before_epoch(txn, header)
        if header.epoch == 12:
            self.friend.gone.add(self.root)

    def before_move(self, txn: Transaction, header: EpochHeader) -> None:
        append(txn, HOME, [drain_of(FRIEND, header.time)], header.time)

    def is_answered(self, key: BatchKey, attempt: int) -> bool:
        return (key.epoch, key.miner, attempt) != (11, FRIEND_KEY, 0)

    def voids(self, txn: Transaction, key: BatchKey, request: AuditRequest) -> tuple[Void, ...]:
        return tuple(
            Void(place, VoidReason.ENDED, reference)
            for place, reference in enumerate(self.references(txn, key, request))
            if reference is not None
        )

    def references(self, txn: Reader, key: BatchKey, request: AuditRequest) -> Sequence[bytes | None]:
        """By which record each entry is void, if it is."""
        since, asked = (self.record.headers[epoch].heads[0].seq for epoch in (key.epoch, max(self.record.headers)))
        gone = self.miners[key.miner].gone
        return [
            released_at(txn, key.miner, root, since, by_seq=asked) if root in gone else None
            for root, _ in request.entries
        ]


class TestRepairs:
    async def test_a_piece_that_was_made_again_is_asked_and_paid_from_the_next_header_on(self) -> None:
        validator = Repairs()
        record = await record_of(validator)
        matches = verify_record(record)
        assert [match.miners for match in matches] == [3, 4, 4]
        asked = {
            entry.epoch for entries in validator.entries.values() for entry in entries if entry.miner == NEWCOMER_KEY
        }
        assert asked == {12, 13}
        paid = {score.hotkey: score.paid_bytes for score in record.sheets[11].miners}
        assert (paid[FRIEND_KEY], paid[NEWCOMER_KEY]) == (2 * PIECE_BYTES, PIECE_BYTES)

    async def test_a_lost_piece_that_was_made_again_is_no_excuse_for_who_lost_it(self) -> None:
        class Silent(Repairs):
            """The friend loses the piece by its audits of epoch 11, and owes an answer of then when it is repaired."""

            moves_in = 0

            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                super().before_epoch(txn, header)
                if header.epoch == 11:
                    self.friend.gone.add(self.root)

            def is_answered(self, key: BatchKey, attempt: int) -> bool:
                return key != BatchKey(11, FRIEND_KEY, 3) or attempt > 0

            def audit(self, txn: Transaction, header: EpochHeader) -> None:
                super().audit(txn, header)
                if header.epoch == 11:
                    self.repair(txn, header)

        validator = Silent()
        matches = verify_record(await record_of(validator))
        assert matches[1].voids == 0
        owed = [entry for entry in validator.entries[12] if (entry.epoch, entry.miner) == (11, FRIEND_KEY)]
        assert [entry.outcome.name for entry in owed] == ["FAIL"]
        assert matches[1].leaves_bad > 0

    async def test_a_sheet_that_does_not_pay_for_a_moved_piece_is_named(self) -> None:
        class Forgets(Repairs):
            def before_move(self, txn: Transaction, header: EpochHeader) -> None:
                super().before_move(txn, header)
                self.seq = position(txn).seq

            def sheet(self, txn: Transaction, epoch: int) -> ScoreSheet:
                return super().sheet(txn, epoch) if epoch != 11 else self.sheet_at(txn, epoch, self.seq)

        found = await difference(Forgets())
        assert (found.epoch, found.miner) == (11, NEWCOMER_KEY)

    async def test_the_move_of_a_departed_miners_piece_is_right(self) -> None:
        class Departs(Repairs):
            def before_move(self, txn: Transaction, header: EpochHeader) -> None:
                depart(txn, HOME, FRIEND_KEY, 1, header.time)
                mark_lost(txn, 100)

        there = {
            miner.public_key: registered(uid) for uid, miner in enumerate(MINERS, 1) if miner.public_key != FRIEND_KEY
        }
        assert len(verify_record(await record_of(Departs()), registrations=there)) == 3


class TestDrains:
    async def test_what_a_miner_gave_away_is_void_when_asked_in_a_later_epoch(self) -> None:
        validator = Drains()
        matches = verify_record(await record_of(validator))
        assert matches[0].voids == 0, "nothing is void in the epoch of the move"
        assert matches[1].voids > 0
        assert matches[1].leaves_bad == 0
        references = {void.reference for entry in validator.entries[12] for void in entry.voids}
        assert references == {validator.body.id(HOME.network)}
        assert matches[2].voids == 0, "it is not asked for any more"

    async def test_a_miner_that_gave_a_piece_away_is_paid_for_it_no_more(self) -> None:
        record = await record_of(Drains())
        paid = {score.hotkey: score.paid_bytes for score in record.sheets[11].miners}
        assert (paid[FRIEND_KEY], paid[NEWCOMER_KEY]) == (2 * PIECE_BYTES, PIECE_BYTES)

    async def test_a_void_by_a_move_that_is_not_honoured_is_named(self) -> None:
        class Frames(Drains):
            def references(self, txn: Reader, key: BatchKey, request: AuditRequest) -> Sequence[bytes | None]:
                return [None for _ in request.entries]

        found = await difference(Frames())
        assert (found.epoch, found.miner) == (11, FRIEND_KEY)
        assert "was owed no longer by release or move" in found.what
        assert found.what.endswith("when epoch 12 began, and yet it counts")

    async def test_a_void_by_the_move_of_a_lost_piece_is_named(self) -> None:
        class Excuses(Drains):
            """The friend lost the piece, and the record that another made it is to excuse it."""

            drained = None

            def before_move(self, txn: Transaction, header: EpochHeader) -> None:
                record_loss(txn, HOME, FRIEND_KEY, [self.root], reason="unanswered", now=header.time, epoch=11, batch=0)

            def references(self, txn: Reader, key: BatchKey, request: AuditRequest) -> Sequence[bytes | None]:
                gone = self.miners[key.miner].gone
                return [self.body.id(HOME.network) if root in gone else None for root, _ in request.entries]

        record = await record_of(Excuses())
        with pytest.raises(Difference) as caught:
            verify_record(record, (12, 13))
        assert "the log does not release every holding of its piece" in caught.value.what

    async def test_who_stays_after_all_may_be_asked_to_leave_once_more(self) -> None:
        class Wavers(Drains):
            def before_move(self, txn: Transaction, header: EpochHeader) -> None:
                for number in range(3):
                    append(txn, HOME, [drain_of(FRIEND, header.time + number, stop=number == 1)], header.time)

        assert len(verify_record(await record_of(Wavers()))) == 3


class TestMadeUpMoves:
    async def test_a_move_without_a_loss_is_named(self) -> None:
        class Takes(Repairs):
            """The honest friend's piece is given to another, as if it were lost."""

            def before_move(self, txn: Transaction, header: EpochHeader) -> None:
                pass

        found = await difference(Takes())
        assert found.what.startswith("the log does not hold: log record 6: a piece is moved that was not lost")

    async def test_a_move_from_an_honest_miner_that_did_not_ask_to_leave_is_named(self) -> None:
        class Evicts(Drains):
            def before_move(self, txn: Transaction, header: EpochHeader) -> None:
                pass

        found = await difference(Evicts())
        assert found.what.endswith("log record 6: a piece is moved from a miner that did not ask to leave")

    async def test_a_move_from_a_miner_that_stays_after_all_is_named(self) -> None:
        class Ignores(Drains):
            def before_move(self, txn: Transaction, header: EpochHeader) -> None:
                super().before_move(txn, header)
                append(txn, HOME, [drain_of(FRIEND, header.time + 1, stop=True)], header.time)

        assert "from a miner that did not ask to leave" in (await difference(Ignores())).what

    async def test_a_drain_that_the_miner_did_not_sign_is_named(self) -> None:
        class Signs(Drains):
            def before_move(self, txn: Transaction, header: EpochHeader) -> None:
                append(txn, HOME, [drain_of(FRIEND, header.time, signer=HOME.identity)], header.time)

        found = await difference(Signs())
        assert "log record 6: " in found.what
        assert "signed" in found.what

    async def test_a_drain_of_last_month_is_named(self) -> None:
        class Replays(Drains):
            def before_move(self, txn: Transaction, header: EpochHeader) -> None:
                append(txn, HOME, [drain_of(FRIEND, header.time - 122)], header.time)

        assert "the drain is of " in (await difference(Replays())).what

    async def test_a_drain_to_another_validator_is_named(self) -> None:
        class Borrows(Drains):
            def before_move(self, txn: Transaction, header: EpochHeader) -> None:
                drain = drain_of(FRIEND, header.time).model_copy(update={"validator": OTHER.public_key})
                append(txn, HOME, [drain.signed(FRIEND, HOME.network)], header.time)

        assert "addressed to another validator" in (await difference(Borrows())).what

    async def test_a_receipt_of_a_move_that_nobody_signed_is_named(self) -> None:
        class Forges(Repairs):
            def changed(self, body: PieceMoved) -> PieceMoved:
                holding = body.holding.model_copy(update={"signature": bytes(64)})
                return body.model_copy(update={"holding": holding})

        found = await difference(Forges())
        assert found.miner == NEWCOMER_KEY
        assert found.what.startswith("record 7 of the log says that the miner holds piece ")
        assert found.what.endswith("but has no receipt that the miner signed")

    async def test_a_receipt_for_a_shorter_piece_is_named(self) -> None:
        class Shortens(Repairs):
            def changed(self, body: PieceMoved) -> PieceMoved:
                short = moved_to(
                    body.segment_id,
                    body.holding.index,
                    body.root,
                    PIECE_BYTES - 1,
                    NEWCOMER,
                    candidates_seq=self.candidates_seq,
                    now=body.holding.time,
                )
                return body.model_copy(update={"holding": short.holding})

        assert (await difference(Shortens())).what.endswith("but has no receipt that the miner signed")

    async def test_a_move_to_a_miner_that_holds_another_piece_of_the_segment_is_named(self) -> None:
        class Doubles(Repairs):
            to = AUDITED[1]

        assert "that holds, or held, a piece of the segment" in (await difference(Doubles())).what

    async def test_a_move_back_to_who_lost_the_piece_is_named(self) -> None:
        class Returns(Repairs):
            to = FRIEND

        assert "that holds, or held, a piece of the segment" in (await difference(Returns())).what

    async def test_a_move_to_a_miner_that_was_no_candidate_is_named(self) -> None:
        class Favours(Repairs):
            to = OTHER

        found = await difference(Favours())
        assert found.miner == OTHER.public_key
        assert found.what == "record 7 of the log moves a piece to a miner that is no candidate by record 5"

    @pytest.mark.parametrize("seq", [1, 99])
    async def test_a_move_by_candidates_that_are_none_is_named(self, seq: int) -> None:
        class Misleads(Repairs):
            def changed(self, body: PieceMoved) -> PieceMoved:
                return body.model_copy(update={"candidates_seq": seq})

        assert (await difference(Misleads())).what.endswith(f"names record {seq} for the candidates, which has none")

    async def test_another_root_than_the_segments_is_named(self) -> None:
        class Swaps(Repairs):
            def changed(self, body: PieceMoved) -> PieceMoved:
                return body.model_copy(update={"root": Root(b"x" * 32)})

        assert "names another root than the segment has" in (await difference(Swaps())).what

    async def test_a_piece_that_is_handed_over_twice_is_named(self) -> None:
        class Repeats(Drains):
            """It came from the friend, and it does so again."""

            def repair(self, txn: Transaction, header: EpochHeader) -> None:
                super().repair(txn, header)
                self.candidates_seq = note_candidates(txn, OTHER, now=header.time)
                self.to = OTHER
                super().repair(txn, header)

        assert "from a miner that does not hold it" in (await difference(Repeats())).what

    async def test_a_move_of_a_released_segment_is_named(self) -> None:
        class Wastes(Repairs):
            hands_over = False

            def before_move(self, txn: Transaction, header: EpochHeader) -> None:
                super().before_move(txn, header)
                segment_id = self.piece.segment_id
                time = header.time - pace_of(float(TEMPO)).drop_grace_seconds
                drop = Drop(account=ACCOUNT.public_key, segment_id=segment_id, time=time)
                body = SegmentReleased(segment_id=segment_id, reason="deleted", drop=drop.signed(ACCOUNT, HOME.network))
                released(txn, body, header.time)

        assert "a piece is moved of a segment that record 7 released" in (await difference(Wastes())).what


class Flaws(Repairs):
    """The home says that the lost piece cannot be made of the others, and gives it to nobody."""

    index: int | None = None
    sources: tuple[int, ...] = (1,)
    times = 1

    def repair(self, txn: Transaction, header: EpochHeader) -> None:
        index = self.piece.index if self.index is None else self.index
        body = SegmentFlawed(segment_id=self.piece.segment_id, index=index, sources=self.sources)
        append(txn, HOME, [body] * self.times, header.time)


class TestFlaws:
    async def test_a_flawed_segment_is_its_homes_word_and_told_of(self) -> None:
        matches, remarks = verify_and_remark(await record_of(Flaws()))
        assert len(matches) == 3
        (remark,) = remarks
        assert remark.what == (
            "pieces that it says were badly coded, and does not repair: 1; "
            "nobody can check that without reading their segments"
        )

    @pytest.mark.parametrize(
        ("sources", "times", "index", "what"),
        [
            ((1, 1), 1, None, "k distinct sources"),
            ((0,), 1, None, "other pieces"),
            ((3,), 1, None, "a piece that no segment has"),
            ((1,), 1, 3, "a piece that no segment has"),
            ((1,), 2, None, "known to be flawed"),
        ],
    )
    async def test_a_flawed_record_that_cannot_be_is_named(
        self, sources: tuple[int, ...], times: int, index: int | None, what: str
    ) -> None:
        validator = Flaws()
        validator.sources, validator.times, validator.index = sources, times, index
        assert what in (await difference(validator)).what
