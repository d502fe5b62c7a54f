"""Which batches an epoch must have, and whether its transcript has them (PROTOCOL §5.2). Pure.

Example::

    expected = expected_batches(header, secret, log, sheet_before, rules)
    check_schedule(header.epoch, expected, transcript.entries)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hippy.proofs.challenge import batch_round
from hippy.proofs.transcript_entry import TranscriptEntry
from hippy.validator.audit.rules import ROUNDS_MIN, AuditRules, margin_of
from hippy.validator.audit.schedule import BatchKey, schedule
from hippy.validator.sheets import is_escalated
from hippy.validator.verifying.difference import Difference
from hippy.validator.verifying.headers import log_head
from hippy.validator.verifying.log import LogReading
from hippy.wire.audit import EpochHeader
from hippy.wire.score import ScoreSheet


def expected_batches(
    header: EpochHeader, secret: bytes, log: LogReading, before: ScoreSheet | None, rules: AuditRules
) -> dict[BatchKey, int]:
    """Return the round of every batch of an epoch; ``before`` is the sheet of the epoch before."""
    escalated = {score.hotkey for score in before.miners} if before is not None else set()
    batches = {
        miner: rules.batches_of(escalated=miner in escalated and is_escalated(before, miner, header.epoch))
        for miner in log.history.miners_at(log_head(header).seq)
    }
    due = schedule(secret, epoch=header.epoch, first_round=header.first_round, rounds=header.rounds, batches=batches)
    return {each.key: each.round for each in due}


def check_schedule(epoch: int, expected: Mapping[BatchKey, int], entries: Iterable[TranscriptEntry]) -> None:
    """Check that every batch is in the transcript of its epoch, and no other of that epoch is.

    Raises Difference naming the first that is missing, in excess or of another round.
    """
    found: set[BatchKey] = set()
    for entry in entries:
        if entry.epoch != epoch:
            continue
        key = BatchKey(entry.epoch, entry.miner, entry.batch)
        beacon_round = expected.get(key)
        if beacon_round is None:
            raise _difference(key, "no such batch was expected, the transcript has it")
        if entry.round != beacon_round:
            raise _difference(key, f"beacon round {beacon_round} was expected, {entry.round} was found")
        found.add(key)
    for key in sorted(expected.keys() - found):
        raise _difference(
            key, "the batch was expected in the transcript, asked or given up, and is not there: it was skipped"
        )


def check_owed(entry: TranscriptEntry, header: EpochHeader, secret: bytes, rules: AuditRules) -> None:
    """Check that a batch of an epoch before was due then, in its round; how many that epoch had is not known here.

    ``header`` and ``secret`` are of the batch's epoch. Raises Difference.
    """
    key = BatchKey(entry.epoch, entry.miner, entry.batch)
    if header.rounds < ROUNDS_MIN or entry.batch >= rules.batches_escalated:
        raise _difference(key, "its epoch had no such batch")
    margin = margin_of(header.rounds)
    beacon_round = batch_round(secret, entry.miner, entry.batch, header.first_round, header.rounds, margin)
    if entry.round != beacon_round:
        raise _difference(key, f"beacon round {beacon_round} was expected, {entry.round} was found")


def _difference(key: BatchKey, what: str) -> Difference:
    return Difference(what, epoch=key.epoch, miner=key.miner, batch=key.number)
