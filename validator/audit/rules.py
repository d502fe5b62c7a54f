"""The constants of audits, as settings with PROTOCOL §5.5's defaults.

Example::

    rules = rules_for(epoch_seconds=4_320)
    rules.pause_seconds(attempt=1)     # 300 s until the second asking
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from hippy.proofs.request import ENTRIES_MAX
from hippy.wire.pace import SHORT_EPOCH_SECONDS, scaled

MINUTE: Final = 60.0
HOUR: Final = 3_600.0
MARGIN_DIVISOR: Final = 8
ROUNDS_MIN: Final = 2
"""An epoch of fewer rounds has no room for a batch and its margin."""


@dataclass(frozen=True, slots=True)
class AuditRules:
    """How often and how patiently miners are asked."""

    batch_leaves: int = ENTRIES_MAX
    batches: int = 4
    batches_escalated: int = 32
    """2,048 leaves: 1 % of loss is then seen with p = 1 - 10^-9 instead of 92 %."""

    pauses_seconds: tuple[float, ...] = (5 * MINUTE, 20 * MINUTE, 60 * MINUTE)
    """Before the second, third and every later asking."""

    owed_seconds: float = 24 * HOUR
    there_seconds: float = 30.0
    """A contact so shortly before an asking shows that the miner was there."""

    back_seconds: float = 150.0
    """So does one so shortly after it: whoever unplugs at a question it cannot answer stays away for longer, and pays
    in uptime. Most honest outages last longer, or are over by the next asking."""

    back_looks: int = 3
    """Handshakes in that time, at random moments."""

    answer_seconds: float = 5.0
    answer_bytes_per_second: int = 2 * 1024 * 1024
    doubt_epochs: int = 2
    live_checks: int = 12
    """Liveness checks per epoch and miner."""

    reads: int = 8
    """Reads per epoch and miner."""

    def pause_seconds(self, attempt: int) -> float:
        """Return how long to wait before the asking of this number, which counts from 0 and is above it."""
        assert attempt > 0
        return self.pauses_seconds[min(attempt, len(self.pauses_seconds)) - 1]

    @property
    def silences_max(self) -> int:
        """Askings that may stay unanswered by a miner that is there; the next one is a fail."""
        return len(self.pauses_seconds)

    def batches_of(self, *, escalated: bool) -> int:
        """Return how many batches a miner has in an epoch."""
        return self.batches_escalated if escalated else self.batches

    def deadline_seconds(self, round_trip_seconds: float, answer_bytes: int) -> float:
        """Return how long a miner has for its answer."""
        return self.answer_seconds + 4 * round_trip_seconds + answer_bytes / self.answer_bytes_per_second


def rules_for(epoch_seconds: float) -> AuditRules:
    """Return the rules of a network whose epochs take so long; a short epoch shortens every pause."""
    rules = AuditRules()
    if epoch_seconds >= SHORT_EPOCH_SECONDS:
        return rules
    return replace(
        rules,
        pauses_seconds=tuple(scaled(pause, epoch_seconds) for pause in rules.pauses_seconds),
        owed_seconds=scaled(rules.owed_seconds, epoch_seconds),
        there_seconds=scaled(rules.there_seconds, epoch_seconds),
        back_seconds=scaled(rules.back_seconds, epoch_seconds),
        live_checks=6,
        reads=2,
    )


def margin_of(rounds: int) -> int:
    """Return how many rounds at an epoch's end are kept free for answers, for an epoch of ROUNDS_MIN or more."""
    return max(1, rounds // MARGIN_DIVISOR)
