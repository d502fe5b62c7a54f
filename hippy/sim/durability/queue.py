"""The repair queue: segments that the validator counts too few pieces of, the one nearest to its loss first.

The order is hippy.validator.repair_order's, as the real queue has it. Invariant: a segment is queued once; its place
follows its pieces.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from hippy.sim.durability.pieces import Pieces
from hippy.validator.repair_order import expected_hours_to_loss


class Queue:
    """Segments that await repair."""

    def __init__(self, pieces: Pieces, repair_threshold: int, losses_per_piece_hour: float) -> None:
        self._pieces = pieces
        self._repair_threshold = repair_threshold
        self._losses_per_piece_hour = losses_per_piece_hour
        self._heap: list[tuple[float, int]] = []
        self._hours: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._hours)

    def __iter__(self) -> Iterator[int]:
        return iter(self._hours)

    def of_miner(self, miner: int) -> Iterable[int]:
        """Return the queued segments of which a miner holds a piece."""
        return self._hours.keys() & self._pieces.held[miner].keys()

    def look_at(self, segment: int) -> None:
        """Queue a segment that needs repair, or give a queued one the place that it has now."""
        pieces = self._pieces
        if pieces.lost[segment] or pieces.counted[segment] > self._repair_threshold:
            return
        hours = expected_hours_to_loss(
            pieces.counted[segment], pieces.k, self._losses_per_piece_hour, at_risk=pieces.silent(segment)
        )
        if self._hours.get(segment) != hours:
            self._hours[segment] = hours
            heapq.heappush(self._heap, (hours, segment))

    def pop(self) -> int | None:
        """Take the segment that is nearest to its loss and has k answering miners to rebuild from; None without any."""
        pieces = self._pieces
        waiting: list[tuple[float, int]] = []
        found = None
        while self._heap and found is None:
            hours, segment = heapq.heappop(self._heap)
            if self._hours.get(segment) != hours:
                continue  # it has another place by now
            if pieces.counted[segment] - pieces.silent(segment) < pieces.k and not pieces.lost[segment]:
                waiting.append((hours, segment))
                continue
            del self._hours[segment]
            found = None if pieces.lost[segment] else segment
        for entry in waiting:
            heapq.heappush(self._heap, entry)
        return found
