"""Numbers as people read them. Pure; page.js says the same of the same numbers, in the same floating point.

>>> size(1_536), percent(971_100), duration(7_300), ago(100, now=160)
('1.5 KiB', '97.11 %', '2 h', '1 min ago')
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import floor
from typing import Final

_SIZES: Final = ((2**50, "PiB"), (2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_SPANS: Final = ((86_400, "days"), (3_600, "h"), (60, "min"))
_SPANS_MIN: Final = 2
"""A unit is used from two of it on, but minutes from one: 119 min is said to be 119 min, 120 to be 2 h."""

_DATE_MAX: Final = 253_402_300_799
"""The last second of the year 9999."""


def count(number: int) -> str:
    """Return ``12,345``."""
    return f"{number:,}"


def size(number: int) -> str:
    """Return ``97.1 GiB``, a half rounded up."""
    for unit, name in _SIZES:
        if number >= unit:
            tenths = floor(number / unit * 10 + 0.5)
            return f"{tenths // 10:,}.{tenths % 10} {name}"
    return f"{number} B"


def percent(ppm: int) -> str:
    """Return ``97.11 %``, rounded down so that 100 % is never said of less; whole numbers without a fraction."""
    whole, hundredths = divmod(ppm // 100, 100)
    return f"{whole}.{hundredths:02} %" if hundredths else f"{whole} %"


def duration(seconds: int) -> str:
    """Return ``41 min``, rounded down."""
    for unit, name in _SPANS:
        if seconds >= (unit if unit == 60 else _SPANS_MIN * unit):
            return f"{seconds // unit:,} {name}"
    return f"{seconds} s"


def ago(time: int, *, now: int) -> str:
    """Return ``41 min ago``; ``never`` for 0."""
    return f"{duration(max(0, now - time))} ago" if time else "never"


def date(time: int) -> str:
    """Return ``2026-03-01 12:00:00 UTC``."""
    return datetime.fromtimestamp(min(time, _DATE_MAX), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
