"""What one asking came to, as the transcript tells it, and what follows for the registry (PROTOCOL §5.4, §5.5).

:func:`told` makes the transcript's entry, :func:`enter` stores it with everything that must change at the same time.
Which outcome it is, the engine says (hippy.validator.audit).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hippy.ids import MessageId, Root
from hippy.kv import Transaction
from hippy.proofs.evidence import encode_evidence
from hippy.proofs.request import AuditRequest, Scope, encode_request, request_hash
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry, Void, VoidReason
from hippy.proofs.verify import Verdict, Verified
from hippy.validator.audit.batch import OpenBatch
from hippy.validator.audit.counting import leaves_of
from hippy.validator.auditing.epochs import drop_owed, put_entry, put_failure, put_owed
from hippy.validator.log import Home
from hippy.validator.losses import Reported, record_loss
from hippy.wire.attestation import Attestation


@dataclass(frozen=True, slots=True)
class Question:
    """A batch with its request, and the length of the piece of every entry."""

    batch: OpenBatch
    request: AuditRequest
    lengths: tuple[int, ...]

    @property
    def roots(self) -> tuple[Root, ...]:
        """The piece of every entry."""
        return tuple(entry.root for entry in self.request.entries)

    @property
    def piece_lengths(self) -> dict[Root, int]:
        """The lengths by root."""
        return dict(zip(self.roots, self.lengths, strict=True))


@dataclass(frozen=True, slots=True)
class Told:
    """A transcript entry with the evidence of the answer, if there was one."""

    entry: TranscriptEntry
    evidence: bytes = b""


def not_shown(question: Question, verdicts: Sequence[Verdict]) -> set[Root]:
    """Return the pieces of which a leaf was not shown; all, where there is no answer and so no ``verdicts``."""
    shown = {place for place, verdict in enumerate(verdicts) if verdict is Verdict.OK}
    return {root for place, root in enumerate(question.roots) if place not in shown}


def voids_of(
    question: Question,
    reports: Mapping[Root, Reported],
    releases: Mapping[Root, MessageId],
    verdicts: Sequence[Verdict] = (),
) -> tuple[Void, ...]:
    """Return the entries about pieces that were reported lost in a round before the batch's, or released.

    ``releases`` are those before the epoch in which the batch was asked. A leaf of such a piece that is shown counts:
    the miner keeps what was released for a while. Without an answer there are no ``verdicts``.
    """
    voids = []
    shown = {place for place, verdict in enumerate(verdicts) if verdict is Verdict.OK}
    for place, root in enumerate(question.roots):
        report = reports.get(root)
        if report is not None and report.round < question.batch.round:
            voids.append(Void(place, VoidReason.REPORTED_LOST, report.report_id))
        elif root in releases and place not in shown:
            voids.append(Void(place, VoidReason.ENDED, releases[root]))
    return tuple(voids)


def is_passed(verdicts: Sequence[Verdict], voids: Sequence[Void]) -> bool:
    """Return whether every entry is right or void."""
    void = {each.entry for each in voids}
    return all(verdict is Verdict.OK or place in void for place, verdict in enumerate(verdicts))


def told(
    question: Question, scope: Scope, outcome: Outcome, verified: Verified | None, voids: tuple[Void, ...]
) -> Told:
    """Return the entry for an asking that was sent, answered or not."""
    request = question.request
    entry = TranscriptEntry(
        epoch=request.epoch,
        miner=scope.miner,
        batch=request.batch,
        round=request.round,
        attempt=request.attempt,
        time=int(question.batch.asked_time),
        outcome=outcome,
        request_hash=request_hash(scope, encode_request(request)),
        voids=voids,
        **({} if verified is None else _response(verified)),
    )
    return Told(entry, b"" if verified is None else encode_evidence(verified.evidence))


def _response(verified: Verified) -> dict[str, Any]:
    return {
        "response_hash": verified.response_hash,
        "signature": verified.signature,
        "verdicts": verified.verdicts,
    }


def lost_roots(question: Question, entry: TranscriptEntry, *, may_attest: bool) -> tuple[Root, ...]:
    """Return the pieces that a failed batch costs: those not shown, or all where the validator may say so alone."""
    if entry.outcome is not Outcome.FAIL or not (entry.answered or may_attest):
        return ()
    void = {each.entry for each in entry.voids}
    shown = {place for place, verdict in enumerate(entry.verdicts) if verdict is Verdict.OK}
    return tuple(dict.fromkeys(root for place, root in enumerate(question.roots) if place not in void | shown))


def enter(
    txn: Transaction,
    home: Home,
    epoch: int,
    question: Question,
    told: Told,
    owed: OpenBatch | None,
    *,
    may_attest: bool,
    attestations: Sequence[Attestation] = (),
    now: int,
) -> None:
    """Store an outcome in the transcript of ``epoch``; ``owed`` is the batch as it is to be asked again, or None.

    Where we may not say alone that a miner is silent, ``attestations`` are those of others that are enough.
    """
    entry, key = told.entry, question.batch.key
    put_entry(txn, epoch, entry, told.evidence)
    if owed is None:
        drop_owed(txn, key)
    else:
        put_owed(txn, owed, encode_request(question.request), question.lengths)
    if entry.outcome is not Outcome.FAIL:
        return
    bad = leaves_of(entry, len(question.roots)).bad
    if not bad:
        return  # unanswered to the end, and nothing of it was owed any more
    roots = lost_roots(question, entry, may_attest=True)
    put_failure(txn, key, entry.time, bad, roots, answered=entry.answered)
    lost = lost_roots(question, entry, may_attest=may_attest or bool(attestations))
    if lost:
        record_loss(
            txn,
            home,
            key.miner,
            lost,
            reason="failed" if entry.answered else "unanswered",
            now=now,
            epoch=key.epoch,
            batch=key.number,
            attestations=attestations,
        )
