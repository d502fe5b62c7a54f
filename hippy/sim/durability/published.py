"""Calculations that others published, done again to the digits: a model that cannot repeat theirs says nothing of ours.

Owns the two formulas and the figures as they were printed. What the formulas leave out is in docs/DURABILITY.md.

Example::

    backblaze_loss()                       # 7.354e-12 a year, for 17 + 3
    storj_monthly_loss(4, 8)               # 0.00141131: 1 - 0.99858869 a month
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from hippy.sim.durability.chances import binomial_tail, kept_percent, poisson_tail

YEAR_DAYS: Final = 365.0
"""Days of a year, as Backblaze counts them."""

BACKBLAZE_DATA: Final = 17
BACKBLAZE_PARITY: Final = 3
BACKBLAZE_YEARLY_FAILURES: Final = 0.00405
"""Drives that fail in a year, of one (backblaze.com/blog/cloud-storage-durability, July 2018)."""

BACKBLAZE_REBUILD_DAYS: Final = 6.5
BACKBLAZE_PUBLISHED: Final = "7.354e-12"
"""annual_loss_rate at failure_threshold 4 in the README of github.com/Backblaze/erasure-coding-durability."""

STORJ_MONTHLY_CHURN: Final = 0.1
"""p in the whitepaper's tables: the share of nodes that go offline in a month."""

STORJ_PUBLISHED: Final[dict[tuple[int, int], str]] = {
    (2, 4): "99.207366813274616",
    (4, 8): "99.858868985411326",
    (8, 16): "99.995462406878260",
    (16, 32): "99.999994620652776",
    (20, 40): "99.999999807694154",
    (32, 64): "99.999999999990544",
    (1, 1): "90.483741803595962",
    (1, 2): "98.247690369357827",
    (1, 3): "99.640050681691051",
    (1, 10): "99.999988857452166",
    (1, 16): "99.999999998036174",
    (4, 6): "97.688471224736705",
    (4, 12): "99.999514117129605",
    (20, 30): "99.970766304935266",
    (20, 50): "99.999999999999548",
    (100, 150): "99.999999999973570",
}
"""(k, n) → P(D | p = 10 %) in percent: the three tables of the Storj whitepaper v3 (2018), section 3.4, all rows."""

PRINTED_ERROR: Final = Decimal("7.2e-15")
"""Percent by which the whitepaper's figures are off: half of the distance between two floats near 100, in which they
were held before they were printed to 15 places."""


@dataclass(frozen=True, slots=True)
class Check:
    """A published figure beside the one computed here, as text; ``agrees`` when they differ by rounding at most."""

    what: str
    published: str
    computed: str
    agrees: bool


def window_loss(pieces: int, lost_to_lose: int, window_chance: float, window_days: float) -> float:
    """Return the yearly loss by windows: in one of them ``lost_to_lose`` or more of all ``pieces`` fail, independently.

    Backblaze's calculation: whatever failed before a window has been rebuilt by its beginning.
    """
    lost = binomial_tail(pieces, window_chance, lost_to_lose)
    return 1.0 if lost == 1 else -math.expm1(YEAR_DAYS / window_days * math.log1p(-lost))


def backblaze_loss(lost_to_lose: int = BACKBLAZE_PARITY + 1) -> float:
    """Return the yearly probability that in some 6.5 days ``lost_to_lose`` or more of 20 drives fail.

    A drive fails within 6.5 days with 1 - exp(-0.00405 · 6.5 / 365), as in the program that Backblaze published; with
    the exponent itself, as the article words it, 7.355e-12 comes out.
    """
    chance = -math.expm1(-BACKBLAZE_YEARLY_FAILURES / YEAR_DAYS * BACKBLAZE_REBUILD_DAYS)
    return window_loss(BACKBLAZE_DATA + BACKBLAZE_PARITY, lost_to_lose, chance, BACKBLAZE_REBUILD_DAYS)


def storj_monthly_loss(k: int, n: int, churn: float = STORJ_MONTHLY_CHURN) -> float:
    """Return 1 - P(D): more than n - k losses in a month, their number being Poisson with mean churn · n."""
    return poisson_tail(churn * n, n - k)


def storj_kept_percent(k: int, n: int) -> Decimal:
    """Return P(D | p = 10 %) in percent, to the 15 decimals that were printed."""
    return kept_percent(storj_monthly_loss(k, n)).quantize(Decimal("1e-15"))


def checks() -> list[Check]:
    """Return every published figure beside ours."""
    ours = f"{backblaze_loss():.3e}"
    found = [Check("Backblaze 17+3: annual loss", BACKBLAZE_PUBLISHED, ours, ours == BACKBLAZE_PUBLISHED)]
    for (k, n), published in STORJ_PUBLISHED.items():
        kept = storj_kept_percent(k, n)
        agrees = abs(kept - Decimal(published)) <= PRINTED_ERROR
        found.append(Check(f"Storj {k}/{n}: kept in a month at 10 %, percent", published, str(kept), agrees))
    return found
