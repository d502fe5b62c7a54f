"""Whether the log's losses are those that audits came to (PROTOCOL §5.5). Pure.

A leaf that was not shown loses its piece, a friend's too; and nobody loses a piece by a batch that did not fail. A
validator writes outcome and loss at once, so both lie between the same two headers.

Example::

    check_lost(epoch, epoch_check.failed, headers, log)
    check_losses(epoch, log.losses, epoch_check.failed, headers)
"""

from __future__ import annotations

from collections.abc import Mapping

from hippy.ids import PublicKey, Root
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.verifying.difference import Difference
from hippy.validator.verifying.headers import HeaderChain, log_head
from hippy.validator.verifying.log import LogReading
from hippy.wire.log import LossReason

Failed = Mapping[tuple[BatchKey, LossReason], set[Root]]
"""By batch, the roots that it failed by, answered wrong or not at all."""


def check_lost(epoch: int, failed: Failed, headers: HeaderChain, log: LogReading) -> None:
    """Check that every piece of which a leaf was not shown in ``epoch`` was lost when it ended.

    Raises Difference naming the first that was still held.
    """
    end_seq = log_head(headers.after(epoch)).seq
    for (key, reason), roots in failed.items():
        if reason != "failed":
            continue  # whether an unanswered batch costs pieces depends on the validator's stake
        seq = log_head(headers.header(key.epoch)).seq
        kept = _holdings(log, key.miner, roots, seq) & _holdings(log, key.miner, roots, end_seq)
        if kept:
            root = min(root for root, _, _ in kept)
            raise Difference(
                f"a leaf of piece {root.hex()} was not shown, so its loss was expected in the log, and is not there",
                epoch=key.epoch,
                miner=key.miner,
                batch=key.number,
            )


def check_losses(epoch: int, failed: Failed, headers: HeaderChain, log: LogReading) -> None:
    """Check that every loss that the log has from ``epoch`` follows from a batch that failed in it.

    Raises Difference naming the first loss that nothing led to.
    """
    low, high = log_head(headers.header(epoch)).seq, log_head(headers.after(epoch)).seq
    for loss in log.losses_between(low, high):
        key = BatchKey(loss.epoch, loss.miner, loss.batch)
        surplus = loss.roots - failed.get((key, loss.reason), set())
        if surplus:
            raise Difference(
                f"record {loss.seq} of the log takes piece {min(surplus).hex()} from the miner ({loss.reason}), "
                f"but by the transcript of epoch {epoch} the batch did not fail by it",
                epoch=loss.epoch,
                miner=loss.miner,
                batch=loss.batch,
            )


def _holdings(log: LogReading, miner: PublicKey, roots: set[Root], seq: int) -> set[tuple[Root, bytes, int]]:
    pieces = log.history.pieces_at(miner, seq)
    return {(piece.root, piece.segment_id, piece.index) for piece in pieces if piece.root in roots}
