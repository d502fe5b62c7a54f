"""A validator that audits a few miners for a few epochs and publishes everything, for tests of who checks it.

Real identities, pieces, proofs, log and sheets; no sockets and no time. Each lie is a subclass that overrides one
method, so that all that follows from the lie is as a liar would publish it: signed and chained.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from random import Random
from typing import Any

from blake3 import blake3

from hippy.chain.protocol import Metagraph, Neuron
from hippy.hashing import keyed, u64
from hippy.identity import Identity, verify
from hippy.ids import ZERO_ID, MessageId, PublicKey, Root
from hippy.kv import Reader, Transaction
from hippy.proofs.challenge import draw_request, seed_commit
from hippy.proofs.evidence import encode_evidence, evidence_of, response_hash
from hippy.proofs.request import AuditRequest, Scope, encode_request, request_hash
from hippy.proofs.response import AuditResponse, ResponseEntry, Status, encode_response
from hippy.proofs.transcript import Transcript, TranscriptScope, encode_transcript, transcript_root
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry, Void, VoidReason
from hippy.proofs.verify import Verdict, verify_response
from hippy.testing.clock import START_SECONDS
from hippy.testing.kv import MemoryDatabase
from hippy.validator.audit.counting import leaves_by_miner
from hippy.validator.audit.rules import rules_for
from hippy.validator.audit.schedule import BatchKey, Scheduled, schedule
from hippy.validator.commit import record_segments
from hippy.validator.holdings import bytes_at, holders_at, inventory_at
from hippy.validator.log import CommittedSegment, append, position, read_page
from hippy.validator.losses import record_loss, reported
from hippy.validator.placement import epoch_secret
from hippy.validator.scoring import Tally, score_rules_for
from hippy.validator.sheets import EpochFacts, is_escalated, make_sheet
from hippy.validator.tables import claim
from hippy.validator.verifying.difference import Remark
from hippy.validator.verifying.epoch import Verification
from hippy.validator.verifying.headers import HeaderChain
from hippy.validator.verifying.log import LogReading
from hippy.validator.verifying.order import Asking
from hippy.validator.verifying.sheet import Registration
from hippy.validator.verifying.terms import EpochMatch, Terms
from hippy.validator.verifying.timing import Moment
from hippy.wire.attestation import Attestation
from hippy.wire.audit import EpochHeader, HeadName, LostReport
from hippy.wire.log import LogPage, LossReason
from hippy.wire.score import ScoreRules, ScoreSheet
from hippy.wire.segment import Holding, SegmentRecord
from hippy.wire.ticket import PayClass
from tests.proofs.audit_world import Piece
from tests.validator.world import HOME, MINERS, TERMS, unsigned_segment

TEMPO = 40
"""Blocks, seconds and beacon rounds of an epoch: with blocks of a second an epoch begins at START_SECONDS + 40 e."""

FIRST, LAST = 10, 14
"""Epochs with a header: the first has none before it to commit to its secret, the last is not over."""

BEACON_SECRET = b"s" * 32
RULES = rules_for(float(TEMPO))
AUDITED = MINERS[:3]
COLDKEY = PublicKey(b"c" * 32)
PIECE_BYTES = 20_000
"""Two leaves."""

TALLY = Tally(live_ok=6, live_total=6, reads_ok=2, reads_total=2, read_bytes=40_000, read_microseconds=4_000)


def beacon(beacon_round: int) -> bytes:
    """As a local chain has it."""
    return keyed(BEACON_SECRET, u64(beacon_round))


def metagraph_at(epoch: int) -> Metagraph:
    """The validator is uid 0, the miners 1, 2 and 3; all since block 0."""
    hotkeys = [HOME.hotkey, *(miner.public_key for miner in MINERS)]
    neurons = (Neuron(uid, hotkey, COLDKEY, None, uid == 0, 1, 0, 0.0) for uid, hotkey in enumerate(hotkeys))
    return Metagraph(block=epoch * TEMPO, tempo_blocks=TEMPO, neurons=tuple(neurons))


@cache
def piece(number: int) -> Piece:
    """A piece of two leaves."""
    return Piece(blake3(f"piece {number}".encode()).digest(length=PIECE_BYTES))


@dataclass
class Miner:
    """A miner that answers for what it has; roots in ``gone`` it lost."""

    identity: Identity
    pieces: dict[Root, Piece] = field(default_factory=dict)
    gone: set[Root] = field(default_factory=set)
    answer_for: Callable[[Root, int], ResponseEntry] | None = None
    """What it answers for a leaf, in place of what it has."""

    def answer(self, request: AuditRequest, scope: Scope) -> bytes:
        entries = [self._entry(root, leaf) for root, leaf in request.entries]
        bound_to = request_hash(scope, encode_request(request))
        signed = response_hash(evidence_of(bound_to, entries))
        response = AuditResponse(bound_to, tuple(entries), signed, self.identity.sign(signed))
        return b"".join(bytes(part) for part in encode_response(response))

    def _entry(self, root: Root, leaf: int) -> ResponseEntry:
        if self.answer_for is not None:
            return self.answer_for(root, leaf)
        return ResponseEntry(Status.LOST) if root in self.gone else self.pieces[root].show(leaf)


@dataclass
class Record:
    """What is published, by epoch; ``pages`` of the log."""

    headers: dict[int, EpochHeader] = field(default_factory=dict)
    transcripts: dict[int, bytes] = field(default_factory=dict)
    evidence: dict[int, list[bytes]] = field(default_factory=dict)
    sheets: dict[int, ScoreSheet] = field(default_factory=dict)
    pages: list[LogPage] = field(default_factory=list)


@dataclass
class Asked:
    """A batch that is not settled."""

    request: AuditRequest
    attempt: int
    silences: int
    first_time: int


class HonestValidator:
    """Does everything as PROTOCOL §5 and §6 have it; tests override what a liar does otherwise."""

    asleep: Collection[int] = ()
    """Epochs through which it sleeps."""

    def __init__(self) -> None:
        self.miners = {miner.public_key: Miner(miner) for miner in AUDITED}
        self.record = Record()
        self.entries: dict[int, list[TranscriptEntry]] = {}
        self.owed: dict[BatchKey, Asked] = {}
        self.lengths: dict[Root, int] = {}
        """Of every piece that was ever in an inventory."""

        self.segments = 0
        self.now = time_of(TEMPO * FIRST) - 1
        """When the log is written to."""

    def publish(self, txn: Transaction, last: int = LAST) -> Record:
        """Live through the epochs and return what was published."""
        claim(txn, HOME.network, HOME.hotkey)
        append(txn, HOME, [TERMS], self.now)
        for _ in range(3):
            self.commit(txn, list(self.miners.values()))
        for epoch in range(FIRST, last + 1):
            if epoch in self.asleep:
                continue
            header = self.signed_header(self.header(txn, epoch))
            self.record.headers[epoch] = header
            self.now = time_of(TEMPO * epoch)
            if epoch < last:
                self.entries[epoch], self.record.evidence[epoch] = [], []
                self.audit(txn, header)
                self.close(txn, header)
        self.record.pages = list(pages_of(txn))
        return self.record

    def commit(self, txn: Transaction, miners: list[Miner], *, pay_class: PayClass = "paid") -> list[Root]:
        """Record a new segment with a piece for each of these miners, and return the roots."""
        pieces = [piece(3 * self.segments + number) for number in range(len(miners))]
        self.segments += 1
        for miner, each in zip(miners, pieces, strict=True):
            miner.pieces[each.root] = each
        holders = {index: miner.identity.public_key for index, miner in enumerate(miners)}
        roots = [each.root for each in pieces]
        segment = unsigned_segment(self.segments, holders, roots, piece_length=PIECE_BYTES, pay_class=pay_class)
        record_segments(txn, HOME, [self.with_receipts(segment)], self.now)
        return roots

    def with_receipts(self, segment: CommittedSegment) -> CommittedSegment:
        """Return a segment whose holdings their miners have signed, each for a ticket of its own."""
        record = segment.record
        holdings = tuple(self.with_receipt(record, holding) for holding in record.holdings)
        return replace(segment, record=record.model_copy(update={"holdings": holdings}))

    def with_receipt(self, record: SegmentRecord, holding: Holding) -> Holding:
        """Return a holding with its miner's signature."""
        ticket = MessageId(blake3(record.segment_id + bytes([holding.index])).digest())
        unsigned = holding.model_copy(update={"ticket_id": ticket, "time": self.now})
        receipt = unsigned.receipt(record.spec.roots[holding.index], record.spec.piece_length)
        signed = receipt.signed(self.miners[holding.miner].identity, HOME.network)
        return unsigned.model_copy(update={"signature": signed.signature})

    def report_lost(self, txn: Transaction, miner: Miner, root: Root, beacon_round: int) -> LostReport:
        """The miner lost a piece and says so when ``beacon_round`` is the newest."""
        miner.gone.add(root)
        hotkey = miner.identity.public_key
        unsigned = LostReport(miner=hotkey, validator=HOME.hotkey, roots=(root,), time=time_of(beacon_round))
        report = unsigned.signed(miner.identity, HOME.network)
        now = time_of(beacon_round)
        record_loss(txn, HOME, hotkey, [root], reason="reported", now=now, report=report, beacon_round=beacon_round)
        return report

    # What happens in an epoch.

    def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
        """Called when a header is there and nothing was asked."""

    def audit(self, txn: Transaction, header: EpochHeader) -> None:
        """Ask what is owed, and then every batch of the epoch in order."""
        self.before_epoch(txn, header)
        epoch = header.epoch
        for key, asked in sorted(self.owed.items()):
            self.owed[key] = replace(asked, attempt=asked.attempt + 1)
            self.ask(txn, epoch, key, time_of(header.first_round + 1))
        for due in self.planned(header):
            self.owed[due.key] = Asked(self.draw(txn, due), 0, 0, time_of(due.round))
            self.ask(txn, epoch, due.key, time_of(due.round))

    def planned(self, header: EpochHeader) -> list[Scheduled]:
        """Return the batches of an epoch."""
        if not header.is_committed:
            return []
        before = self.record.sheets[max(self.record.sheets)]
        return schedule(
            self.secret(header.epoch),
            epoch=header.epoch,
            first_round=header.first_round,
            rounds=header.rounds,
            batches={
                miner: RULES.batches_of(escalated=self.is_escalated(before, miner, header.epoch))
                for miner in self.inventories
            },
        )

    def is_escalated(self, before: ScoreSheet, miner: PublicKey, epoch: int) -> bool:
        return is_escalated(before, miner, epoch)

    def draw(self, txn: Transaction, due: Scheduled) -> AuditRequest:
        """Return the first request of a batch."""
        epoch, miner, number = due.key
        return draw_request(
            self.secret(epoch),
            beacon(due.round),
            validator=HOME.hotkey,
            miner=miner,
            epoch=epoch,
            batch=number,
            beacon_round=due.round,
            attempt=0,
            inventory=self.inventories[miner],
            count=RULES.batch_leaves,
        )

    def is_answered(self, key: BatchKey, attempt: int) -> bool:
        """Whether an asking is answered; one that is not counts as silent."""
        return True

    def ask(self, txn: Transaction, epoch: int, key: BatchKey, time: int) -> None:
        """Ask a batch and enter what comes of it."""
        asked = self.owed[key]
        request = replace(asked.request, attempt=asked.attempt)
        body = encode_request(request)
        fields: dict[str, Any] = {
            "epoch": key.epoch,
            "miner": key.miner,
            "batch": key.number,
            "round": request.round,
            "attempt": request.attempt,
            "time": time,
            "request_hash": request_hash(self.scope(key.miner), body),
            "voids": self.voids(txn, key, request),
        }
        if not self.is_answered(key, asked.attempt):
            failed = asked.silences == RULES.silences_max
            outcome = Outcome.FAIL if failed else Outcome.SILENT
            self.owed[key] = replace(asked, silences=asked.silences + 1)
            self.enter(txn, epoch, TranscriptEntry(**fields, outcome=outcome), b"", request)
            return
        answer = self.miners[key.miner].answer(request, self.scope(key.miner))
        verified = verify_response(request, self.scope(key.miner), self.lengths, answer, verify)
        void = {each.entry for each in fields["voids"]}
        passed = all(verdict is Verdict.OK or place in void for place, verdict in enumerate(verified.verdicts))
        fields["verdicts"] = verified.verdicts
        fields["response_hash"], fields["signature"] = verified.response_hash, verified.signature
        entry = TranscriptEntry(**fields, outcome=Outcome.PASS if passed else Outcome.FAIL)
        self.enter(txn, epoch, entry, encode_evidence(verified.evidence), request)

    def voids(self, txn: Transaction, key: BatchKey, request: AuditRequest) -> tuple[Void, ...]:
        """Return the entries whose loss was reported before the batch's round."""
        head_seq = self.record.headers[key.epoch].heads[0].seq
        reports = reported(txn, key.miner, {root for root, _ in request.entries}, after_seq=head_seq)
        return tuple(
            Void(place, VoidReason.REPORTED_LOST, reports[root].report_id)
            for place, (root, _) in enumerate(request.entries)
            if root in reports and reports[root].round < request.round
        )

    def told(self, entry: TranscriptEntry) -> TranscriptEntry:
        """Return an entry as it is entered."""
        return entry

    def loses(self, entry: TranscriptEntry) -> bool:
        """Whether a failed entry costs its pieces."""
        return True

    def enter(
        self, txn: Transaction, epoch: int, found: TranscriptEntry, evidence: bytes, request: AuditRequest
    ) -> None:
        """Enter an asking in the transcript of ``epoch``, with what follows from it."""
        entry = self.told(found)
        key = BatchKey(entry.epoch, entry.miner, entry.batch)
        self.entries[epoch].append(entry)
        self.record.evidence[epoch].append(evidence if entry.answered else b"")
        if entry.settled:
            self.owed.pop(key, None)
        if entry.outcome is Outcome.FAIL and self.loses(entry):
            void = {each.entry for each in entry.voids}
            right = {place for place, verdict in enumerate(entry.verdicts) if verdict is Verdict.OK}
            roots = {root for place, (root, _) in enumerate(request.entries) if place not in void | right}
            reason: LossReason = "failed" if entry.answered else "unanswered"
            record_loss(
                txn,
                HOME,
                key.miner,
                roots,
                reason=reason,
                now=entry.time,
                epoch=key.epoch,
                batch=key.number,
                attestations=() if entry.answered else self.attestations(entry),
            )

    def attestations(self, entry: TranscriptEntry) -> Sequence[Attestation]:
        """Return what others say of a miner that never answered."""
        return ()

    # What is said of an epoch.

    def secret(self, epoch: int) -> bytes:
        return epoch_secret(b"validator secret".ljust(32), epoch)

    def revealed(self, epoch: int) -> bytes:
        return self.secret(epoch)

    def first_round(self, epoch: int) -> int:
        return TEMPO * epoch

    def header(self, txn: Transaction, epoch: int) -> EpochHeader:
        """Return the header of an epoch, unsigned, and take the inventories as of it."""
        at, before = position(txn), self.record.headers.get(max(self.record.headers, default=0))
        self.inventories = {miner: inventory_at(txn, miner, at.seq) for miner in holders_at(txn, at.seq)}
        self.lengths |= {root: length for held in self.inventories.values() for root, length in held.items()}
        blank = EpochHeader(
            network=HOME.network,
            netuid=HOME.netuid,
            validator=HOME.hotkey,
            epoch=epoch,
            time=time_of(TEMPO * epoch),
            seed_commit=seed_commit(self.secret(epoch + 1)),
            prev_header=MessageId(ZERO_ID),
            first_round=self.first_round(epoch),
            rounds=0,
            heads=(HeadName(home=HOME.hotkey, term=1, seq=at.seq, head=at.head),),
        )
        if before is None:
            return blank
        transcript = self.transcript(before.epoch)
        return blank.model_copy(
            update={
                "prev_header": before.id(HOME.network),
                "prev_epoch": before.epoch,
                "revealed": self.revealed(before.epoch),
                "transcript_root": transcript_root(transcript),
                "sheet_id": self.record.sheets[before.epoch].id(HOME.network),
                "rounds": TEMPO if before.epoch + 1 == epoch else 0,
            }
        )

    def signed_header(self, header: EpochHeader) -> EpochHeader:
        return header.signed(HOME.identity, HOME.network)

    def transcript(self, epoch: int) -> Transcript:
        scope = TranscriptScope(HOME.network, HOME.netuid, HOME.hotkey, epoch)
        return Transcript(scope, tuple(self.entries[epoch]))

    def close(self, txn: Transaction, header: EpochHeader) -> None:
        """Publish the transcript and the sheet of an epoch."""
        epoch = header.epoch
        self.record.transcripts[epoch] = encode_transcript(self.transcript(epoch))
        self.record.sheets[epoch] = self.scored(self.sheet(txn, epoch))

    def sheet(self, txn: Transaction, epoch: int) -> ScoreSheet:
        """Return the sheet of an epoch."""
        return self.usual(txn, epoch)

    def usual(self, txn: Transaction, epoch: int) -> ScoreSheet:
        """Return the sheet of an epoch as the protocol has it."""
        return self.sheet_at(txn, epoch, position(txn).seq)

    def with_rules(self, txn: Transaction, epoch: int, **changes: int) -> ScoreSheet:
        """Return the sheet of an epoch by other rules, which it states."""
        return self.sheet_at(txn, epoch, position(txn).seq, score_rules_for(RULES).model_copy(update=changes))

    def sheet_at(self, txn: Transaction, epoch: int, seq: int, rules: ScoreRules | None = None) -> ScoreSheet:
        """Return the sheet of an epoch as of a record of the log."""
        return make_sheet(
            self.record.sheets.get(max(self.record.sheets, default=0)),
            EpochFacts(
                held={miner: bytes_at(txn, miner, seq) for miner in holders_at(txn, seq)},
                leaves=leaves_by_miner(self.entries[epoch], RULES.batch_leaves),
                tallies=dict.fromkeys(self.miners, TALLY),
            ),
            metagraph_at(next(each for each in count(epoch + 1) if each not in self.asleep)),
            score_rules_for(RULES) if rules is None else rules,
            network=HOME.network,
            netuid=HOME.netuid,
            validator=HOME.hotkey,
            epoch=epoch,
        )

    def scored(self, sheet: ScoreSheet) -> ScoreSheet:
        """Return a sheet as it is published."""
        return sheet

    def scope(self, miner: PublicKey) -> Scope:
        return Scope(HOME.network, HOME.netuid, HOME.hotkey, miner)


def time_of(beacon_round: int) -> int:
    """When a round's beacon becomes known."""
    return int(START_SECONDS) + beacon_round


def registered(uid: int, since_epoch: int = 1) -> Registration:
    """A registration of which everybody knows an epoch later."""
    return Registration(uid, since_epoch, COLDKEY, time_of(TEMPO * (since_epoch + 1)))


def pages_of(reader: Reader) -> Iterator[LogPage]:
    """Yield the pages of the log."""
    seq = 0
    while (page := read_page(reader, seq)).entries:
        yield page
        seq = page.entries[-1].record.seq


async def record_of(validator: HonestValidator, last: int = LAST) -> Record:
    """Return what a validator publishes."""
    return await MemoryDatabase().transact(lambda txn: validator.publish(txn, last))


def read_log(record: Record) -> LogReading:
    """Return the log as a stranger has read it."""
    log = LogReading(HOME.network, HOME.hotkey)
    for page in record.pages:
        log.add(page)
    return log


def verify_record(record: Record, epochs: Sequence[int] = (11, 12, 13), **changes: Any) -> list[EpochMatch]:
    """Verify a record as who fetches it does, epoch by epoch."""
    return verify_and_remark(record, epochs, **changes)[0]


def verify_and_remark(
    record: Record, epochs: Sequence[int] = (11, 12, 13), **changes: Any
) -> tuple[list[EpochMatch], list[Remark]]:
    """Verify a record in the middle of its last epoch, with what was asked before; ``changes`` are of the terms."""
    headers = HeaderChain(HOME.network, HOME.netuid, HOME.hotkey)
    for _, header in sorted(record.headers.items(), reverse=True):
        headers.add(header)
    last = max(record.headers)
    terms = Terms(
        network=HOME.network,
        netuid=HOME.netuid,
        validator=HOME.hotkey,
        rules=RULES,
        epoch_seconds=float(TEMPO),
        rounds=TEMPO,
        registrations={miner.public_key: registered(uid) for uid, miner in enumerate(MINERS, 1)},
        moment=Moment(time=time_of(TEMPO * last + TEMPO // 2), epoch=last, round=TEMPO * last + TEMPO // 2),
        may_attest=True,
        rng=Random(1),
    )
    before = record.sheets.get(max((epoch for epoch in record.sheets if epoch < epochs[0]), default=0))
    verification = Verification(replace(terms, **changes), headers, read_log(record), before)
    verification.check_frame(epochs[0])
    for epoch in sorted(epoch for epoch in record.transcripts if epoch < epochs[0] and epoch in record.headers):
        earlier = verification.read_transcript(epoch, record.transcripts[epoch])
        verification.take_earlier(epoch, list(map(Asking.of, earlier.entries)))
    matches = []
    for epoch in epochs:
        check = verification.open_epoch(verification.read_transcript(epoch, record.transcripts[epoch]))
        check.begin({each: beacon(each) for each in check.rounds})
        check.take_evidence(record.evidence[epoch])
        matches.append(check.close(record.sheets[epoch]))
    verification.finish()
    return matches, verification.remarks()
