"""What a run showed, in the numbers that people ask for; and everything as JSON.

A simulation of 10,000 segments over a year can show three and a half nines and no more, however well it goes: that is
what the interval says. More nines come from the chain alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from hippy.sim.durability.chain import YEAR_HOURS
from hippy.sim.durability.chances import event_interval, nines
from hippy.sim.durability.churn import SOURCES
from hippy.sim.durability.comparison import SHARES, Row, Standing
from hippy.sim.durability.published import Check
from hippy.sim.durability.settings import TERABYTE, Settings, assumptions
from hippy.sim.durability.simulation import Run

MONTH_DAYS: Final = 365 / 12


@dataclass(frozen=True, slots=True)
class Summary:
    """One run. ``nines_low`` and ``nines_high`` bound the nines of a year with 95 % confidence.

    The interval takes segments for independent; where many are lost at one moment it is too narrow.
    """

    segments: int
    segment_years: float
    lost: int
    lost_at_vanishing: int
    vanished_miners: int
    annual_loss: float
    nines_low: float
    nines_high: float
    healthy_min: int
    departures: int
    repairs: int
    pieces_rebuilt: int
    traffic_per_month: float
    """Bytes that repair moved in a month for each byte stored, before coding."""

    mask_mbit: float
    """Of these, what validators stream as masks, on average over the run, in 10^6 bit/s."""

    backlog_max: int
    backlog_max_tb: float
    backlog_days: int
    """Days that ended with ten or more segments queued."""

    percentiles: dict[str, list[int]]
    """Healthy pieces by day of what is not lost: the worst segment, the worst hundredth and tenth, and the median."""


def summary_of(run: Run) -> Summary:
    """Return the figures of a run."""
    settings = run.settings
    k = settings.profile.k
    days = [[0] * k + day[k:] for day in run.health]
    low, high = (events / settings.segment_years for events in event_interval(run.segments_lost))
    return Summary(
        segments=settings.segments,
        segment_years=settings.segment_years,
        lost=run.segments_lost,
        lost_at_vanishing=run.lost_at_vanishing,
        vanished_miners=len(run.population.vanishing),
        annual_loss=run.segments_lost / settings.segment_years,
        nines_low=nines(high),
        nines_high=nines(low),
        healthy_min=run.healthy_min,
        departures=run.departures,
        repairs=run.repairs,
        pieces_rebuilt=run.pieces_rebuilt,
        traffic_per_month=run.traffic_bytes / (settings.stored_tb * TERABYTE) / (settings.days / MONTH_DAYS),
        mask_mbit=run.traffic_bytes / (k + 1) * 8 / 1e6 / (settings.hours * 3_600),
        backlog_max=max(run.queued),
        backlog_max_tb=max(run.backlog_bytes) / TERABYTE,
        backlog_days=sum(queued >= 10 for queued in run.queued),
        percentiles={
            "worst": [percentile(day, 0.0) for day in days],
            "hundredth": [percentile(day, 0.01) for day in days],
            "tenth": [percentile(day, 0.1) for day in days],
            "median": [percentile(day, 0.5) for day in days],
        },
    )


def percentile(histogram: Sequence[int], share: float) -> int:
    """Return the healthy pieces that this share of segments has at most: of the worst one at 0; 0 of no segments."""
    if not any(histogram):
        return 0
    wanted, seen = max(1, math.ceil(share * sum(histogram))), 0
    for healthy, segments in enumerate(histogram):
        seen += segments
        if seen >= wanted:
            return healthy
    return len(histogram) - 1


def to_dict(
    settings: Settings,
    repair_hours: float,
    checked: Sequence[Check],
    standing: Sequence[Standing],
    compared: Sequence[Row],
    run: Run | None,
) -> dict[str, Any]:
    """Return everything as JSON has it; what is infinite or unknown is null."""
    found: dict[str, Any] = {
        "assumptions": [
            {"what": what, "value": value, "source": source} for what, value, source in assumptions(settings)
        ],
        "repair_hours": repair_hours,
        "published": [asdict(check) for check in checked],
        "churn_sources": [{"per_day": each.per_day, "source": each.source} for each in SOURCES],
        "profiles": [_standing(each) for each in standing],
        "comparison": [
            {
                "name": row.name,
                "stretch": _number(row.stretch),
                "annual_loss": row.annual_loss,
                "nines": _number(row.nines),
                "kind": row.kind,
            }
            for row in compared
        ],
    }
    if run is not None:
        summary = {name: _number(value) for name, value in asdict(summary_of(run)).items()}
        series = {
            "health": run.health,
            "queued": run.queued,
            "backlog_bytes": run.backlog_bytes,
            "rebuilt_bytes": run.rebuilt_bytes,
        }
        found["simulation"] = {"seed": settings.seed, "vanish": settings.vanish.value, **summary, "by_day": series}
    return found


def _standing(each: Standing) -> dict[str, Any]:
    return {
        "name": each.name,
        "k": each.profile.k,
        "n": each.profile.n,
        "repair_threshold": each.profile.repair_threshold,
        "annual_loss": each.fate.annual_loss,
        "mean_years_to_loss": _number(each.fate.mean_hours / YEAR_HOURS),
        "nines": _number(each.fate.nines),
        "nines_by_churn_source": [_number(nines_then) for nines_then in each.nines_by_source],
        "lost_at_once_with_share": dict(zip(map(str, SHARES), each.lost_with, strict=True)),
    }


def _number(value: Any) -> Any:
    """Return a number that JSON knows; null stands for infinite and unknown ones."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
