"""Where the page's figures of repairs and followed logs come from.

Example::

    gatherer = Gatherer(home, database, chain, directory, auditor, clock, sources_of(followers.logs))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from hippy.kv import Reader
from hippy.validator.page.figures import FollowedLog, HealthFigures, RepairFigures, Sources
from hippy.validator.repair.health import histogram
from hippy.validator.repair.jobs import jobs
from hippy.validator.statistics import Statistic, get_statistic


def sources_of(followed: Callable[[Reader], Sequence[FollowedLog]]) -> Sources:
    """Return the sources of a validator that repairs, and follows these logs."""
    return Sources(health=health_of, repair=repair_of, followed=followed)


def health_of(reader: Reader) -> HealthFigures:
    """Return the segments by health, as they are counted; reads one row for each code and health that there is."""
    spare: Counter[int] = Counter()
    low = 0
    for each in histogram(reader):
        spare[each.healthy - each.k] += each.segments
        low += each.segments if each.is_low else 0
    return HealthFigures(by_spare=spare, at_threshold=low)


def repair_of(reader: Reader) -> RepairFigures:
    """Return the repair queue; reads counters, and the orders that are out."""
    return RepairFigures(
        queued_segments=get_statistic(reader, Statistic.QUEUED),
        queued_bytes=get_statistic(reader, Statistic.QUEUED_BYTES),
        stuck_segments=get_statistic(reader, Statistic.STUCK),
        repairing=sum(1 for _ in jobs(reader)),
    )
