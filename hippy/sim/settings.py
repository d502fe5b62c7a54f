"""How large a simulated network is, how long it runs and what goes wrong in it.

Example::

    Settings(miners=100, days=7, seed=1)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hippy.errors import UsageError

DAY_SECONDS: Final = 86_400
MINERS_MAX: Final = 1_000
"""A chain has 256 places; a sheet holds 1,024."""

DAYS_MAX: Final = 366
VALIDATORS_MAX: Final = 16
MEBIBYTE: Final = 2**20


@dataclass(frozen=True, slots=True)
class Settings:
    """One run. Shares are between 0 and 1.

    ``lots`` times a segment of each of ``lengths_bytes`` is drawn; each draw places ``bundle`` segments alike, which
    saves time and gives miners pieces enough that a thousandth is some. ``round_trips_seconds`` and ``pipe_bps`` are
    of home lines: what an operator of many identities has too.
    """

    miners: int = 200
    days: float = 30
    seed: int = 1
    validators: int = 1
    epoch_seconds: float = 4_320
    rounds: int = 1_440
    k: int = 10
    n: int = 24
    lots: int = 40
    lengths_bytes: tuple[int, ...] = (4 * MEBIBYTE, 4 * MEBIBYTE, 4 * MEBIBYTE, 2 * MEBIBYTE, MEBIBYTE // 4)
    bundle: int = 50
    wash_lots: int = 6
    bytes_stand_for: int = 1
    """Bytes that one simulated byte stands for where throughput is required by them (§6, T)."""

    customers_read: float = 0.05
    """Share of what a miner keeps that customers read in an epoch: every byte once in 24 hours of 72-minute epochs."""

    capacity_gib: int = 160
    pipe_bps: int = 200_000_000
    round_trips_seconds: tuple[float, float] = (0.01, 0.12)
    loss: float = 0.01
    downtime: float = 0.003
    outage_seconds: float = 180

    def __post_init__(self) -> None:
        """Raise UsageError for a run that cannot be."""
        if not 1 <= self.miners <= MINERS_MAX or not 1 <= self.validators <= VALIDATORS_MAX:
            raise UsageError(f"a simulation has 1 to {MINERS_MAX} miners and 1 to {VALIDATORS_MAX} validators")
        if not 0 < self.days <= DAYS_MAX or self.epochs < 1:
            raise UsageError(f"a simulation takes one epoch or more and at most {DAYS_MAX} days")

    @property
    def epochs(self) -> int:
        """Whole epochs of the run."""
        return int(self.days * DAY_SECONDS / self.epoch_seconds)

    @property
    def seconds(self) -> float:
        """Length of the run."""
        return self.epochs * self.epoch_seconds

    @property
    def round_seconds(self) -> float:
        """Time from one beacon round to the next."""
        return self.epoch_seconds / self.rounds
