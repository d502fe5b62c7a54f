"""How much is below a path: objects, their bytes, and what their segments take in the network.

Owns adding up. Segments are shared, by small files and by copies, so a directory counts each of its segments once, and
directories do not add up to the one above them, as hard links do not in a file system.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hippy.client.listing import Listed
from hippy.client.results import Usage
from hippy.client.tasks import task_group
from hippy.ids import SegmentId
from hippy.wire.segment import SegmentRecord

if TYPE_CHECKING:
    from hippy.client.session import Session

RECORDS_AT_ONCE: Final = 256
"""Segments of one step: four calls, whose answers of some 10 KiB a segment are dropped after each step."""

CALLS_AT_ONCE: Final = 4


@dataclass(slots=True)
class _Sum:
    objects: int = 0
    bytes: int = 0
    segments: set[SegmentId] = field(default_factory=set)


async def stored_lengths(session: Session, segment_ids: Sequence[SegmentId]) -> dict[SegmentId, int]:
    """Return the bytes of all n pieces of each segment; nothing for one that the validator has no record of."""
    lengths: dict[SegmentId, int] = {}
    turns = asyncio.Semaphore(CALLS_AT_ONCE)

    async def read(asked: Sequence[SegmentId]) -> None:
        async with turns:
            records = await session.api.segments(asked)
        for segment_id, record in records.items():
            if isinstance(record, SegmentRecord):
                lengths[segment_id] = record.spec.n * record.spec.piece_length

    async with task_group() as group:
        for start in range(0, len(segment_ids), RECORDS_AT_ONCE):
            group.create_task(read(segment_ids[start : start + RECORDS_AT_ONCE]))
    return lengths


class Usages:
    """What every directory at and below ``root``, a path in the bucket, holds. An object at ``root`` counts there."""

    def __init__(self, root: str) -> None:
        self._top = tuple(root.split("/")) if root else ()
        self._sums = {self._top: _Sum()}
        self._segments: dict[SegmentId, SegmentId] = {}

    def add(self, listed: Listed) -> None:
        """Count an object in; nothing of it is kept but the ids of its segments."""
        names = tuple(listed.path.split("/"))
        segment_ids = [self._segments.setdefault(each, each) for each in listed.row.segment_ids]
        for end in range(len(self._top), max(len(self._top) + 1, len(names))):
            one = self._sums.setdefault(names[:end], _Sum())
            one.objects += 1
            one.bytes += listed.head.size
            one.segments.update(segment_ids)

    @property
    def objects(self) -> int:
        """How many objects were counted."""
        return self._sums[self._top].objects

    def segments(self) -> list[SegmentId]:
        """Return all segments, each once, sorted."""
        return sorted(self._segments)

    def sums(self, lengths: dict[SegmentId, int] | None) -> list[Usage]:
        """Return all directories sorted by path, ``root`` first; without ``lengths`` not what they take stored."""
        return [_usage(path, self._sums[path], lengths) for path in sorted(self._sums)]


def _usage(path: tuple[str, ...], one: _Sum, lengths: dict[SegmentId, int] | None) -> Usage:
    stored = None if lengths is None else sum(lengths.get(segment_id, 0) for segment_id in one.segments)
    return Usage("/".join(path), one.objects, one.bytes, stored)
