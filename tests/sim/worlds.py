"""Networks that are small enough for a test and large enough for what it claims."""

from __future__ import annotations

from typing import Any

from hippy.sim.report import Prices, Row, rows_of
from hippy.sim.settings import Settings
from hippy.sim.simulation import Run, simulate
from hippy.sim.strategies import chosen

MEBIBYTE = 2**20


def small(**changes: Any) -> Settings:
    """Forty miners that hold three hundred pieces each or so, for two days."""
    plain: dict[str, Any] = {
        "miners": 40,
        "days": 2,
        "k": 4,
        "n": 8,
        "lots": 10,
        "lengths_bytes": (4 * MEBIBYTE, 2 * MEBIBYTE, MEBIBYTE // 4),
        "wash_lots": 3,
    }
    return Settings(**(plain | changes))


def run(*names: str, **changes: Any) -> Run:
    """Simulate a small network with these strategies."""
    return simulate(small(**changes), chosen(names))


def row(done: Run, name: str, prices: Prices = Prices()) -> Row:  # noqa: B008 - frozen
    """Return what a run says of one strategy."""
    return next(each for each in rows_of(done, prices) if each.strategy == name)
