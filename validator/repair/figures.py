"""Repair in numbers, for metrics and pages: read from what is counted anyway, never by looking through segments.

Example::

    figures = await database.read(read_figures)
    figures.queued_segments, figures.under_way
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hippy.kv import Database, Reader
from hippy.transport.figures import Metric, Sample
from hippy.validator.repair import churn
from hippy.validator.repair.drains import draining
from hippy.validator.repair.health import Count, histogram
from hippy.validator.repair.jobs import jobs
from hippy.validator.statistics import Statistic, get_statistic

PIECES: Final = Metric("hippy_validator_repair_pieces", "gauge", "Pieces of segments that are held now.")
LOST: Final = Metric("hippy_validator_repair_lost_pieces", "gauge", "Pieces that were ever lost.")
MOVED: Final = Metric("hippy_validator_repair_moved_pieces", "gauge", "Pieces that other miners ever took over.")
FLAWED: Final = Metric(
    "hippy_validator_repair_flawed_pieces", "gauge", "Pieces that cannot be made, their segments being badly coded."
)
LOW: Final = Metric("hippy_validator_repair_low_segments", "gauge", "Segments at or below their repair threshold.")
UNREADABLE: Final = Metric("hippy_validator_repair_unreadable_segments", "gauge", "Segments with fewer than k pieces.")
SEGMENTS: Final = Metric(
    "hippy_validator_repair_segments",
    "gauge",
    "Segments to be repaired: queued, or stuck for want of miners.",
    ("state",),
)
BYTES: Final = Metric("hippy_validator_repair_bytes", "gauge", "Bytes of their missing pieces.", ("state",))
UNDER_WAY: Final = Metric("hippy_validator_repair_orders", "gauge", "Pieces that are being made now.")
DRAINING: Final = Metric("hippy_validator_repair_draining_miners", "gauge", "Miners that want to leave.")
RATE: Final = Metric(
    "hippy_validator_repair_losses_per_piece_hour", "gauge", "How often a piece is lost, over the past week."
)
METRICS: Final = (PIECES, LOST, MOVED, FLAWED, LOW, UNREADABLE, SEGMENTS, BYTES, UNDER_WAY, DRAINING, RATE)


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that is counted about repair."""

    counts: tuple[Count, ...]
    """Segments by code and healthy pieces."""

    pieces: int
    lost_pieces: int
    moved_pieces: int
    flawed_pieces: int
    queued_segments: int
    queued_bytes: int
    stuck_segments: int
    stuck_bytes: int
    under_way: int
    """Pieces that are being made now."""

    draining_miners: int
    losses_per_piece_hour: float

    @property
    def low_segments(self) -> int:
        """Segments at or below their repair threshold."""
        return sum(each.segments for each in self.counts if each.is_low)

    @property
    def unreadable_segments(self) -> int:
        """Segments with fewer than k pieces: these are lost."""
        return sum(each.segments for each in self.counts if each.healthy < each.k)

    def by_spare(self) -> dict[int, int]:
        """Return how many segments have so many pieces more than they need, the fewest first."""
        spare: Counter[int] = Counter()
        for each in self.counts:
            spare[each.healthy - each.k] += each.segments
        return dict(sorted(spare.items()))


def read_figures(reader: Reader) -> Figures:
    """Return the figures as of now; reads some hundred small rows at most."""
    return Figures(
        counts=tuple(histogram(reader)),
        pieces=get_statistic(reader, Statistic.PIECES),
        lost_pieces=get_statistic(reader, Statistic.LOST),
        moved_pieces=get_statistic(reader, Statistic.MOVED),
        flawed_pieces=get_statistic(reader, Statistic.FLAWED),
        queued_segments=get_statistic(reader, Statistic.QUEUED),
        queued_bytes=get_statistic(reader, Statistic.QUEUED_BYTES),
        stuck_segments=get_statistic(reader, Statistic.STUCK),
        stuck_bytes=get_statistic(reader, Statistic.STUCK_BYTES),
        under_way=sum(1 for _ in jobs(reader)),
        draining_miners=len(draining(reader)),
        losses_per_piece_hour=churn.rate(reader),
    )


class RepairFigures:
    """The samples of one validator's repair."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def samples(self) -> list[Sample]:
        """Return what is so now."""
        return list(_samples(await self._database.read(read_figures)))


def _samples(figures: Figures) -> Iterator[Sample]:
    yield PIECES.sample(figures.pieces)
    yield LOST.sample(figures.lost_pieces)
    yield MOVED.sample(figures.moved_pieces)
    yield FLAWED.sample(figures.flawed_pieces)
    yield LOW.sample(figures.low_segments)
    yield UNREADABLE.sample(figures.unreadable_segments)
    yield SEGMENTS.sample(figures.queued_segments, "queued")
    yield SEGMENTS.sample(figures.stuck_segments, "stuck")
    yield BYTES.sample(figures.queued_bytes, "queued")
    yield BYTES.sample(figures.stuck_bytes, "stuck")
    yield UNDER_WAY.sample(figures.under_way)
    yield DRAINING.sample(figures.draining_miners)
    yield RATE.sample(figures.losses_per_piece_hour)
