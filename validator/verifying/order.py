"""The askings of one batch across epochs: a batch counts once, in time, and is not left open (PROTOCOL §5.4, §5.5).

Pure. Owns what no single transcript shows, and when things were asked. What a transcript must be in itself is
hippy.proofs.transcript's.

Example::

    order = Order(rules, first_epoch=7, epoch_seconds=4_320)
    for entry in transcript.entries:
        order.take(Asking.of(entry), header, header_after, began=header_of(entry.epoch).time)
    order.check_settled(end_time, last_asked=..., slack_seconds=...)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from hippy.ids import PublicKey
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry
from hippy.validator.audit.rules import AuditRules
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.verifying.difference import Difference
from hippy.wire.audit import EpochHeader

TIME_SECONDS: Final = 2
"""Transcripts tell times in whole seconds."""

GRACE_SECONDS: Final = 10.0
"""How long the end of an epoch waits for answers; a quarter of the epoch where that is less."""


class Asking(NamedTuple):
    """What Order needs of an entry: 41 transcripts of these are kept at once."""

    epoch: int
    miner: PublicKey
    batch: int
    attempt: int
    time: int
    outcome: Outcome
    is_asked: bool
    is_answered: bool

    @classmethod
    def of(cls, entry: TranscriptEntry) -> Asking:
        """Return it of an entry."""
        numbers = (entry.batch, entry.attempt, entry.time)
        return cls(entry.epoch, entry.miner, *numbers, entry.outcome, entry.asked, entry.answered)

    @property
    def key(self) -> BatchKey:
        """The batch that was asked."""
        return BatchKey(self.epoch, self.miner, self.batch)


@dataclass(slots=True)
class _Asked:
    """What was seen of a batch; ``first_time`` is not later than its first asking, ``time`` that of the latest."""

    first_time: int
    time: int
    attempt: int
    silences: int
    is_whole: bool
    """Whether its first asking was seen."""

    settled_in: int | None = None
    is_given_up: bool = False


class Order:
    """The batches of a run of epochs, which begins with ``first_epoch``."""

    def __init__(self, rules: AuditRules, first_epoch: int, epoch_seconds: float) -> None:
        self._rules = rules
        self._first_epoch = first_epoch
        self._slack_seconds = TIME_SECONDS + min(GRACE_SECONDS, epoch_seconds / 4)
        self._batches: dict[BatchKey, _Asked] = {}

    def take(self, asking: Asking, header: EpochHeader, after: EpochHeader, began: int) -> None:
        """Take the next entry of the transcript of ``header``'s epoch, which ``after`` closed.

        ``began`` is the time of the batch's own header. Raises Difference for a batch that ended before, was never
        due, was asked too soon or failed for nothing.
        """
        epoch = header.epoch
        if not header.time - self._slack_seconds <= asking.time <= after.time + self._slack_seconds:
            raise _wrong(
                asking,
                f"the transcript of epoch {epoch} says that it was asked at {asking.time}, "
                f"but that epoch lasted from {header.time} to {after.time}",
            )
        seen = self._batches.get(asking.key)
        if seen is None:
            seen = self._begin(asking, epoch, began)
            self._batches[asking.key] = seen
        else:
            _check_goes_on(seen, asking, epoch)
            self._check_pause(seen, asking)
        if asking.outcome is Outcome.FAIL and not asking.is_answered:
            self._check_failed(seen, asking, epoch)
        if asking.outcome is Outcome.SILENT:
            self._check_silent(seen, asking)
        seen.attempt, seen.time = asking.attempt, asking.time
        seen.is_given_up = not asking.is_asked
        if asking.outcome in (Outcome.PASS, Outcome.FAIL):
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

    def _begin(self, asking: Asking, epoch: int, began: int) -> _Asked:
        if asking.epoch == epoch:
            if asking.attempt != 0:
                raise _wrong(asking, f"it begins with attempt {asking.attempt}: attempt 0 was expected first")
            return _Asked(asking.time, asking.time, asking.attempt, 0, is_whole=True)
        if asking.epoch >= self._first_epoch:
            raise _wrong(asking, f"the transcript of epoch {epoch} has it, that of its own epoch has not")
        if asking.attempt == 0 or not asking.is_asked:
            raise _wrong(asking, f"the transcript of epoch {epoch} begins it, though it was due in an earlier epoch")
        return _Asked(began, asking.time, asking.attempt, 0, is_whole=False)

    def _is_late(self, seen: _Asked, asking: Asking) -> bool:
        """Whether an asking is the one that comes when a batch was owed for a day, or later still."""
        return asking.time >= seen.first_time + self._rules.owed_seconds - TIME_SECONDS

    def _check_pause(self, seen: _Asked, asking: Asking) -> None:
        """Check that pauses were kept; one number may stand for an asking that was never sent, its pause was kept."""
        expected = sum(self._rules.pause_seconds(attempt) for attempt in range(seen.attempt + 1, asking.attempt + 1))
        found = asking.time - seen.time
        if found < expected - TIME_SECONDS and not self._is_late(seen, asking):
            raise _wrong(
                asking,
                f"attempt {asking.attempt} came {found} s after attempt {seen.attempt}; "
                f"a pause of {expected:.0f} s was expected",
            )

    def _check_silent(self, seen: _Asked, asking: Asking) -> None:
        seen.silences += 1
        if seen.silences > self._rules.silences_max:
            raise _wrong(
                asking,
                f"attempt {asking.attempt} was silent, as {self._rules.silences_max} were before: a fail was expected",
            )

    def _check_failed(self, seen: _Asked, asking: Asking, epoch: int) -> None:
        """Accept a fail without a response after enough silence, or a day."""
        silences = seen.silences if seen.is_whole else max(seen.silences, asking.attempt)
        if silences < self._rules.silences_max and not self._is_late(seen, asking):
            raise _wrong(
                asking,
                f"the transcript of epoch {epoch} fails it unanswered after {silences} silent askings and "
                f"{asking.time - seen.first_time} s; {self._rules.silences_max} or "
                f"{self._rules.owed_seconds:.0f} s were expected",
            )


def _check_goes_on(seen: _Asked, asking: Asking, epoch: int) -> None:
    if seen.settled_in is not None:
        raise _wrong(
            asking, f"it was settled in epoch {seen.settled_in}, and the transcript of epoch {epoch} counts it again"
        )
    if seen.is_given_up:
        raise _wrong(asking, f"it was given up, and the transcript of epoch {epoch} has it again")
    if asking.attempt <= seen.attempt:
        raise _wrong(asking, f"attempt {asking.attempt} in epoch {epoch} follows attempt {seen.attempt}")


def _wrong(asking: Asking, what: str) -> Difference:
    return Difference(what, epoch=asking.epoch, miner=asking.miner, batch=asking.batch)
