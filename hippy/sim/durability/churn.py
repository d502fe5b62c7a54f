"""How fast miners leave for good: what others measured, and how to read what oneself observed.

A file of observed departures has the columns ``date,miners,departed``, a line for each day: how many miners there were
when it began, how many of them had left for good when it ended. The rate is the sum of the one over the other; the
simulation draws whole days from the file, so that bad days stay bad days.

Example::

    parse_churn("date,miners,departed\\n2026-11-01,240,1\\n2026-11-02,241,0\\n", "ours.csv").per_day     # 0.0021
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import Final

from hippy.errors import UsageError

COLUMNS: Final = ["date", "miners", "departed"]
DAYS_MAX: Final = 10_000
FILE_BYTES_MAX: Final = 1_048_576
"""Of a file of departures: ten thousand lines of a hundred bytes."""

PER_DAY_MAX: Final = 0.5
"""Above that nothing survives a week, and a day is too coarse a step for the simulation."""


@dataclass(frozen=True, slots=True)
class Churn:
    """The share of miners that leaves in a day: ``per_day`` on average, ``days`` one by one where observed."""

    per_day: float
    days: tuple[float, ...]
    source: str

    @property
    def per_hour(self) -> float:
        """Rate at which one miner leaves, per hour."""
        return self.per_day / 24

    @property
    def mean_life_days(self) -> float:
        """Days that a miner stays on average."""
        return 1 / self.per_day if self.per_day else math.inf


def steady(per_day: float, source: str) -> Churn:
    """Return a churn that is the same every day.

    Raises UsageError unless 0 <= per_day <= 0.5.
    """
    if not 0 <= per_day <= PER_DAY_MAX:
        raise UsageError(f"a churn of {per_day} a day: it takes 0 to {PER_DAY_MAX}, such as 0.0033")
    return Churn(per_day, (per_day,), source)


STORJ_SOFTWARE: Final = steady(2 / 9_200, "Storj's repair checker: 2 of 9,200 nodes a day (its NodeFailureRate)")
STORJ_MEASURED: Final = steady(
    720 / 22_491 / 30,
    "Storj, 30 days to 26 June 2023: 107 of 22,491 nodes asked to leave, 613 went offline (US1; forum, topic 24124)",
)
STORJ_ASSUMED: Final = steady(0.1 / 30, "10 % a month, the assumption of the Storj whitepaper's tables")
PESSIMIST: Final = steady(1 / 91.25, "a miner stays three months on average: an assumption, for a young network")

SOURCES: Final = (STORJ_SOFTWARE, STORJ_MEASURED, STORJ_ASSUMED, PESSIMIST)
"""From the calmest to the wildest. None of them is of a Bittensor subnet: of ours nothing was measured yet."""

DEFAULT: Final = STORJ_ASSUMED
"""Three times what a network of paid strangers measured in a month of falling pay."""


def parse_churn(text: str, name: str) -> Churn:
    """Return the churn that a file of observed departures shows.

    Raises UsageError, naming the line, where it is no such file.
    """
    lines = csv.reader(text.splitlines())
    if next(lines, None) != COLUMNS:
        raise UsageError(f"{name} does not begin with the line {','.join(COLUMNS)}", hint="one line for each day")
    days: list[float] = []
    present = left = 0
    for number, row in enumerate(lines, 2):
        if len(days) == DAYS_MAX:
            raise UsageError(f"{name} has more than {DAYS_MAX} days")
        miners, departed = _counts(row, f"{name}, line {number}")
        days.append(departed / miners)
        present, left = present + miners, left + departed
    if not days:
        raise UsageError(f"{name} has no day in it")
    rate = steady(left / present, "").per_day
    return Churn(rate, tuple(days), f"{name}: {left} departures in {len(days)} days, {present:,} miner-days")


def _counts(row: list[str], where: str) -> tuple[int, int]:
    if len(row) != len(COLUMNS) or not all(each.isascii() and each.isdigit() and len(each) < 10 for each in row[1:]):
        raise UsageError(f"{where}: it takes {','.join(COLUMNS)}, such as 2026-11-01,240,1")
    miners, departed = int(row[1]), int(row[2])
    if miners == 0 or departed > miners:
        raise UsageError(f"{where}: {departed} of {miners} miners cannot have left")
    return miners, departed
