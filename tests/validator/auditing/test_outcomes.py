"""What an asking comes to in transcript, log and owed batches: all at once, and for exactly the pieces it was about."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hippy.hashing import digest
from hippy.ids import MessageId, Root
from hippy.kv import Reader
from hippy.proofs.evidence import Evidence, EvidenceEntry, encode_evidence
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.request import AuditRequest, Scope, encode_request, request_hash
from hippy.proofs.response import Status
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry, Void, VoidReason
from hippy.proofs.verify import Verdict, Verified
from hippy.testing.kv import MemoryDatabase
from hippy.validator.audit.batch import OpenBatch
from hippy.validator.audit.counting import leaves_of
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.auditing import epochs
from hippy.validator.auditing.outcomes import Question, Told, enter, is_passed, lost_roots, not_shown, told, voids_of
from hippy.validator.commit import record_segments
from hippy.validator.holdings import inventory_at
from hippy.validator.log import scan_log
from hippy.validator.losses import Reported
from hippy.validator.scoring import Leaves
from hippy.wire.log import Loss
from tests.validator.world import HOME, MINERS, NOW, unsigned_segment

MINER = MINERS[0].public_key
KEY = BatchKey(7, MINER, 2)
ROUND = 1_042
ROOTS = [Root(digest(bytes([number]))) for number in range(4)]
A, B, C, D = ROOTS
OK, LOST, WRONG, RELEASED = Verdict.OK, Verdict.LOST, Verdict.WRONG, Verdict.RELEASED
SCOPE = Scope(HOME.network, HOME.netuid, HOME.hotkey, MINER)
REPORT, RELEASE = MessageId(b"i" * 32), MessageId(b"e" * 32)


def question(roots: Sequence[Root] = (A, B, A, C), attempt: int = 0) -> Question:
    request = AuditRequest(7, 2, ROUND, attempt, b"t" * 32, tuple(PieceLeaf(root, 0) for root in roots))
    return Question(OpenBatch(KEY, ROUND, NOW, NOW + 0.9, NOW, attempt), request, (100,) * len(roots))


def verified(verdicts: Sequence[Verdict]) -> Verified:
    evidence = Evidence(b"q" * 32, tuple(EvidenceEntry(Status.LOST, 0, bytes(32)) for _ in verdicts))
    return Verified(tuple(verdicts), evidence, b"r" * 32, b"s" * 64, {})


def void(place: int) -> Void:
    return Void(place, VoidReason.REPORTED_LOST, REPORT)


def ended(place: int) -> Void:
    return Void(place, VoidReason.ENDED, RELEASE)


def entry(
    outcome: Outcome, verdicts: Sequence[Verdict] = (), voids: Sequence[int] = (), asked: Question | None = None
) -> Told:
    answer = verified(verdicts) if verdicts else None
    return told(asked or question(), SCOPE, outcome, answer, tuple(map(void, voids)))


class TestVoids:
    def test_a_piece_reported_in_an_earlier_round_is_void_wherever_it_is_asked(self) -> None:
        assert voids_of(question(), {A: Reported(ROUND - 1, REPORT)}, {}) == (void(0), void(2))

    def test_one_reported_in_the_batchs_round_or_later_is_not(self) -> None:
        reports = {A: Reported(ROUND, REPORT), B: Reported(ROUND + 1, REPORT)}
        assert voids_of(question(), reports, {}) == ()

    def test_a_released_piece_is_void_where_its_leaf_is_not_shown(self) -> None:
        releases = {A: RELEASE, C: RELEASE}
        assert voids_of(question(), {}, releases, [OK, WRONG, LOST, RELEASED]) == (ended(2), ended(3))

    def test_every_leaf_of_a_released_piece_is_void_where_nothing_was_answered(self) -> None:
        assert voids_of(question(), {}, {A: RELEASE}) == (ended(0), ended(2))

    def test_a_report_goes_before_a_release(self) -> None:
        reports = {A: Reported(ROUND - 1, REPORT), B: Reported(ROUND, REPORT)}
        assert voids_of(question(), reports, {A: RELEASE, B: RELEASE}) == (void(0), ended(1), void(2))

    def test_a_miner_that_says_released_of_what_is_not_is_not_right(self) -> None:
        assert voids_of(question(), {}, {}, [OK, RELEASED, OK, OK]) == ()
        assert not is_passed([OK, RELEASED, OK, OK], ())

    def test_pieces_are_not_shown_when_one_of_their_leaves_is_not(self) -> None:
        assert not_shown(question(), [OK, OK, LOST, OK]) == {A}
        assert not_shown(question(), ()) == {A, B, C}

    def test_a_batch_passes_when_every_entry_is_right_or_void(self) -> None:
        assert is_passed([OK, OK], ())
        assert not is_passed([OK, LOST], ())
        assert is_passed([WRONG, OK, LOST], [void(0), void(2)])
        assert not is_passed([WRONG, OK, LOST], [void(0)])


class TestTold:
    def test_an_entry_names_batch_request_and_when_it_was_asked(self) -> None:
        asked = question(attempt=3)
        made = told(asked, SCOPE, Outcome.SILENT, None, (void(1),))
        assert made.evidence == b""
        assert made.entry == TranscriptEntry(
            7,
            MINER,
            2,
            ROUND,
            3,
            NOW,
            Outcome.SILENT,
            request_hash(SCOPE, encode_request(asked.request)),
            voids=(void(1),),
        )

    def test_an_answer_is_told_with_its_signature_and_kept_as_evidence(self) -> None:
        answer = verified([OK, LOST, OK, WRONG])
        made = told(question(), SCOPE, Outcome.FAIL, answer, ())
        assert (made.entry.response_hash, made.entry.signature) == (b"r" * 32, b"s" * 64)
        assert made.entry.verdicts == (OK, LOST, OK, WRONG)
        assert made.evidence == encode_evidence(answer.evidence)


class TestLostRoots:
    @pytest.mark.parametrize(
        ("made", "expected"),
        [
            (entry(Outcome.FAIL, [OK, LOST, OK, WRONG]), (B, C)),
            (entry(Outcome.FAIL, [OK, OK, WRONG, OK]), (A,)),  # it shows one leaf of it and not the other
            (entry(Outcome.FAIL, [WRONG, WRONG, WRONG, LOST], voids=[0, 2]), (B, C)),
            (entry(Outcome.PASS, [OK, LOST, OK, OK], voids=[1]), ()),
            (entry(Outcome.SILENT), ()),
            (entry(Outcome.OFFLINE), ()),
            (entry(Outcome.UNKNOWN), ()),
        ],
    )
    @pytest.mark.parametrize("may_attest", [False, True])
    def test_an_answer_costs_exactly_the_pieces_that_were_not_shown(
        self, made: Told, expected: tuple[Root, ...], may_attest: bool
    ) -> None:
        assert lost_roots(question(), made.entry, may_attest=may_attest) == expected

    def test_no_answer_costs_all_but_voids_and_only_where_the_validator_may_say_so(self) -> None:
        made = entry(Outcome.FAIL, voids=[1])
        assert lost_roots(question(), made.entry, may_attest=False) == ()
        assert lost_roots(question(), made.entry, may_attest=True) == (A, C)


class World:
    """A miner with four pieces."""

    def __init__(self) -> None:
        self.database = MemoryDatabase()

    async def begin(self) -> None:
        segment = unsigned_segment(1, dict.fromkeys(range(4), MINER), ROOTS)
        await self.database.transact(lambda txn: record_segments(txn, HOME, [segment], NOW))

    async def enter(
        self, made: Told, owed: OpenBatch | None = None, *, may_attest: bool = True, epoch: int = 8
    ) -> None:
        await self.database.transact(
            lambda txn: enter(txn, HOME, epoch, question(), made, owed, may_attest=may_attest, now=NOW + 5)
        )

    async def losses(self) -> list[Loss]:
        found = await self.database.read(lambda reader: list(scan_log(reader)))
        return [each.loss for each in found if each.loss is not None]

    async def held(self) -> set[Root]:
        return set(await self.database.read(lambda reader: inventory_at(reader, MINER, 99)))


@pytest.fixture
async def world() -> World:
    world = World()
    await world.begin()
    return world


async def test_a_failed_answer_is_in_transcript_evidence_log_and_failures(world: World) -> None:
    made = entry(Outcome.FAIL, [OK, LOST, OK, WRONG])
    await world.enter(made)

    def check(reader: Reader) -> None:
        assert list(epochs.entries(reader, 8)) == [made.entry]
        assert epochs.evidence_page(reader, 8, 0, 10**6)[4:] == made.evidence
        (failure,) = epochs.failures_of(reader, MINER, 9)
        assert (failure.epoch, failure.batch, failure.kind, failure.bad) == (7, 2, "wrong", 2)
        assert (failure.time, failure.roots) == (NOW, (B, C))

    await world.database.read(check)
    (loss,) = await world.losses()
    assert (loss.reason, loss.epoch, loss.batch, loss.report) == ("failed", 7, 2, None)
    assert {piece.root for piece in loss.pieces} == {B, C}
    assert await world.held() == {A, D}


async def test_a_batch_that_failed_unanswered_costs_what_it_asked_for(world: World) -> None:
    await world.enter(entry(Outcome.FAIL, voids=[1]))
    (loss,) = await world.losses()
    assert (loss.reason, {piece.root for piece in loss.pieces}) == ("unanswered", {A, C})
    (failure,) = await world.database.read(lambda reader: epochs.failures_of(reader, MINER, 9))
    assert (failure.kind, failure.bad) == ("unanswered", 3)


async def test_without_stake_an_unanswered_batch_costs_no_piece_but_is_a_failure(world: World) -> None:
    await world.enter(entry(Outcome.FAIL), may_attest=False)
    assert await world.losses() == []
    assert await world.held() == set(ROOTS)
    (failure,) = await world.database.read(lambda reader: epochs.failures_of(reader, MINER, 9))
    assert (failure.kind, failure.bad, failure.roots) == ("unanswered", 4, (A, B, C))


async def test_a_failed_batch_about_pieces_that_are_gone_already_makes_no_record(world: World) -> None:
    made = entry(Outcome.FAIL, [OK, LOST, OK, OK])
    await world.enter(made)
    await world.enter(made, epoch=9)
    assert len(await world.losses()) == 1


async def test_a_batch_is_owed_until_it_is_settled(world: World) -> None:
    owed = OpenBatch(KEY, ROUND, NOW + 0.25, NOW + 0.5, NOW + 300.125, 1, 2, away=True)
    await world.enter(entry(Outcome.OFFLINE), owed)

    def kept(reader: Reader) -> list[OpenBatch]:
        return list(epochs.scan_owed(reader))

    assert await world.database.read(kept) == [owed]
    request = await world.database.read(lambda reader: epochs.get_owed(reader, KEY))
    assert request == (encode_request(question().request), question().lengths)
    await world.enter(entry(Outcome.PASS, [OK] * 4), None)
    assert await world.database.read(kept) == []
    assert await world.database.read(lambda reader: epochs.get_owed(reader, KEY)) is None
    assert await world.database.read(lambda reader: epochs.failures_of(reader, MINER, 9)) == ()


async def test_a_batch_that_stays_unanswered_costs_nothing_where_nothing_of_it_is_owed(world: World) -> None:
    voids = (ended(0), void(1), ended(2), ended(3))
    await world.enter(told(question(), SCOPE, Outcome.FAIL, None, voids))
    assert await world.losses() == []
    assert await world.held() == set(ROOTS)
    assert await world.database.read(lambda reader: epochs.failures_of(reader, MINER, 9)) == ()
    (kept,) = await world.database.read(lambda reader: list(epochs.entries(reader, 8)))
    assert leaves_of(kept, 4) == Leaves()
