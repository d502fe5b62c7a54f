"""How many audits a validator may ask for: a token bucket for each, refilled at what a fair one needs at most.

Four batches at once (hippy.miner.audit) bound what a validator takes now, not what it takes in a day. A fair one asks
32 batches an epoch of a miner at most, each up to four times while the miner is silent (PROTOCOL §5.2, §5.5); after an
outage it asks for all that is owed, at once. The rate covers the one, the burst the other: a refusal that met a fair
validator would be counted as silence.

Example::

    rates = Rates(audits_per_second(await chain.epoch_seconds()), AUDITS_AT_ONCE_MAX, clock)
    wait_seconds = rates.take(validator)     # 0: it may
"""

from __future__ import annotations

from typing import Final

from hippy.clock import Clock
from hippy.ids import PublicKey
from hippy.wire.pace import USUAL_EPOCH_SECONDS

AUDITS_PER_HOUR: Final = 256
"""307 in an epoch of 72 minutes, where 32 batches that are asked four times each make 128."""

BATCHES_PER_EPOCH_MAX: Final = 32
OWED_EPOCHS_MAX: Final = 20
"""24 h of 72 minutes; a batch that was owed for longer is asked once more and has then failed."""

AUDITS_AT_ONCE_MAX: Final = 64 + OWED_EPOCHS_MAX * BATCHES_PER_EPOCH_MAX
"""What a miner that was away may owe when it is back, and what is asked anew meanwhile: 704, 780 MB."""

PEERS_MAX: Final = 1_024
"""Buckets kept; beyond that those that are full, and so say nothing, are forgotten."""


def audits_per_second(epoch_seconds: float) -> float:
    """Return how many batches a second one validator may ask for in the long run, on a subnet with such epochs.

    Where epochs are shorter, pauses are too (PROTOCOL §5.5), and as many are asked in each.
    """
    return AUDITS_PER_HOUR / 3_600 * max(1.0, USUAL_EPOCH_SECONDS / epoch_seconds)


class Rates:
    """A bucket of ``burst`` tokens for each peer, which fills with ``per_second``; nobody waits."""

    def __init__(self, per_second: float, burst: int, clock: Clock) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._left: dict[PublicKey, tuple[float, float]] = {}
        """Tokens, and when they were counted."""

    def take(self, peer: PublicKey) -> float:
        """Take a token of a peer's and return 0, or take none and return in how many seconds there will be one."""
        now = self._clock.now()
        left = self._tokens(peer, now)
        if left < 1:
            return (1 - left) / self._per_second
        if len(self._left) >= PEERS_MAX:
            self._left = {known: row for known, row in self._left.items() if self._tokens(known, now) < self._burst}
        self._left[peer] = left - 1, now
        return 0.0

    def _tokens(self, peer: PublicKey, now: float) -> float:
        left, counted = self._left.get(peer, (float(self._burst), now))
        return min(float(self._burst), left + max(0.0, now - counted) * self._per_second)
