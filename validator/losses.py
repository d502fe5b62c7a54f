"""Pieces that a miner lost while it stays: its own reports and failed audits (PROTOCOL §5.1, §5.5).

:func:`check_report` is slow (a signature) and belongs before the transaction, :func:`record_loss` in it. What a report
costs is the bytes; :func:`reported` says which roots an audit need not hold against the miner.

Invariant: a report voids questions only about holdings that it ended. So it is looked up behind the head from which an
audit's inventory was drawn (``after_seq``): a miner that reports a piece and is given it again owes it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hippy.errors import AuthError, ProtocolError
from hippy.hashing import u64
from hippy.ids import MessageId, PublicKey, Root
from hippy.kv import Reader, Transaction
from hippy.validator.held import HeldPiece
from hippy.validator.holdings import end_pieces, holdings_of
from hippy.validator.log import Home, append
from hippy.validator.tables import REPORTED, ordered
from hippy.wire.attestation import Attestation
from hippy.wire.audit import LostReport
from hippy.wire.canonical import check_time
from hippy.wire.log import LOST_PIECES_MAX, Loss, LossReason, LostPiece


class Reported(NamedTuple):
    """When a loss was reported, as the newest beacon round then, and by which report."""

    round: int
    report_id: MessageId


def check_report(report: LostReport, home: Home, now: float) -> None:
    """Check that a miner sent us this report just now.

    Raises AuthError when it is another validator's or not signed by its miner, ProtocolError for a time too far from
    ours or a root named twice.
    """
    if report.validator != home.hotkey:
        raise AuthError("the lost report is addressed to another validator")
    report.check_signature(report.miner, home.network)
    check_time(report.time, now)
    if len(set(report.roots)) != len(report.roots):
        raise ProtocolError("a lost report names each root once")


def record_loss(  # noqa: PLR0913 - what a record tells, by its reason
    txn: Transaction,
    home: Home,
    miner: PublicKey,
    roots: Iterable[Root],
    *,
    reason: LossReason,
    now: int,
    report: LostReport | None = None,
    beacon_round: int | None = None,
    epoch: int | None = None,
    batch: int | None = None,
    attestations: Sequence[Attestation] = (),
) -> int:
    """Record that a miner holds these roots no more, for any segment, and return how many holdings that ended.

    ``reported`` takes the report and the newest beacon round, the other reasons the batch, and ``unanswered`` the
    attestations of other validators where our word alone is not enough. There is a record for every
    1,024 holdings, and none when the miner holds nothing of this.
    """
    pieces = [piece for root in sorted(set(roots)) for piece in holdings_of(txn, miner, root)]
    portions = [pieces[start : start + LOST_PIECES_MAX] for start in range(0, len(pieces), LOST_PIECES_MAX)]
    losses = [
        Loss(
            miner=miner,
            reason=reason,
            pieces=_named(portion),
            report=report,
            round=beacon_round,
            epoch=epoch,
            batch=batch,
            attestations=tuple(attestations) or None,
        )
        for portion in portions
    ]
    for loss in losses:
        loss.check_shape()
    last_seq = append(txn, home, losses, now)
    for seq, loss in enumerate(losses, last_seq - len(losses) + 1):
        fold_loss(txn, loss, seq, home.network)
    return len(pieces)


def fold_loss(txn: Transaction, loss: Loss, seq: int, network: bytes) -> None:
    """End the holdings that the log's record ``seq`` names; all of them must be held."""
    end_pieces(txn, loss.miner, loss.pieces, seq)
    if loss.report is not None and loss.round is not None:
        _note_reported(txn, loss.pieces, seq, loss.miner, Reported(loss.round, loss.report.id(network)))


def reported(reader: Reader, miner: PublicKey, roots: Iterable[Root], *, after_seq: int = 0) -> dict[Root, Reported]:
    """Return which of these roots a miner reported lost behind the log's record ``after_seq``, and when first."""
    found = {}
    for root in roots:
        key = REPORTED + miner + root
        row = next(reader.scan(key, key + ordered(after_seq)), None)
        if row is not None:
            found[root] = Reported(int.from_bytes(row[1][:8], "little"), MessageId(row[1][8:]))
    return found


def _named(pieces: Sequence[HeldPiece]) -> tuple[LostPiece, ...]:
    return tuple(LostPiece(segment_id=piece.segment_id, index=piece.index, root=piece.root) for piece in pieces)


def _note_reported(txn: Transaction, pieces: Iterable[LostPiece], seq: int, miner: PublicKey, report: Reported) -> None:
    for piece in pieces:
        txn.put(REPORTED + miner + piece.root + ordered(seq), u64(report.round) + report.report_id)
