"""The life of one batch: asked, asked again, settled (PROTOCOL §5.5).

Invariants: silence while the miner is there is forgiven as often as there are pauses, absence until a day after the
first asking, and then never again: no batch that was asked ends otherwise than by PASS or FAIL, as long as it is the
miner that keeps it open. Attempts grow by one at each asking; the pauses keep those that a miner causes far below 256.

Example::

    batch = first_asking(scheduled, now)
    outcome, batch = unanswered(batch, was_there=False, doubted=False, now=now, rules=rules)   # OFFLINE
    batch.ask_time                                                                             # a day later, or:
    batch = returned(batch, now, rules)                                                        # as soon as may be
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hippy.proofs.transcript_entry import Outcome
from hippy.validator.audit.rules import AuditRules
from hippy.validator.audit.schedule import BatchKey, Scheduled

ATTEMPT_MAX = 255
"""The number of an asking has eight bits."""


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch that was asked and is not settled. Times are Unix seconds.

    ``attempt`` is the number of the latest asking, ``asked_time`` its time; ``ask_time`` is when it is due again.
    """

    key: BatchKey
    round: int
    first_time: float
    asked_time: float
    ask_time: float
    attempt: int = 0
    silences: int = 0
    away: bool = False
    """Whether the miner was not there at the latest asking."""


def first_asking(scheduled: Scheduled, now: float) -> OpenBatch:
    """Return a batch that is asked now for the first time."""
    return OpenBatch(scheduled.key, scheduled.round, first_time=now, asked_time=now, ask_time=now)


def next_asking(batch: OpenBatch, now: float) -> OpenBatch:
    """Return the batch as it is asked again now."""
    return replace(batch, attempt=batch.attempt + 1, asked_time=now, ask_time=now)


def unanswered(
    batch: OpenBatch, *, was_there: bool, doubted: bool, now: float, rules: AuditRules
) -> tuple[Outcome, OpenBatch]:
    """Return what an asking without an answer comes to, and the batch as it is owed then (unchanged by a FAIL)."""
    if doubted:
        return Outcome.UNKNOWN, _again(batch, now, rules)
    if _is_last(batch, rules):
        return Outcome.FAIL, batch
    if not was_there:
        return Outcome.OFFLINE, replace(batch, ask_time=batch.first_time + rules.owed_seconds, away=True)
    if batch.silences >= rules.silences_max:
        return Outcome.FAIL, batch
    return Outcome.SILENT, replace(_again(batch, now, rules), silences=batch.silences + 1)


def unasked(batch: OpenBatch, *, now: float, rules: AuditRules) -> OpenBatch:
    """Return the batch after an asking that failed on our side; it costs the miner nothing."""
    return _again(batch, now, rules)


def returned(batch: OpenBatch, now: float, rules: AuditRules) -> OpenBatch:
    """Return the batch when its miner is back: it is due at once, or when the pause since the last asking is over."""
    if not batch.away:
        return batch
    pause = rules.pause_seconds(batch.attempt + 1)
    return replace(batch, ask_time=min(batch.ask_time, max(now, batch.asked_time + pause)), away=False)


def _again(batch: OpenBatch, now: float, rules: AuditRules) -> OpenBatch:
    return replace(batch, ask_time=now + rules.pause_seconds(batch.attempt + 1), away=False)


def _is_last(batch: OpenBatch, rules: AuditRules) -> bool:
    """Whether the latest asking was a day after the first, or the last that has a number."""
    return batch.asked_time >= batch.first_time + rules.owed_seconds or batch.attempt >= ATTEMPT_MAX
