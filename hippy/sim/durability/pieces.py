"""Which miner holds which piece, and how each segment stands: the counts that everything else follows from.

Plain lists indexed by slot (segment · n + index), segment and miner. Who is silent is counted where somebody asks: most
outages concern no segment that awaits repair, and a year has ten million pieces that fall silent for an hour.

Invariants, for every segment that is not lost: ``healthy`` <= ``counted``, the pieces that the validator counts, which
are those with a holder; a miner holds one piece of a segment at most.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

NOBODY: Final = -1


class Pieces:
    """The holdings of a simulated network. ``answers[m]`` and ``held[m]``, segment → slot, are of miner m."""

    def __init__(self, segments: int, k: int, n: int, miners: int) -> None:
        self.k = k
        self.n = n
        self.healthy = [0] * segments
        self.counted = [0] * segments
        self.lost = bytearray(segments)
        self.answers = [True] * miners
        self.held: list[dict[int, int]] = [{} for _ in range(miners)]
        self.lost_count = 0
        self.healthy_min = n
        """The fewest healthy pieces that any segment ever had; of one that is lost, k - 1 or fewer."""
        self._holders = [NOBODY] * (segments * n)

    def put(self, slot: int, miner: int) -> None:
        """Let a miner hold a piece that nobody holds."""
        segment = slot // self.n
        self._holders[slot] = miner
        self.held[miner][segment] = slot
        self.healthy[segment] += 1
        self.counted[segment] += 1

    def holders(self, segment: int) -> list[int]:
        """Return the miners whose pieces the validator counts."""
        first = segment * self.n
        return [holder for holder in self._holders[first : first + self.n] if holder != NOBODY]

    def missing(self, segment: int) -> list[int]:
        """Return the slots that nobody holds any more."""
        first = segment * self.n
        return [slot for slot in range(first, first + self.n) if self._holders[slot] == NOBODY]

    def silent(self, segment: int) -> int:
        """Return how many of the counted pieces lie with miners that do not answer now."""
        answers = self.answers
        return sum(not answers[holder] for holder in self.holders(segment))

    def destroy(self, miner: int) -> None:
        """Let all pieces of a miner cease to exist, which nobody notices yet."""
        for segment in self.held[miner]:
            left = self.healthy[segment] - 1
            self.healthy[segment] = left
            if left < self.k and not self.lost[segment]:
                self.lost[segment] = True
                self.lost_count += 1
        self.healthy_min = min(self.healthy_min, *(self.healthy[segment] for segment in self.held[miner]), self.n)

    def notice(self, miner: int) -> Collection[int]:
        """Count a miner's pieces as lost; it holds nothing from here on. Return the segments concerned."""
        held = self.held[miner]
        for segment, slot in held.items():
            self._holders[slot] = NOBODY
            self.counted[segment] -= 1
        self.held[miner] = {}
        return held
