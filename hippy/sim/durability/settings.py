"""What a simulated network is like: every assumption has a field here and a sentence with its source.

Example::

    Settings(profile=STANDARD, churn=DEFAULT, segments=2_000, days=90)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

from hippy.erasure.geometry import PIECE_LENGTH_MAX, STANDARD, Profile
from hippy.errors import UsageError
from hippy.sim.durability.churn import DEFAULT, Churn

MINERS_MAX: Final = 20_000
SLOTS_MAX: Final = 20_000_000
"""Pieces of all simulated segments: some 400 MB of lists."""

DAYS_MAX: Final = 3_660
TERABYTE: Final = 10**12


class Vanish(Enum):
    """Who vanishes at one moment, for good."""

    NONE = "none"
    GROUP = "group"
    """Everybody in the address group that holds most."""

    OPERATOR = "operator"
    """The largest operator, who has one coldkey: placement knows it."""

    SYBIL = "sybil"
    """The largest operator, who has a coldkey and an address group for every miner: placement takes it for many."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One run. Shares are between 0 and 1; bandwidth is in 10^6 bit/s, stored data in 10^12 bytes before coding.

    Raises UsageError for a run that cannot be.
    """

    profile: Profile = STANDARD
    churn: Churn = DEFAULT
    miners: int = 1_000
    segments: int = 10_000
    days: int = 365
    seed: int = 1
    stored_tb: float = 1_000.0
    detection_hours: float = 24.0
    outages_per_month: float = 2.0
    outage_hours: float = 2.0
    repair_mbit: float = 25.0
    vanish: Vanish = Vanish.SYBIL
    largest_share: float = 0.1

    def __post_init__(self) -> None:
        if not 1 <= self.miners <= MINERS_MAX:
            raise UsageError(f"a simulation has 1 to {MINERS_MAX} miners")
        if self.segments < 1 or self.segments * self.profile.n > SLOTS_MAX:
            raise UsageError(f"a simulation has 1 segment or more and at most {SLOTS_MAX:,} pieces in all")
        if not 1 <= self.days <= DAYS_MAX:
            raise UsageError(f"a simulation takes 1 to {DAYS_MAX} days")
        if not 0 < self.largest_share < 1:
            raise UsageError("the largest operator has more than nothing and less than everything")
        positive = (self.stored_tb, self.repair_mbit, self.detection_hours, self.outage_hours)
        if not all(0 < each < math.inf for each in positive) or not 0 <= self.outages_per_month < math.inf:
            raise UsageError("stored data, bandwidth and hours are more than nothing")

    @property
    def hours(self) -> float:
        """Length of the run."""
        return 24.0 * self.days

    @property
    def vanish_hour(self) -> float:
        """When somebody vanishes: halfway."""
        return self.hours / 2

    @property
    def segment_years(self) -> float:
        """What the run watches."""
        return self.segments * self.days / 365

    @property
    def stands_for(self) -> float:
        """Full segments that one simulated segment stands for."""
        return self.stored_tb * TERABYTE / (self.segments * self.profile.k * PIECE_LENGTH_MAX)

    @property
    def rebuild_bytes(self) -> float:
        """Bytes that travel for one lost piece of one simulated segment: k sealed pieces and one mask (PROTOCOL §7)."""
        return (self.profile.k + 1) * PIECE_LENGTH_MAX * self.stands_for

    @property
    def rebuild_hours(self) -> float:
        """Hours that rebuilding one piece of one simulated segment takes with everybody's repair bandwidth."""
        return self.rebuild_bytes * 8 / (self.repair_mbit * 1e6 * self.miners * 3_600)


def assumptions(settings: Settings) -> list[tuple[str, str, str]]:
    """Return what is assumed, as (what, value, where it comes from)."""
    profile = settings.profile
    return [
        ("churn", f"{settings.churn.per_day:.3%} a day", settings.churn.source),
        ("code", f"{profile}, repaired at {profile.repair_threshold}", "PROTOCOL §2"),
        (
            "detection",
            f"{settings.detection_hours:g} h",
            "a piece counts as lost after 24 h unanswered (PROTOCOL §5.5)",
        ),
        (
            "outages",
            f"{settings.outages_per_month:g} a month of {settings.outage_hours:g} h",
            "an assumption; exponential; one longer than detection loses the miner's pieces",
        ),
        (
            "repair",
            f"{settings.repair_mbit:g} Mbit/s a miner",
            "an assumption: the least throughput that PROTOCOL §6 requires; k pieces and a mask for each lost one (§7)",
        ),
        (
            "stored",
            f"{settings.stored_tb:g} TB",
            f"an assumption; a simulated segment is {settings.stands_for:,.0f} real ones",
        ),
        ("miners", f"{settings.miners:,}", "an assumption; sizes log-normal, median 2 TB, 0.1 to 10 TB"),
        (
            "operators",
            f"the largest has {settings.largest_share:.0%}",
            "an assumption; the others run 2 miners on average under one coldkey, a third of them in shared networks",
        ),
        ("placement", "one piece a coldkey and /24", "PROTOCOL §3.1, by weight, drawn anew for every repaired piece"),
        ("free space", "never short", "not modelled; leavers are replaced a day later, who vanishes is not"),
    ]
