"""A stranger follows releases: what they end counts for nobody, and a validator that makes them up is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from hippy.identity import Identity
from hippy.ids import Root, SegmentId
from hippy.kv import Reader, Transaction
from hippy.proofs.request import AuditRequest
from hippy.proofs.response import ResponseEntry, Status
from hippy.proofs.transcript_entry import Outcome, Void, VoidReason
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.commit import record_segments
from hippy.validator.holdings import holdings_of
from hippy.validator.log import position
from hippy.validator.releases import released_at
from hippy.validator.verifying.difference import Difference
from hippy.validator.verifying.releases import FoundRelease, Reason, early_releases
from hippy.wire.audit import EpochHeader
from hippy.wire.log import SegmentReleased
from hippy.wire.object import Drop
from hippy.wire.pace import pace_of
from hippy.wire.score import ScoreSheet
from tests.validator.audit_record import (
    AUDITED,
    PIECE_BYTES,
    TEMPO,
    HonestValidator,
    Miner,
    record_of,
    time_of,
    verify_and_remark,
    verify_record,
)
from tests.validator.releases_written import released
from tests.validator.world import ACCOUNT, HOME, STRANGER, unsigned_segment

FRIEND_KEY = AUDITED[0].public_key
PACE = pace_of(float(TEMPO))


async def difference(validator: HonestValidator, **changes: Any) -> Difference:
    """What a stranger finds in the record of a validator that lies."""
    record = await record_of(validator)
    with pytest.raises(Difference) as caught:
        verify_record(record, **changes)
    return caught.value


def drop_of(segment_id: SegmentId, time: int, *, signer: Identity = ACCOUNT, account: Identity = ACCOUNT) -> Drop:
    """An account's word that it needs a segment no longer."""
    return Drop(account=account.public_key, segment_id=segment_id, time=time).signed(signer, HOME.network)


def segment_of(reader: Reader, root: Root) -> SegmentId:
    """The account's segment for which the friend holds a piece."""
    return next(
        piece.segment_id for piece in holdings_of(reader, FRIEND_KEY, root) if piece.account == ACCOUNT.public_key
    )


class Releases(HonestValidator):
    """A segment is deleted in epoch 11; the friend, away then, is asked again in 12, when its piece is thrown away."""

    released_in = 11
    grace_seconds = PACE.drop_grace_seconds

    def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
        if header.epoch == self.released_in:
            self.seq = position(txn).seq
            self.release(txn, segment_of(txn, min(self.friend.pieces)), header.time)
        if header.epoch == 12:
            self.friend.gone.add(min(self.friend.pieces))

    def is_answered(self, key: BatchKey, attempt: int) -> bool:
        return (key.epoch, key.miner, attempt) != (11, FRIEND_KEY, 0)

    @property
    def friend(self) -> Miner:
        return self.miners[FRIEND_KEY]

    def release(self, txn: Transaction, segment_id: SegmentId, now: int) -> None:
        self.last = self.body(segment_id, now)
        released(txn, self.last, now)

    def body(self, segment_id: SegmentId, now: int) -> SegmentReleased:
        drop = drop_of(segment_id, now - self.grace_seconds)
        return SegmentReleased(segment_id=segment_id, reason="deleted", drop=drop)

    def voids(self, txn: Transaction, key: BatchKey, request: AuditRequest) -> tuple[Void, ...]:
        return tuple(
            Void(place, VoidReason.ENDED, reference)
            for place, reference in enumerate(self.references(txn, key, request))
            if reference is not None
        )

    def references(self, txn: Reader, key: BatchKey, request: AuditRequest) -> Sequence[bytes | None]:
        """By which release each entry is void, if it is."""
        return [self.excuse(txn, key, root) for root, _ in request.entries]

    def excuse(self, reader: Reader, key: BatchKey, root: Root) -> bytes | None:
        """By which release a piece that is not there excuses its miner."""
        since, asked = (self.record.headers[epoch].heads[0].seq for epoch in (key.epoch, max(self.record.headers)))
        is_gone = root in self.miners[key.miner].gone
        return released_at(reader, key.miner, root, since, by_seq=asked) if is_gone else None


class ReleasesLate(Releases):
    """The segment is deleted in epoch 12, behind its header, when the friend's piece is not there any more."""

    released_in = 12


class TestReleases:
    async def test_leaves_of_a_released_piece_that_are_not_shown_when_asked_again_are_void_and_match(self) -> None:
        matches = verify_record(await record_of(Releases()))
        assert matches[0].voids == 0, "nothing is void in the epoch of the release"
        assert matches[1].voids > 0
        assert (matches[1].leaves_bad, matches[1].leaves_ok) == (0, 1_024 - matches[1].voids)
        assert matches[2].voids == 0, "it is not asked for any more"

    async def test_released_bytes_count_no_more_from_the_record_on(self) -> None:
        record = await record_of(Releases())
        found = [{score.hotkey: score.paid_bytes for score in record.sheets[epoch].miners} for epoch in (10, 11)]
        assert found[0] == dict.fromkeys(found[0], 3 * PIECE_BYTES)
        assert found[1] == dict.fromkeys(found[1], 2 * PIECE_BYTES)

    async def test_a_sheet_that_pays_for_released_bytes_is_named(self) -> None:
        class Pays(Releases):
            def sheet(self, txn: Transaction, epoch: int) -> ScoreSheet:
                return super().sheet(txn, epoch) if epoch != 11 else self.sheet_at(txn, epoch, self.seq)

        found = await difference(Pays())
        assert found.what == f"paid_bytes {2 * PIECE_BYTES} was expected, {3 * PIECE_BYTES} was found"

    async def test_a_batch_that_is_never_answered_costs_nothing_where_all_of_it_is_released(self) -> None:
        class Sleeps(Releases):
            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch == 11:
                    for root in sorted(self.friend.pieces):
                        self.release(txn, segment_of(txn, root), header.time)
                if header.epoch == 12:
                    self.friend.gone.update(self.friend.pieces)

            def is_answered(self, key: BatchKey, attempt: int) -> bool:
                never = (key.epoch, key.miner, key.number) == (11, FRIEND_KEY, 2)
                return not never and super().is_answered(key, attempt)

        record = await record_of(Sleeps(), last=16)
        matches = verify_record(record, (11, 12, 13, 14))
        assert [(match.failed_unanswered, match.leaves_bad) for match in matches[2:]] == [(0, 0), (1, 0)]
        assert matches[3].voids == 64

    async def test_a_miner_that_says_released_of_a_piece_that_it_owes_fails_and_loses_it(self) -> None:
        class Claims(HonestValidator):
            """The friend says of one piece that it was released."""

            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                friend, said = self.miners[FRIEND_KEY], ResponseEntry(Status.RELEASED, b"released")
                lost = min(friend.pieces)
                friend.answer_for = lambda root, leaf: said if root == lost else friend.pieces[root].show(leaf)

        record = await record_of(Claims())
        match = verify_record(record)[0]
        assert match.leaves_bad > 0
        scores = {score.hotkey: score for score in record.sheets[11].miners}
        assert scores[FRIEND_KEY].paid_bytes == 2 * PIECE_BYTES
        assert scores[FRIEND_KEY].leaves_bad == match.leaves_bad


class HeldTwice(Releases):
    """The friend's piece is in a segment of another account, too; ``both`` are released."""

    both = False

    def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
        if header.epoch == 10:
            roots = [min(self.friend.pieces), Root(b"x" * 32)]
            account = STRANGER.public_key
            again = unsigned_segment(900, {0: FRIEND_KEY}, roots, piece_length=PIECE_BYTES, account=account)
            self.again = again.record.segment_id
            record_segments(txn, HOME, [self.with_receipts(again)], header.time)
        super().before_epoch(txn, header)
        if header.epoch == self.released_in and self.both:
            drop = drop_of(self.again, header.time - self.grace_seconds, signer=STRANGER, account=STRANGER)
            self.last = SegmentReleased(segment_id=self.again, reason="deleted", drop=drop)
            released(txn, self.last, header.time)


class TestMadeUpVoids:
    async def test_a_void_with_a_reference_that_is_made_up_is_named(self) -> None:
        class MakesUp(Releases):
            def references(self, txn: Reader, key: BatchKey, request: AuditRequest) -> Sequence[bytes | None]:
                return [reference and b"r" * 32 for reference in super().references(txn, key, request)]

        found = await difference(MakesUp())
        assert (found.epoch, found.miner) == (11, FRIEND_KEY)
        assert f"is void by {(b'r' * 32).hex()}, but by the header of epoch 12 the log does not release" in found.what

    async def test_a_void_of_a_piece_that_was_never_released_is_named(self) -> None:
        class Spares(Releases):
            """The friend lost a live piece; what was released is another's."""

            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                super().before_epoch(txn, header)
                if header.epoch == 12:
                    self.friend.gone = {max(self.friend.pieces)}

            def references(self, txn: Reader, key: BatchKey, request: AuditRequest) -> Sequence[bytes | None]:
                seq = self.record.headers[key.epoch].heads[0].seq
                excuse, gone = released_at(txn, FRIEND_KEY, min(self.friend.pieces), seq), self.miners[key.miner].gone
                return [excuse if root in gone else None for root, _ in request.entries]

        assert "the log does not release every holding of its piece" in (await difference(Spares())).what

    async def test_a_void_of_a_leaf_that_was_shown_is_named(self) -> None:
        class Hides(Releases):
            """The miner still shows what was released, and is to have nothing of it."""

            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                super().before_epoch(txn, header)
                if header.epoch == 12:
                    self.friend.answer_for = lambda root, leaf: self.friend.pieces[root].show(leaf)

        found = await difference(Hides())
        assert (found.epoch, found.miner) == (11, FRIEND_KEY)
        assert found.what.endswith("or the leaf was shown")

    @pytest.mark.parametrize("epoch", [11, 12])
    async def test_a_void_by_a_release_that_followed_the_answer_is_named(self, epoch: int) -> None:
        class Colludes(ReleasesLate):
            """Account and validator excuse by it what the friend did not show of the batches of ``epoch``."""

            def excuse(self, reader: Reader, key: BatchKey, root: Root) -> bytes | None:
                seq = self.record.headers[key.epoch].heads[0].seq
                is_excused = key.epoch == epoch and root in self.miners[key.miner].gone
                return released_at(reader, key.miner, root, seq) if is_excused else None

        found = await difference(Colludes())
        assert (found.epoch, found.miner) == (epoch, FRIEND_KEY)
        assert "but by the header of epoch 12 the log does not release" in found.what

    async def test_a_piece_that_another_account_needs_is_no_reason_for_a_void(self) -> None:
        class Half(HeldTwice):
            def references(self, txn: Reader, key: BatchKey, request: AuditRequest) -> Sequence[bytes | None]:
                gone = self.miners[key.miner].gone
                return [self.last.id(HOME.network) if root in gone else None for root, _ in request.entries]

        assert "does not release every holding of its piece" in (await difference(Half())).what

    async def test_a_piece_that_no_account_needs_any_more_is_void_by_the_last_release(self) -> None:
        class Both(HeldTwice):
            both = True

        validator = Both()
        match = verify_record(await record_of(validator))[1]
        assert match.voids > 0
        assert match.leaves_bad == 0
        references = {void.reference for entry in validator.entries[12] for void in entry.voids}
        assert references == {validator.last.id(HOME.network)}

    async def test_a_release_that_is_not_honoured_is_named(self) -> None:
        class Frames(Releases):
            def voids(self, txn: Transaction, key: BatchKey, request: AuditRequest) -> tuple[Void, ...]:
                return ()

        found = await difference(Frames())
        assert (found.epoch, found.miner) == (11, FRIEND_KEY)
        assert "was owed no longer by release" in found.what
        assert found.what.endswith("when epoch 12 began, and yet it counts")

    async def test_what_was_not_shown_counts_when_its_release_came_behind_the_header(self) -> None:
        validator = ReleasesLate()
        assert verify_record(await record_of(validator))[1].leaves_bad > 0
        failed = {entry.epoch for entry in validator.entries[12] if entry.outcome is Outcome.FAIL}
        assert failed == {11, 12}, "of batches that were owed, and of the epoch's own"
        assert not any(entry.voids for entry in validator.entries[12])


class TestMadeUpReleases:
    async def test_a_release_without_a_drop_is_named(self) -> None:
        class Forgets(Releases):
            def body(self, segment_id: SegmentId, now: int) -> SegmentReleased:
                return SegmentReleased(segment_id=segment_id, reason="deleted")

        found = await difference(Forgets())
        assert found.what.startswith("the log does not hold: log record 5: a released segment carries a drop when")

    async def test_a_release_by_a_drop_that_somebody_else_signed_is_named(self) -> None:
        class Signs(Releases):
            def body(self, segment_id: SegmentId, now: int) -> SegmentReleased:
                drop = drop_of(segment_id, now - self.grace_seconds, signer=HOME.identity)
                return SegmentReleased(segment_id=segment_id, reason="deleted", drop=drop)

        assert "log record 5: " in (found := (await difference(Signs())).what)
        assert "signed" in found

    async def test_a_release_by_the_drop_of_another_account_is_named(self) -> None:
        class Colludes(Releases):
            def body(self, segment_id: SegmentId, now: int) -> SegmentReleased:
                drop = drop_of(segment_id, now - self.grace_seconds, signer=STRANGER, account=STRANGER)
                return SegmentReleased(segment_id=segment_id, reason="deleted", drop=drop)

        assert "an account that it does not belong to" in (await difference(Colludes())).what

    async def test_a_release_before_its_drop_has_waited_is_named(self) -> None:
        class Hurries(Releases):
            grace_seconds = PACE.drop_grace_seconds - 5

        found = await difference(Hurries())
        assert str(found) == "epoch 11: record 5 of the log releases a segment as deleted, 5 s too early"

    async def test_a_lease_that_lapses_too_early_is_named(self) -> None:
        class Lapses(Releases):
            def body(self, segment_id: SegmentId, now: int) -> SegmentReleased:
                return SegmentReleased(segment_id=segment_id, reason="lapsed")

        found = await difference(Lapses())
        waited = TEMPO + 1
        assert found.what.endswith(f"releases a segment as lapsed, {PACE.lease_seconds - waited} s too early")

    async def test_what_has_no_keep_until_does_not_expire(self) -> None:
        class Expires(Releases):
            def body(self, segment_id: SegmentId, now: int) -> SegmentReleased:
                return SegmentReleased(segment_id=segment_id, reason="expired")

        assert "without keep_until is released as expired" in (await difference(Expires())).what

    @pytest.mark.parametrize("early", [0, 5])
    async def test_what_expires_does_so_at_its_keep_until(self, early: int) -> None:
        class Expires(HonestValidator):
            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                roots = [Root(b"x" * 32), Root(b"y" * 32)]
                segment = unsigned_segment(900, {}, roots, piece_length=PIECE_BYTES)
                if header.epoch == 11:
                    record = segment.record.model_copy(update={"keep_until": time_of(TEMPO * 12) + early})
                    record_segments(txn, HOME, [replace(segment, record=record)], header.time)
                if header.epoch == 12:
                    body = SegmentReleased(segment_id=segment.record.segment_id, reason="expired")
                    released(txn, body, header.time)

        record = await record_of(Expires())
        if not early:
            assert len(verify_record(record)) == 3
            return
        with pytest.raises(Difference, match=r"epoch 12: record 6 of the log .* expired, 5 s too early") as caught:
            verify_record(record)
        assert caught.value.miner is None

    async def test_an_early_release_before_the_epochs_that_are_checked_is_told(self) -> None:
        class Hurries(Releases):
            grace_seconds = 0

        _, remarks = verify_and_remark(await record_of(Hurries()), (13,))
        early = PACE.drop_grace_seconds
        assert f"releases a segment as deleted, {early} s too early" in "; ".join(map(str, remarks))


@pytest.mark.parametrize(
    ("reason", "waited", "early"),
    [
        ("deleted", PACE.drop_grace_seconds, 0),
        ("deleted", 0, PACE.drop_grace_seconds),
        ("lapsed", PACE.lease_seconds, 0),
        ("lapsed", PACE.lease_seconds - 2, 2),
        ("expired", 0, 0),
        ("expired", -2, 2),
    ],
)
def test_how_early_a_release_is_follows_from_its_reason(reason: Reason, waited: int, early: int) -> None:
    release = FoundRelease(7, 1_000 + waited, reason, 1_000)
    assert release.seconds_early(PACE) == early
    found = list(early_releases([], [release._replace(time=release.time + early)], PACE))
    assert found == [], "nobody is named for a release that came in time"
