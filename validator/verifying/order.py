"""The askings of one batch across epochs: a batch counts once, and is not left open (PROTOCOL §5.4, §5.5). Pure.

Owns what no single transcript shows. What a transcript must be in itself is hippy.proofs.transcript's.

Example::

    order = Order(rules, first_epoch=7)
    for entry in transcript.entries:
        order.take(entry, transcript.scope.epoch, began=header_of(entry.epoch).time)
    order.check_settled(end_time, last_asked=..., excused=...)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hippy.proofs.transcript_entry import Outcome, TranscriptEntry
from hippy.validator.audit.batch import ATTEMPT_MAX
from hippy.validator.audit.rules import AuditRules
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.verifying.difference import Difference

TIME_SECONDS = 2
"""Transcripts tell times in whole seconds."""


@dataclass(slots=True)
class _Asked:
    """What was seen of a batch; ``first_time`` is not later than its first asking."""

    first_time: int
    attempt: int
    silences: int
    is_whole: bool
    """Whether its first asking was seen."""

    settled_in: int | None = None
    is_given_up: bool = False


class Order:
    """The batches of a run of epochs, which begins with ``first_epoch``."""

    def __init__(self, rules: AuditRules, first_epoch: int) -> None:
        self._rules = rules
        self._first_epoch = first_epoch
        self._batches: dict[BatchKey, _Asked] = {}

    def take(self, entry: TranscriptEntry, epoch: int, began: int) -> None:
        """Take the next entry of the transcript of ``epoch``; ``began`` is the time of the batch's own header.

        Raises Difference for a batch that ended before, was never due, or failed for nothing.
        """
        key = BatchKey(entry.epoch, entry.miner, entry.batch)
        seen = self._batches.get(key)
        if seen is None:
            seen = self._begin(entry, epoch, began)
            self._batches[key] = seen
        else:
            _check_goes_on(seen, entry, epoch)
        if entry.outcome is Outcome.FAIL and not entry.answered:
            self._check_failed(seen, entry, epoch)
        seen.attempt = entry.attempt
        seen.silences += entry.outcome is Outcome.SILENT
        seen.is_given_up = not entry.asked
        if entry.settled:
            seen.settled_in = epoch

    def check_settled(self, end_time: int, last_asked: Callable[[BatchKey], int | None], slack_seconds: float) -> None:
        """Check that no batch was owed longer than the rules allow.

        ``last_asked`` returns the time until which a batch must have been asked first, None where it is excused.
        Raises Difference naming the first that was.
        """
        for key, seen in sorted(self._batches.items(), key=lambda item: item[0]):
            if seen.settled_in is not None or seen.is_given_up:
                continue
            asked_time = last_asked(key)
            if asked_time is None:
                continue
            owed_seconds = end_time - asked_time
            if owed_seconds > self._rules.owed_seconds + slack_seconds:
                raise Difference(
                    f"the batch was to be settled {self._rules.owed_seconds:.0f} s after it was first asked, "
                    f"and is still open after {owed_seconds} s: it was owed too long",
                    epoch=key.epoch,
                    miner=key.miner,
                    batch=key.number,
                )

    def _begin(self, entry: TranscriptEntry, epoch: int, began: int) -> _Asked:
        if entry.epoch == epoch:
            return _Asked(entry.time, entry.attempt, 0, is_whole=entry.attempt == 0)
        if entry.epoch >= self._first_epoch:
            raise _wrong(entry, f"the transcript of epoch {epoch} has it, that of its own epoch has not")
        if entry.attempt == 0 or not entry.asked:
            raise _wrong(entry, f"the transcript of epoch {epoch} begins it, though it was due in an earlier epoch")
        return _Asked(began, entry.attempt, 0, is_whole=False)

    def _check_failed(self, seen: _Asked, entry: TranscriptEntry, epoch: int) -> None:
        """Accept a fail without a response after enough silence, or a day."""
        silences = seen.silences if seen.is_whole else max(seen.silences, entry.attempt)
        is_late = entry.time >= seen.first_time + self._rules.owed_seconds - TIME_SECONDS
        if silences < self._rules.silences_max and not is_late and entry.attempt < ATTEMPT_MAX:
            raise _wrong(
                entry,
                f"the transcript of epoch {epoch} fails it unanswered after {silences} silent askings and "
                f"{entry.time - seen.first_time} s; {self._rules.silences_max} or "
                f"{self._rules.owed_seconds:.0f} s were expected",
            )


def _check_goes_on(seen: _Asked, entry: TranscriptEntry, epoch: int) -> None:
    if seen.settled_in is not None:
        raise _wrong(
            entry, f"it was settled in epoch {seen.settled_in}, and the transcript of epoch {epoch} counts it again"
        )
    if seen.is_given_up:
        raise _wrong(entry, f"it was given up, and the transcript of epoch {epoch} has it again")
    if entry.attempt <= seen.attempt:
        raise _wrong(entry, f"attempt {entry.attempt} in epoch {epoch} follows attempt {seen.attempt}")


def _wrong(entry: TranscriptEntry, what: str) -> Difference:
    return Difference(what, epoch=entry.epoch, miner=entry.miner, batch=entry.batch)
