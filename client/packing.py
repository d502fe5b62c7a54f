"""Which bytes of which file go into which segment. Pure.

Small files share segments, one extent each; a large file has segments of its own, cut at the most a segment
holds; what is short enough to lie in its manifest is nobody's business here. Files stay in order, and so do
the bytes of a file, which is what lets one reader hash each file as it goes.

>>> [plan.chunks for plan in plan_segments([(0, 5000), (1, 6000)], segment_bytes_max=2**24)]
[(Chunk(file=0, offset=0, length=5000), Chunk(file=1, offset=0, length=6000))]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from hippy.erasure.geometry import PIECE_LENGTH_MAX

SHARED_BYTES_MAX: Final = 1024 * 1024
"""Files shorter than this share segments."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of one file's bytes, which becomes an extent; ``file`` is the number its caller gave it."""

    file: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """What one segment is to hold, in order."""

    chunks: tuple[Chunk, ...]


def segment_bytes_max(k: int) -> int:
    """Return how much data a segment of k data pieces holds."""
    return k * PIECE_LENGTH_MAX


def plan_segments(sizes: Iterable[tuple[int, int]], segment_bytes_max: int) -> Iterator[SegmentPlan]:
    """Yield the segments for files given as (number, size), sizes at least one byte."""
    shared: list[Chunk] = []
    room = segment_bytes_max
    for file, size in sizes:
        assert size > 0
        if size >= min(SHARED_BYTES_MAX, segment_bytes_max):
            yield from _own_segments(file, size, segment_bytes_max)
            continue
        if size > room:
            yield SegmentPlan(tuple(shared))
            shared, room = [], segment_bytes_max
        shared.append(Chunk(file, 0, size))
        room -= size
    if shared:
        yield SegmentPlan(tuple(shared))


def _own_segments(file: int, size: int, segment_bytes_max: int) -> Iterator[SegmentPlan]:
    for offset in range(0, size, segment_bytes_max):
        yield SegmentPlan((Chunk(file, offset, min(segment_bytes_max, size - offset)),))
