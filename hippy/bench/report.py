"""A report: what a bench found, in groups, as people and programs get it.

A group is one measurement: cases that ran in turns, and ratios between them. Each ratio is told beside the case it
is about. How a report is drawn is hippy.cli.bench's; its JSON is made here and has one shape for all benches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hippy.bench.machine import Machine
from hippy.bench.measure import Measurement, Spread


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast ``case`` is, round by round, as what ``to`` names: "1.7x zfec"."""

    case: str
    to: str
    spread: Spread

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON has it."""
        return {"case": self.case, "to": self.to, **_spread(self.spread)}


@dataclass(frozen=True, slots=True)
class Group:
    """Cases measured against each other. ``facts`` are its parameters by name, units in the names."""

    title: str
    facts: Mapping[str, int]
    measurements: tuple[Measurement, ...]
    ratios: tuple[Ratio, ...]

    @property
    def rounds(self) -> int:
        """How often each case was sampled."""
        return len(self.measurements[0].seconds)

    def ratios_of(self, case: str) -> tuple[Ratio, ...]:
        """Return the ratios that are about the case of this name."""
        return tuple(ratio for ratio in self.ratios if ratio.case == case)

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON has it."""
        return {
            "title": self.title,
            **self.facts,
            "rounds": self.rounds,
            "cases": [_measurement(each) for each in self.measurements],
            "ratios": [ratio.to_dict() for ratio in self.ratios],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What ``hippy bench <bench>`` found on a machine."""

    bench: str
    machine: Machine
    groups: tuple[Group, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return this as ``--json`` prints it."""
        return {
            "bench": self.bench,
            "machine": self.machine.to_dict(),
            "groups": [group.to_dict() for group in self.groups],
        }


def _measurement(measurement: Measurement) -> dict[str, Any]:
    return {
        "name": measurement.name,
        "user_bytes": measurement.user_bytes,
        "repeats": measurement.repeats,
        "seconds": _spread(measurement.spread),
        "bytes_per_second": _spread(Spread.of(measurement.speeds)),
    }


def _spread(spread: Spread) -> dict[str, float]:
    return {"median": _short(spread.median), "low": _short(spread.low), "high": _short(spread.high)}


def _short(value: float) -> float:
    """Return six digits of a figure: more would be noise."""
    return float(f"{value:.6g}")
