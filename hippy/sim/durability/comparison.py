"""Our profiles beside what others do and claim, and how each stands up to more churn and to a vanished operator.

Owns the rows of the tables; the numbers are hippy.sim.durability.chain's and hippy.sim.durability.published's. Each row
says what kind of number it is: a published one, a claim, or the same calculation for everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hippy.erasure.geometry import PROFILES, Profile
from hippy.sim.durability.chain import Fate, Rates, fate_of
from hippy.sim.durability.chances import nines
from hippy.sim.durability.churn import SOURCES, Churn
from hippy.sim.durability.published import BACKBLAZE_REBUILD_DAYS, backblaze_loss

REPAIR_HOURS: Final = 24.0
"""Hours from a segment's falling to its threshold until it is whole again: an assumption, mostly waiting in the queue.
The simulation says what a given bandwidth makes of it."""

SHARES: Final = (0.05, 0.1, 0.2, 0.3)
"""Of all capacity, for the operator that vanishes."""

STORJ_CODE: Final = Profile(29, 80, 52)
"""29/80 repaired at 52: releaseDefault of Storj's satellite (satellite/repair/checker, RepairOverrides)."""

BACKBLAZE_CODE: Final = Profile(17, 20, 19)
REPLICAS: Final = Profile(1, 3, 2)
FILECOIN_FAULT_DAYS: Final = 42
"""A sector may be faulty for 42 days before the chain ends it (Filecoin specification, sector faults; FIP-0026)."""

S3_CLAIM: Final = 1e-11
"""aws.amazon.com/s3: "designed to provide 99.999999999% durability". No calculation was published."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison: stored bytes per byte, loss within a year, and what kind of number that is."""

    name: str
    stretch: float
    annual_loss: float
    kind: str

    @property
    def nines(self) -> float:
        """Nines of a year."""
        return nines(self.annual_loss)


@dataclass(frozen=True, slots=True)
class Standing:
    """One code: its fate at a churn, and what a vanishing operator of each of SHARES takes at once."""

    name: str
    profile: Profile
    fate: Fate
    lost_with: tuple[float, ...]
    nines_by_source: tuple[float, ...]
    """At the churn of each of hippy.sim.durability.churn.SOURCES."""


def named(extra: Sequence[Profile] = ()) -> dict[str, Profile]:
    """Return all named profiles, and others by their code."""
    known = set(PROFILES.values())
    return PROFILES | {str(profile): profile for profile in extra if profile not in known}


def standings(
    profiles: dict[str, Profile], churn: Churn, detection_hours: float, repair_hours: float
) -> list[Standing]:
    """Return how each code stands at this churn."""

    def fate(profile: Profile, at: Churn) -> Fate:
        return fate_of(profile, Rates(at.per_hour, detection_hours, repair_hours))

    return [
        Standing(
            name,
            profile,
            fate(profile, churn),
            tuple(fate(profile, churn).lost_with_share(share) for share in SHARES),
            tuple(fate(profile, each).nines for each in SOURCES),
        )
        for name, profile in profiles.items()
    ]


def comparison(churn: Churn, detection_hours: float, repair_hours: float) -> list[Row]:
    """Return our profiles and other designs at the same churn, and the figures of others."""
    rates = Rates(churn.per_hour, detection_hours, repair_hours)
    same = "same calculation, same churn"
    rows = [
        Row(f"hippy {name} {code}", code.n / code.k, fate_of(code, rates).annual_loss, same)
        for name, code in PROFILES.items()
    ]
    slow = Rates(churn.per_hour, FILECOIN_FAULT_DAYS * 24, repair_hours)
    rows += [
        Row("Storj's 29/80, repaired at 52", 80 / 29, fate_of(STORJ_CODE, rates).annual_loss, same),
        Row("three copies, repaired as ours", 3.0, fate_of(REPLICAS, rates).annual_loss, same),
        Row(
            "three copies, noticed as Filecoin ends a sector",
            3.0,
            fate_of(REPLICAS, slow).annual_loss,
            f"{same}; noticed after {FILECOIN_FAULT_DAYS} days",
        ),
        Row("17/20 on strangers' disks", 20 / 17, fate_of(BACKBLAZE_CODE, rates).annual_loss, same),
        Row(
            "Backblaze 17+3 in its data centre",
            20 / 17,
            backblaze_loss(),
            f"published: drives fail 0.405 % a year, rebuilt in {BACKBLAZE_REBUILD_DAYS} days",
        ),
        Row("Amazon S3", float("nan"), S3_CLAIM, "a claim ('designed for'), no calculation"),
    ]
    return rows
